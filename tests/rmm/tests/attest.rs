// SPDX-License-Identifier: GPL-2.0

//! Attestation tokens: what a verifier would make of them, and how a realm gets them.

mod common;

use common::guest::{smc, Host, EMPTY, IPA, UNMAPPED, UNPROTECTED};
use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};
use minicbor::data::Tag;
use minicbor::encode::write::Cursor;
use minicbor::{Decoder, Encoder};
use p384::ecdsa::signature::Verifier;
use p384::ecdsa::{Signature, VerifyingKey};
use rmm::attest::keys;
use sha2::{Digest, Sha256};

const MEASUREMENT_READ: u64 = 0xc400_0192;
const MEASUREMENT_EXTEND: u64 = 0xc400_0193;
const INIT: u64 = 0xc400_0194;
const CONTINUE: u64 = 0xc400_0195;

const INPUT: u64 = 1;
const STATE: u64 = 2;
const INCOMPLETE: u64 = 3;

/// Checks a COSE_Sign1 and returns its payload.
fn verify(token: &[u8], key: &VerifyingKey) -> Vec<u8> {
    let mut token = Decoder::new(token);
    assert_eq!(token.tag().unwrap(), Tag::new(18));
    assert_eq!(token.array().unwrap(), Some(4));
    let protected = token.bytes().unwrap();
    // {1: -35}: ES384.
    let mut header = Decoder::new(protected);
    assert_eq!(header.map().unwrap(), Some(1));
    assert_eq!((header.i8().unwrap(), header.i8().unwrap()), (1, -35));
    assert_eq!(token.map().unwrap(), Some(0));
    let payload = token.bytes().unwrap();
    let signature = Signature::from_slice(token.bytes().unwrap()).unwrap();
    assert_eq!(token.position(), token.input().len());

    let mut buffer = [0; 2048];
    let mut signed = Encoder::new(Cursor::new(&mut buffer[..]));
    signed.array(4).unwrap().str("Signature1").unwrap();
    signed.bytes(protected).unwrap().bytes(&[]).unwrap();
    signed.bytes(payload).unwrap();
    let len = signed.into_writer().position();
    key.verify(&buffer[..len], &signature).unwrap();
    payload.to_vec()
}

/// The platform token and the realm token in a CCA token, of RSI 1.0 or 1.1.
fn open(token: &[u8], rsi_1_0: bool) -> (Vec<u8>, Vec<u8>) {
    let mut token = Decoder::new(token);
    assert_eq!(token.tag().unwrap(), Tag::new(907));
    assert_eq!(token.map().unwrap(), Some(2));
    let mut part = |key| {
        assert_eq!(token.u32().unwrap(), key);
        if !rsi_1_0 {
            assert_eq!(token.array().unwrap(), Some(2));
            assert_eq!(token.u32().unwrap(), 263);
        }
        token.bytes().unwrap().to_vec()
    };
    let parts = (part(44234), part(44241));
    assert_eq!(token.position(), token.input().len());
    parts
}

/// A decoder that stands at the value of claim `key`.
fn claim(claims: &[u8], key: u32) -> Decoder<'_> {
    let mut decoder = Decoder::new(claims);
    for _ in 0..decoder.map().unwrap().unwrap() {
        if decoder.u32().unwrap() == key {
            return decoder;
        }
        decoder.skip().unwrap();
    }
    panic!("no claim {key}");
}

/// Fetches a token in portions of `size` bytes at most. The challenge is 64 times the same byte.
fn fetch(host: &Host, rec: u64, byte: u8, size: u64) -> Vec<u8> {
    let mut call = [u64::from_le_bytes([byte; 8]); 9];
    call[0] = INIT;
    let regs = host.answer(rec, &call);
    assert_eq!(regs[..4], [0, GRANULE_SIZE, 0, 0]);

    let mut token = Vec::new();
    loop {
        let offset = 0x123;
        let regs = host.answer(rec, &[CONTINUE, IPA + GRANULE_SIZE, offset, size]);
        let bytes: Vec<u8> = host
            .fake()
            .data(host.realm_page(1))
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        token.extend_from_slice(&bytes[offset as usize..][..regs[1] as usize]);
        match regs[0] {
            INCOMPLETE => assert_eq!(regs[1], size),
            code => {
                assert_eq!(code, 0);
                return token;
            }
        }
    }
}

/// The words that a measurement has, as bytes.
fn measurement(host: &Host, rec: u64, slot: u64, bytes: usize) -> Vec<u8> {
    let words = host.answer(rec, &[MEASUREMENT_READ, slot]);
    let mut value: Vec<u8> = words[1..9].iter().flat_map(|w| w.to_le_bytes()).collect();
    value.truncate(bytes);
    value
}

#[test]
fn a_verifier_accepts_the_token() {
    for (hash, bytes, name) in [(0, 32, "sha-256"), (1, 64, "sha-512")] {
        let host = Host::with_hash(hash);
        let rec = host.rec(0);
        host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
        assert_eq!(host.answer_code(rec, &[MEASUREMENT_EXTEND, 2, 8, 99]), 0);

        let token = fetch(&host, rec, 0xc4, 1000);
        let v1 = host.is_v1();
        let (platform, realm) = open(&token, v1);

        let claims = verify(&realm, keys::realm().verifying_key());
        assert_eq!(claim(&claims, 10).bytes().unwrap(), [0xc4; 64]);
        let (count, profile) = match v1 {
            true => (8, "tag:arm.com,2023:realm#1.0.0"),
            false => (10, "tag:arm.com,2024:realm#2.0.0"),
        };
        assert_eq!(Decoder::new(&claims).map().unwrap(), Some(count));
        assert_eq!(claim(&claims, 265).str().unwrap(), profile);
        assert_eq!(claim(&claims, 44236).str().unwrap(), name);
        assert_eq!(claim(&claims, 44240).str().unwrap(), "sha-256");
        if !v1 {
            assert_eq!(claim(&claims, 44243).u8().unwrap(), 0);
            let id = claim(&claims, 256).bytes().unwrap().to_vec();
            assert_eq!((id.len(), id[0]), (33, 1));
        }
        let rpv = claim(&claims, 44235).bytes().unwrap().to_vec();
        assert_eq!((rpv.len(), &rpv[..4]), (64, &[0x31, 0x56, 0x50, 0x52][..]));
        let rim = measurement(&host, rec, 0, bytes);
        assert_eq!(claim(&claims, 44238).bytes().unwrap(), rim);
        let mut rems = claim(&claims, 44239);
        assert_eq!(rems.array().unwrap(), Some(4));
        for slot in 1..5 {
            assert_eq!(rems.bytes().unwrap(), measurement(&host, rec, slot, bytes));
        }

        // The key in the realm token is the one that has signed it, and the platform vouches for it.
        let key = claim(&claims, 44237).bytes().unwrap().to_vec();
        let mut cose = Decoder::new(&key);
        assert_eq!(cose.map().unwrap(), Some(4));
        assert_eq!([(); 4].map(|()| cose.i8().unwrap()), [1, 2, -1, 2]);
        let mut point = vec![4];
        for label in [-2, -3] {
            assert_eq!(cose.i8().unwrap(), label);
            point.extend_from_slice(cose.bytes().unwrap());
        }
        let named = VerifyingKey::from_sec1_bytes(&point).unwrap();
        assert_eq!(&named, keys::realm().verifying_key());

        let claims = verify(&platform, keys::platform().verifying_key());
        assert_eq!(
            claim(&claims, 10).bytes().unwrap(),
            &Sha256::digest(&key)[..]
        );
        assert_eq!(
            claim(&claims, 265).str().unwrap(),
            "tag:arm.com,2023:cca_platform#1.0.0"
        );
        assert_eq!(claim(&claims, 256).bytes().unwrap().len(), 33);
        assert_eq!(claim(&claims, 2396).bytes().unwrap().len(), 32);
        assert_eq!(claim(&claims, 2395).u16().unwrap(), 0x3003);
        assert_eq!(claim(&claims, 2402).str().unwrap(), "sha-256");
        assert_eq!(claim(&claims, 2399).array().unwrap(), Some(1));
        claim(&claims, 2401).bytes().unwrap();
    }
}

#[test]
fn a_token_shows_the_measurements_of_its_beginning() {
    let (host, rec) = Host::running();
    let mut call = [0; 9];
    call[0] = INIT;
    host.answer(rec, &call);
    assert_eq!(host.answer_code(rec, &[MEASUREMENT_EXTEND, 1, 8, 99]), 0);
    let regs = host.answer(rec, &[CONTINUE, IPA, 0, GRANULE_SIZE]);
    assert_eq!(regs[0], 0);
    let data = host.fake().data(host.realm_page(0));
    let bytes: Vec<u8> = data.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (_, realm) = open(&bytes[..regs[1] as usize], host.is_v1());
    let claims = verify(&realm, keys::realm().verifying_key());
    let mut rems = claim(&claims, 44239);
    rems.array().unwrap();
    assert_eq!(rems.bytes().unwrap(), [0; 32]);
}

#[test]
fn continue_checks() {
    let (host, rec) = Host::running();
    let call = |args: &[u64]| {
        let regs = host.answer(rec, args);
        (regs[0], regs[1])
    };
    // Nothing has begun.
    assert_eq!(call(&[CONTINUE, IPA, 0, 64]), (STATE, 0));
    let mut init = [7; 9];
    init[0] = INIT;
    assert_eq!(call(&init), (0, GRANULE_SIZE));
    for (ipa, offset, size) in [
        (IPA + 8, 0, 64),
        (UNPROTECTED, 0, 64),
        (EMPTY, 0, 64),
        (IPA, GRANULE_SIZE, 0),
        (IPA, 1, GRANULE_SIZE),
        (IPA, 8, u64::MAX),
    ] {
        assert_eq!(call(&[CONTINUE, ipa, offset, size]), (INPUT, 0));
    }
    // No room is no harm.
    assert_eq!(call(&[CONTINUE, IPA, 0, 0]), (INCOMPLETE, 0));
    let (code, first) = call(&[CONTINUE, IPA, 0, 64]);
    assert_eq!((code, first), (INCOMPLETE, 64));
    let (code, rest) = call(&[CONTINUE, IPA, 0, GRANULE_SIZE]);
    assert_eq!(code, 0);
    assert!(rest > 512);
    assert_eq!(call(&[CONTINUE, IPA, 0, 64]), (STATE, 0));
    // INIT begins anew, whatever there was.
    assert_eq!(fetch(&host, rec, 1, 512).len() as u64, rest + 64);
}

#[test]
fn continue_waits_for_memory_and_for_interrupts() {
    let (host, rec) = Host::running();
    let mut init = [7; 9];
    init[0] = INIT;
    assert_eq!(host.answer_code(rec, &init), 0);
    host.fake().cpu.then(smc(&[CONTINUE, UNMAPPED, 0, 64]));
    assert_eq!(host.enter(rec), 0);
    assert_eq!(
        (host.exit(0x100), host.exit(0x110)),
        (0x24 << 26 | 7, UNMAPPED >> 8)
    );

    assert_eq!(host.answer_code(rec, &init), 0);
    host.fake().interrupt_after(1);
    host.fake().cpu.then(smc(&[CONTINUE, IPA, 0, 64]));
    assert_eq!(host.enter(rec), 1);
    host.fake().interrupt_after(0);
    assert_eq!(host.registers(rec).gprs[..3], [INCOMPLETE, 0, 0]);
    assert_eq!(
        host.answer(rec, &[CONTINUE, IPA, 0, 64])[..2],
        [INCOMPLETE, 64]
    );
}
