// SPDX-License-Identifier: GPL-2.0

//! What is in a CCA token.
//!
//! It is two tokens in one: the platform's, which says what the machine and its firmware are, and the
//! realm's. Each is a map of claims in a COSE_Sign1.

use std::fmt;

use coset::cbor::Value;
use coset::iana::{self, EnumI64};
use coset::{
    Algorithm,
    CborSerializable,
    CoseKey,
    CoseSign1,
    KeyType,
    Label,
    TaggedCborSerializable, //
};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{Signature, VerifyingKey};
use p384::pkcs8::DecodePublicKey;
use p384::EncodedPoint;

use crate::claims::{item, Claims};
use crate::hash::Hash;

/// The tag of a CCA token, and that of older ones, which say less of what is in them.
const TAG: u64 = 907;
const OLD_TAG: u64 = 399;
const PLATFORM_TOKEN: i128 = 44234;
const REALM_TOKEN: i128 = 44241;
/// CoAP content format of both tokens: a CBOR web token with attestation claims.
const EAT_CWT: u64 = 263;

/// Keys of claims that both have.
const CHALLENGE: i128 = 10;
const INSTANCE_ID: i128 = 256;
const PROFILE: i128 = 265;
/// Keys of a realm's.
const RPV: i128 = 44235;
const HASH: i128 = 44236;
const PUBLIC_KEY: i128 = 44237;
const RIM: i128 = 44238;
const REMS: i128 = 44239;
const PUBLIC_KEY_HASH: i128 = 44240;
/// Keys of a platform's.
const LIFECYCLE: i128 = 2395;
const IMPLEMENTATION_ID: i128 = 2396;
const SOFTWARE: i128 = 2399;
const CONFIG: i128 = 2401;
const PLATFORM_HASH: i128 = 2402;

const REALM_PROFILE: &str = "tag:arm.com,2024:realm#2.0.0";
/// That of RMM 1.0, which does not name the platform in the realm's claims.
const REALM_PROFILE_1_0: &str = "tag:arm.com,2023:realm#1.0.0";
const PLATFORM_PROFILES: [&str; 2] = [
    "tag:arm.com,2023:cca_platform#1.0.0",
    "tag:arm.com,2024:cca_platform#2.0.0",
];
/// First byte of an instance id that is made of random bytes.
const RANDOM_ID: u8 = 1;
const INSTANCE_ID_SIZE: usize = 33;

/// Bytes of a coordinate of a point on P-384.
const COORDINATE: usize = 48;

/// REMs of a realm.
pub const REM_COUNT: usize = 4;

/// A token is not what the specification says, for the reason that it prints.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Malformed(pub(crate) String);

impl fmt::Display for Malformed {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

type Result<T> = std::result::Result<T, Malformed>;

/// What the platform says of itself, as far as it matters to a realm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Platform {
    /// The hash of the key that signs the tokens of its realms.
    pub challenge: Vec<u8>,
    /// The phase of its life.
    pub lifecycle: u16,
}

/// What the RMM says of a realm.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Realm {
    /// What the realm was asked to show.
    pub challenge: [u8; 64],
    /// The realm personalisation value.
    pub rpv: [u8; 64],
    /// How the realm is measured.
    pub hash: Hash,
    /// The initial measurement.
    pub rim: Vec<u8>,
    /// What the realm has added since.
    pub rems: [Vec<u8>; REM_COUNT],
    /// The public key that signs this, a COSE_Key in CBOR.
    pub public_key: Vec<u8>,
    /// How the platform has hashed that.
    pub public_key_hash: Hash,
}

/// A token. It says what it says: whether that is true is for [`check`](Self::check) to find out.
#[derive(Clone, Debug)]
pub struct Token {
    /// The platform's claims.
    pub platform: Platform,
    /// The realm's claims.
    pub realm: Realm,
    /// The key in the realm's claims.
    realm_key: VerifyingKey,
    signed_platform: CoseSign1,
    signed_realm: CoseSign1,
}

impl Token {
    /// Takes a token apart.
    ///
    /// # Errors
    ///
    /// What is not as it should be.
    pub fn open(bytes: &[u8]) -> Result<Self> {
        let Value::Tag(tag, inside) = item("token", bytes)? else {
            return Err(Malformed("token: not tagged".into()));
        };
        if ![TAG, OLD_TAG].contains(&tag) {
            return Err(Malformed(format!("token: tag {tag}, not a CCA token's")));
        }
        let parts = Claims::of("token", *inside)?;
        if parts.count() != 2 {
            return Err(Malformed(format!("token: {} parts", parts.count())));
        }
        let (signed_platform, claims) = part(&parts, tag, PLATFORM_TOKEN, "platform token")?;
        let platform = Platform::of(&claims)?;
        let (signed_realm, claims) = part(&parts, tag, REALM_TOKEN, "realm token")?;
        let realm = Realm::of(&claims)?;
        let realm_key = cose_key(&realm.public_key)
            .map_err(|why| claims.wrong(PUBLIC_KEY, "public key", why))?;
        Ok(Self {
            platform,
            realm,
            realm_key,
            signed_platform,
            signed_realm,
        })
    }

    /// Whether `key` has signed the platform's claims.
    pub fn platform_signed_by(&self, key: &VerifyingKey) -> bool {
        signed_by(&self.signed_platform, key)
    }

    /// Whether the key in the realm's claims has signed them.
    pub fn realm_signed_by_its_key(&self) -> bool {
        signed_by(&self.signed_realm, &self.realm_key)
    }
}

/// The public key in a PEM file, which is to be on P-384.
///
/// # Errors
///
/// It is none.
pub fn platform_key(pem: &str) -> Result<VerifyingKey> {
    let key = VerifyingKey::from_public_key_pem(pem);
    key.map_err(|_| Malformed("not a public key on P-384 in PEM form".into()))
}

/// One of the two tokens: its COSE_Sign1, and the claims in that.
///
/// # Errors
///
/// It is not there, or something else.
fn part(parts: &Claims, tag: u64, key: i128, name: &'static str) -> Result<(CoseSign1, Claims)> {
    let signed = match parts.get(key, name)? {
        // That of an older platform, or of RMM 1.0, which has the new tag already.
        Value::Bytes(bytes) => bytes,
        Value::Array(pair) if tag == TAG => match &pair[..] {
            [Value::Integer(format), Value::Bytes(bytes)] if *format == EAT_CWT.into() => bytes,
            _ => return Err(parts.wrong(key, name, "is not a CWT and its content format")),
        },
        _ => return Err(parts.wrong(key, name, "has another type")),
    };
    let signed = CoseSign1::from_tagged_slice(signed)
        .map_err(|error| Malformed(format!("{name}: not a COSE_Sign1: {error}")))?;
    let header = &signed.protected.header;
    if header.alg != Some(Algorithm::Assigned(iana::Algorithm::ES384)) {
        return Err(Malformed(format!("{name}: not signed with ES384")));
    }
    if !header.crit.is_empty() {
        return Err(Malformed(format!("{name}: a critical header")));
    }
    let Some(payload) = &signed.payload else {
        return Err(Malformed(format!("{name}: no claims")));
    };
    let claims = Claims::of(name, item(name, payload)?)?;
    Ok((signed, claims))
}

impl Platform {
    /// # Errors
    ///
    /// A claim is missing, or not what it should be.
    fn of(claims: &Claims) -> Result<Self> {
        let _ = profile(claims, &PLATFORM_PROFILES)?;
        instance_id(claims)?;
        let _: [u8; 32] = claims.array(IMPLEMENTATION_ID, "implementation id")?;
        claims.bytes(CONFIG, "configuration")?;
        claims.hash(PLATFORM_HASH, "hash algorithm")?;
        let software = claims.get(SOFTWARE, "software")?.as_array();
        if !software.is_some_and(|all| !all.is_empty() && all.iter().all(Value::is_map)) {
            return Err(claims.wrong(SOFTWARE, "software", "is not a list of components"));
        }
        let lifecycle = claims.get(LIFECYCLE, "lifecycle")?.as_integer();
        let lifecycle = lifecycle.and_then(|number| number.try_into().ok());
        Ok(Self {
            challenge: claims.bytes(CHALLENGE, "challenge")?.to_vec(),
            lifecycle: lifecycle
                .ok_or_else(|| claims.wrong(LIFECYCLE, "lifecycle", "is not 16 bits"))?,
        })
    }
}

impl Realm {
    /// # Errors
    ///
    /// A claim is missing, or not what it should be.
    fn of(claims: &Claims) -> Result<Self> {
        if profile(claims, &[REALM_PROFILE, REALM_PROFILE_1_0])? == REALM_PROFILE {
            instance_id(claims)?;
        }
        let hash = claims.hash(HASH, "hash algorithm")?;
        let measurement = |key, what, value: &Value| match value {
            Value::Bytes(bytes) if bytes.len() == hash.size() => Ok(bytes.clone()),
            _ => Err(claims.wrong(key, what, &format!("is not a hash by {}", hash.name()))),
        };
        let rim = claims.get(RIM, "initial measurement")?;
        let what = "extensible measurements";
        let rems = claims.get(REMS, what)?.as_array().map_or(&[][..], |a| a);
        let rems: Result<Vec<_>> = rems.iter().map(|v| measurement(REMS, what, v)).collect();
        let count = format!("are not {REM_COUNT}");
        Ok(Self {
            challenge: claims.array(CHALLENGE, "challenge")?,
            rpv: claims.array(RPV, "personalisation value")?,
            hash,
            rim: measurement(RIM, "initial measurement", rim)?,
            rems: rems?
                .try_into()
                .map_err(|_| claims.wrong(REMS, what, &count))?,
            public_key: claims.bytes(PUBLIC_KEY, "public key")?.to_vec(),
            public_key_hash: claims.hash(PUBLIC_KEY_HASH, "public key's hash algorithm")?,
        })
    }
}

/// Which of these profiles the claims are of.
///
/// # Errors
///
/// They are of another one.
fn profile<'c>(claims: &'c Claims, known: &[&str]) -> Result<&'c str> {
    let is = claims.text(PROFILE, "profile")?;
    match known.contains(&is) {
        true => Ok(is),
        false => Err(claims.wrong(PROFILE, "profile", &format!("is {is:?}"))),
    }
}

/// # Errors
///
/// It is none.
fn instance_id(claims: &Claims) -> Result<()> {
    let id: [u8; INSTANCE_ID_SIZE] = claims.array(INSTANCE_ID, "instance id")?;
    match id[0] {
        RANDOM_ID => Ok(()),
        _ => Err(claims.wrong(INSTANCE_ID, "instance id", "is of another kind")),
    }
}

/// The public key on P-384 that a COSE_Key says.
///
/// # Errors
///
/// Why it is none.
fn cose_key(bytes: &[u8]) -> std::result::Result<VerifyingKey, &'static str> {
    let key = CoseKey::from_slice(bytes).map_err(|_| "is not a COSE_Key")?;
    if key.kty != KeyType::Assigned(iana::KeyType::EC2) {
        return Err("is not a point on a curve");
    }
    let parameter = |which: iana::Ec2KeyParameter| {
        let label = Label::Int(which.to_i64());
        let mut found = key.params.iter().filter(|(other, _)| *other == label);
        found.next().map(|(_, value)| value)
    };
    let p384 = Value::from(iana::EllipticCurve::P_384.to_i64());
    if parameter(iana::Ec2KeyParameter::Crv) != Some(&p384) {
        return Err("is not on P-384");
    }
    let coordinate = |which| -> Option<[u8; COORDINATE]> {
        let bytes = parameter(which)?.as_bytes()?;
        bytes.as_slice().try_into().ok()
    };
    let (Some(x), Some(y)) = (
        coordinate(iana::Ec2KeyParameter::X),
        coordinate(iana::Ec2KeyParameter::Y),
    ) else {
        return Err("has no two coordinates of 48 bytes");
    };
    let point = EncodedPoint::from_affine_coordinates(&x.into(), &y.into(), false);
    VerifyingKey::from_encoded_point(&point).map_err(|_| "is not on its curve")
}

/// Whether `key` has signed it.
fn signed_by(signed: &CoseSign1, key: &VerifyingKey) -> bool {
    // Without a payload there would be nothing to verify, which the crate takes for a mistake of ours.
    signed.payload.is_some()
        && signed
            .verify_signature(&[], |signature, data| {
                let signature = Signature::from_slice(signature)?;
                key.verify(data, &signature)
            })
            .is_ok()
}
