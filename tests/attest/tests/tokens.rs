// SPDX-License-Identifier: GPL-2.0

//! Tokens of the embedded RMM: good ones are taken, and whatever is wrong with others is told.

use coset::cbor::{de::from_reader, ser::into_writer, Value};
use coset::{CoseSign1, TaggedCborSerializable};
use p384::ecdsa::VerifyingKey;
use p384::pkcs8::{EncodePublicKey, LineEnding};
use proptest::prelude::*;
use realm_attest::hash::Hash;
use realm_attest::token::{platform_key, Token};
use realm_attest::verify::{Wanted, Wrong};
use rmm::attest::{self, keys, Claims, Form};
use rmm::measurement::{Algorithm, SLOTS};

/// The platform's key, as a VMM's user has it.
const PEM: &str = include_str!("../../rmm/platform.pem");

const CHALLENGE: [u8; 64] = [0xc4; 64];
const RPV: [u8; 64] = [0x5a; 64];
const RIM: u8 = 0x31;

/// A token as the embedded RMM makes it, of a realm that has these in its first REM.
fn token(hash: Hash, rem: u8) -> Vec<u8> {
    token_of(Form::Rsi1_1, hash, rem)
}

/// The same by an RMM that speaks RSI 1.0 or 1.1.
fn token_of(form: Form, hash: Hash, rem: u8) -> Vec<u8> {
    let mut instance_id = [7; 33];
    instance_id[0] = 1;
    let mut measurements = [[0; 64]; SLOTS];
    measurements[0] = [RIM; 64];
    measurements[1] = [rem; 64];
    let claims = Claims {
        form,
        challenge: &CHALLENGE,
        instance_id: &instance_id,
        rpv: &RPV,
        algorithm: Algorithm::from_raw(hash as u8).unwrap(),
        measurements: &measurements,
    };
    let (mut signed, mut token) = ([0; attest::MAX_CLAIMS], [0; 4096]);
    let size = attest::realm_claims(&claims, &mut signed).unwrap();
    let size = attest::sign(&signed[..size], form, &mut token).unwrap();
    token[..size].to_vec()
}

fn wanted(hash: Hash) -> Wanted {
    Wanted {
        platform_keys: Some(vec![platform_key(PEM).unwrap()]),
        challenge: Some(CHALLENGE),
        hash: Some(hash),
        rim: Some(vec![RIM; hash.size()]),
        rpv: Some(RPV),
    }
}

#[test]
fn the_key_in_the_file_is_the_embedded_rmms() {
    let key = keys::platform();
    let pem = key.verifying_key().to_public_key_pem(LineEnding::LF);
    // Comments may come before it.
    assert!(
        PEM.ends_with(&pem.unwrap()),
        "{}",
        key.verifying_key()
            .to_public_key_pem(LineEnding::LF)
            .unwrap()
    );
}

#[test]
fn good_ones_are_taken() {
    for hash in Hash::ALL {
        let token = Token::open(&token(hash, 0)).unwrap();
        assert_eq!(token.check(&wanted(hash)), []);
        assert_eq!(token.check(&Wanted::default()), []);
    }
}

#[test]
fn what_is_not_wanted_is_told() {
    let opened = Token::open(&token(Hash::Sha256, 0)).unwrap();
    let good = wanted(Hash::Sha256);
    let realm_key: VerifyingKey = *keys::realm().verifying_key();
    let (mut challenge, mut rpv) = (CHALLENGE, RPV);
    (challenge[63], rpv[0]) = (0, 0);
    let rim = vec![RIM; 32];
    let mut longer = rim.clone();
    longer.push(0);
    for (wanted, wrong) in [
        (
            Wanted {
                platform_keys: Some(vec![realm_key]),
                ..good.clone()
            },
            Wrong::PlatformSignature,
        ),
        (
            Wanted {
                platform_keys: Some(vec![]),
                ..good.clone()
            },
            Wrong::PlatformSignature,
        ),
        (
            Wanted {
                challenge: Some(challenge),
                ..good.clone()
            },
            Wrong::Challenge(CHALLENGE),
        ),
        (
            Wanted {
                hash: Some(Hash::Sha512),
                ..good.clone()
            },
            Wrong::Hash(Hash::Sha256),
        ),
        (
            Wanted {
                rim: Some(longer),
                ..good.clone()
            },
            Wrong::Rim(rim),
        ),
        (
            Wanted {
                rpv: Some(rpv),
                ..good.clone()
            },
            Wrong::Rpv(RPV),
        ),
    ] {
        assert_eq!(opened.check(&wanted), [wrong]);
    }
    // One of several keys is enough.
    let both = Wanted {
        platform_keys: Some(vec![realm_key, *keys::platform().verifying_key()]),
        ..good.clone()
    };
    assert_eq!(opened.check(&both), []);
    let extended = Token::open(&token(Hash::Sha256, 1)).unwrap();
    assert_eq!(extended.check(&good), [Wrong::Rem(0)]);
}

/// The item of CBOR in `bytes`.
fn item(bytes: &[u8]) -> Value {
    from_reader(bytes).unwrap()
}

fn encoded(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    into_writer(value, &mut bytes).unwrap();
    bytes
}

/// The value that belongs to a key.
fn at(map: &mut Value, key: u64) -> &mut Value {
    let pairs = map.as_map_mut().unwrap();
    let mut found = pairs.iter_mut().filter(|(k, _)| *k == key.into());
    &mut found.next().unwrap().1
}

/// A token with `edit` applied to what is inside its tag.
fn edited(edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut token = item(&token(Hash::Sha256, 0));
    edit(token.as_tag_mut().unwrap().1);
    encoded(&token)
}

const PLATFORM: u64 = 44234;
const REALM: u64 = 44241;

/// A token with `edit` applied to a COSE_Sign1 in it.
fn signed(part: u64, edit: impl FnOnce(&mut CoseSign1)) -> Vec<u8> {
    edited(|token| {
        let bytes = &mut at(token, part).as_array_mut().unwrap()[1];
        let mut signed = CoseSign1::from_tagged_slice(bytes.as_bytes().unwrap()).unwrap();
        edit(&mut signed);
        *bytes = Value::Bytes(signed.to_tagged_vec().unwrap());
    })
}

/// A token with `edit` applied to the claims in it.
fn claims(part: u64, edit: impl FnOnce(&mut Value)) -> Vec<u8> {
    signed(part, |signed| {
        let mut claims = item(signed.payload.as_ref().unwrap());
        edit(&mut claims);
        signed.payload = Some(encoded(&claims));
    })
}

#[test]
fn what_is_not_signed_is_told() {
    let check = |token: &[u8]| Token::open(token).unwrap().check(&wanted(Hash::Sha256));
    let flip = |signed: &mut CoseSign1| signed.signature[9] ^= 4;
    assert_eq!(check(&signed(PLATFORM, flip)), [Wrong::PlatformSignature]);
    assert_eq!(check(&signed(REALM, flip)), [Wrong::RealmSignature]);
    let short = |signed: &mut CoseSign1| signed.signature.truncate(95);
    assert_eq!(check(&signed(REALM, short)), [Wrong::RealmSignature]);

    let other = claims(REALM, |claims| {
        *at(claims, 44238) = vec![RIM + 1; 32].into()
    });
    let rim = Wrong::Rim(vec![RIM + 1; 32]);
    assert_eq!(check(&other), [Wrong::RealmSignature, rim]);
    let debug = claims(PLATFORM, |claims| *at(claims, 2395) = 0x4000.into());
    let phase = Wrong::Lifecycle(0x4000);
    assert_eq!(check(&debug), [Wrong::PlatformSignature, phase]);

    // Whoever has another key can sign what he likes, but the platform does not know the key.
    let mut key = [0; 128];
    let key = keys::cose_key(keys::platform().verifying_key(), &mut key).unwrap();
    let stolen = claims(REALM, |claims| *at(claims, 44237) = key.to_vec().into());
    assert_eq!(check(&stolen), [Wrong::Binding, Wrong::RealmSignature]);
    // Of the hash of the key every bit counts.
    let hash = claims(PLATFORM, |claims| {
        at(claims, 10).as_bytes_mut().unwrap()[31] ^= 1;
    });
    assert_eq!(check(&hash), [Wrong::PlatformSignature, Wrong::Binding]);
}

#[test]
fn the_token_of_rmm_1_0_is_taken() {
    let token = Token::open(&token_of(Form::Rsi1_0, Hash::Sha512, 0)).unwrap();
    assert_eq!(token.check(&wanted(Hash::Sha512)), []);
    let extended = Token::open(&token_of(Form::Rsi1_0, Hash::Sha256, 9)).unwrap();
    assert_eq!(extended.check(&wanted(Hash::Sha256)), [Wrong::Rem(0)]);
}

#[test]
fn an_older_token_is_taken() {
    let mut old = item(&token(Hash::Sha512, 0));
    {
        let (tag, map) = old.as_tag_mut().unwrap();
        *tag = 399;
        for part in [PLATFORM, REALM] {
            let part = at(map, part);
            *part = part.as_array().unwrap()[1].clone();
        }
    }
    let old = Token::open(&encoded(&old)).unwrap();
    assert_eq!(old.check(&wanted(Hash::Sha512)), []);
}

#[test]
fn what_is_malformed_is_told() {
    let says = |token: &[u8]| Token::open(token).unwrap_err().to_string();
    let good = token(Hash::Sha256, 0);
    assert_eq!(says(b""), "token: not CBOR");
    assert_eq!(says(&good[..good.len() - 1]), "token: not CBOR");
    assert_eq!(says(&[0]), "token: not tagged");
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(says(&longer), "token: 1 bytes follow its end");
    let tagged = |tag| {
        encoded(&Value::Tag(
            tag,
            Box::new(item(&good).into_tag().unwrap().1.as_ref().clone()),
        ))
    };
    assert_eq!(says(&tagged(908)), "token: tag 908, not a CCA token's");
    // The parts of an older token have no content format.
    assert!(says(&tagged(399)).contains("platform token (44234) has another type"));

    let part = |edit: fn(&mut Value)| says(&edited(edit));
    let gone = part(|token| drop(token.as_map_mut().unwrap().pop()));
    assert_eq!(gone, "token: 1 parts");
    let twice = part(|token| {
        let map = token.as_map_mut().unwrap();
        map[1] = map[0].clone();
    });
    assert_eq!(twice, "token: claim 44234 is there twice");
    let format = part(|token| at(token, REALM).as_array_mut().unwrap()[0] = 262.into());
    assert!(format.contains("content format"), "{format}");

    let cose = |edit: fn(&mut CoseSign1)| says(&signed(REALM, edit));
    let none = cose(|signed| signed.payload = None);
    assert_eq!(none, "realm token: no claims");
    let algorithm = cose(|signed| {
        signed.protected.original_data = None;
        signed.protected.header = coset::HeaderBuilder::new()
            .algorithm(coset::iana::Algorithm::ES256)
            .build();
    });
    assert_eq!(algorithm, "realm token: not signed with ES384");
    let critical = cose(|signed| {
        signed.protected.original_data = None;
        signed.protected.header = coset::HeaderBuilder::new()
            .algorithm(coset::iana::Algorithm::ES384)
            .add_critical(coset::iana::HeaderParameter::Kid)
            .build();
    });
    assert_eq!(critical, "realm token: a critical header");
    let list = says(&signed(REALM, |signed| signed.payload = Some(vec![0x80])));
    assert_eq!(list, "realm token: not a map");
}

#[test]
fn every_claim_has_to_be_there_and_of_its_type() {
    let realm = [10, 256, 265, 44235, 44236, 44237, 44238, 44239, 44240];
    let platform = [10, 256, 265, 2395, 2396, 2399, 2401, 2402];
    let realm = realm.into_iter().map(|key| (REALM, key));
    for (part, key) in realm.chain(platform.into_iter().map(|key| (PLATFORM, key))) {
        let number = format!("({key})");
        let says = |edit: &dyn Fn(&mut Value)| {
            let error = Token::open(&claims(part, edit)).unwrap_err().to_string();
            assert!(error.contains(&number), "{error}");
            error
        };
        let missing = says(&|claims| {
            claims
                .as_map_mut()
                .unwrap()
                .retain(|(k, _)| *k != key.into())
        });
        assert!(missing.ends_with("is missing"), "{missing}");
        says(&|claims| *at(claims, key) = Value::Null);
        says(&|claims| *at(claims, key) = Value::Array(vec![Value::Null]));
    }
    for (part, key, value) in [
        // Too short, and names that nobody knows.
        (REALM, 10, Value::Bytes(vec![1; 63])),
        (REALM, 256, Value::Bytes(vec![2; 33])),
        (REALM, 265, "tag:arm.com,2024:realm#3.0.0".into()),
        (REALM, 44235, Value::Bytes(vec![1; 65])),
        (REALM, 44236, "md5".into()),
        (REALM, 44237, Value::Bytes(vec![])),
        (REALM, 44238, Value::Bytes(vec![1; 64])),
        (REALM, 44239, Value::Array(vec![])),
        (
            REALM,
            44239,
            Value::Array(vec![Value::Bytes(vec![0; 32]); 5]),
        ),
        (PLATFORM, 265, "".into()),
        (PLATFORM, 2395, 0x1_0000.into()),
        (PLATFORM, 2396, Value::Bytes(vec![])),
        (PLATFORM, 2402, "".into()),
    ] {
        let token = claims(part, |claims| *at(claims, key) = value.clone());
        let error = Token::open(&token).unwrap_err().to_string();
        assert!(error.contains(&format!("({key})")), "{error}");
    }
}

#[test]
fn only_keys_are_taken_for_keys() {
    assert!(platform_key("").is_err());
    assert!(platform_key(&PEM.replace('A', "B")).is_err());
    let private = PEM.replace("PUBLIC", "PRIVATE");
    assert!(platform_key(&private).is_err());
}

/// A change of a few bytes.
#[derive(Clone, Debug)]
enum Change {
    Xor(prop::sample::Index, u8),
    Insert(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Truncate(prop::sample::Index),
    Copy(prop::sample::Index, prop::sample::Index, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (index(), 1..=255u8).prop_map(|(at, bits)| Change::Xor(at, bits)),
        2 => (index(), any::<u8>()).prop_map(|(at, byte)| Change::Insert(at, byte)),
        2 => index().prop_map(Change::Remove),
        1 => index().prop_map(Change::Truncate),
        2 => (index(), index(), 1..64usize).prop_map(|(from, to, size)| Change::Copy(from, to, size)),
    ]
}

fn apply(token: &mut Vec<u8>, change: &Change) {
    if token.is_empty() {
        return;
    }
    let place = |at: &prop::sample::Index| at.index(token.len());
    match change {
        Change::Xor(at, bits) => {
            let at = place(at);
            token[at] ^= bits;
        }
        Change::Insert(at, byte) => token.insert(place(at), *byte),
        Change::Remove(at) => drop(token.remove(place(at))),
        Change::Truncate(at) => token.truncate(place(at)),
        Change::Copy(from, to, size) => {
            let (from, to) = (place(from), place(to));
            let size = (*size).min(token.len() - from.max(to));
            token.copy_within(from..from + size, to);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is done to a token, it says what it said, or it is not taken; and nothing panics.
    #[test]
    fn changed_tokens_are_not_taken(
        changes in proptest::collection::vec(change(), 1..4),
        hash in prop::sample::select(&Hash::ALL[..]),
    ) {
        let good = token(hash, 0);
        let mut bytes = good.clone();
        changes.iter().for_each(|change| apply(&mut bytes, change));
        if let Ok(opened) = Token::open(&bytes) {
            let as_wanted = opened.check(&wanted(hash)).is_empty();
            let anything = opened.check(&Wanted {
                platform_keys: wanted(hash).platform_keys,
                ..Wanted::default()
            });
            let good = Token::open(&good).unwrap();
            let same = opened.realm == good.realm && opened.platform == good.platform;
            prop_assert!(same || !as_wanted);
            prop_assert!(same || !anything.is_empty());
        }
    }

    /// Claims of a token may be any CBOR.
    #[test]
    fn changed_claims_do_no_harm(
        changes in proptest::collection::vec(change(), 1..4),
        part in prop::sample::select(&[PLATFORM, REALM][..]),
    ) {
        let token = signed(part, |signed| {
            let payload = signed.payload.as_mut().unwrap();
            changes.iter().for_each(|change| apply(payload, change));
        });
        if let Ok(opened) = Token::open(&token) {
            let good = Token::open(&self::token(Hash::Sha256, 0)).unwrap();
            let same = opened.realm == good.realm && opened.platform == good.platform;
            prop_assert!(same || !opened.check(&wanted(Hash::Sha256)).is_empty());
        }
    }

    #[test]
    fn bytes_are_no_token(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Token::open(&bytes).is_err());
    }

    /// Nor are they if they begin as one.
    #[test]
    fn neither_after_a_tag(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut token = vec![0xd9, 0x03, 0x8b];
        token.extend(bytes);
        prop_assert!(Token::open(&token).is_err());
    }
}

#[test]
fn depth_is_no_harm() {
    for byte in [0x81, 0xa1, 0xc1, 0xd8, 0x9f, 0xbf] {
        let mut token = vec![0xd9, 0x03, 0x8b];
        token.extend(vec![byte; 100_000]);
        assert!(Token::open(&token).is_err());
    }
}
