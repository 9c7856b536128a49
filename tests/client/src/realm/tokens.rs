// SPDX-License-Identifier: GPL-2.0

//! `realm tokens PEM|any`: by each hash algorithm that the RMM has, a realm's attestation token says what it
//! should, and is signed by the platform whose public key is in the file; or by any.

use std::fs;

use kvm_arm_rmi::uapi::{
    KVM_ARM_VM_RMI_HASH_ALGO,
    KVM_ARM_VM_RMI_HASH_ALGOS,
    KVM_ARM_VM_RMI_RPV, //
};
use realm_attest::hash::Hash;
use realm_attest::token::{platform_key, Token};
use realm_attest::verify::{hex, Wanted, Wrong};
use realm_guest::{fid, rsi, Op, Order, PAGE_SIZE};

use super::abuse::attributes::{get, number, set, Value};
use super::brief::on_cpu;
use super::cpu::Cpu;
use super::run::chunk;
use super::run::measurement::expected;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, signal, Result};

const RPV: Value = [0x5250, 0, 0, 0, 0, 0, 0, 0x56];
const CHALLENGE: Value = [1, 2, 3, 4, 5, 6, 7, 8];
/// RSI_ATTESTATION_TOKEN_CONTINUE: there is more to come.
const INCOMPLETE: u64 = 3;
/// No token is longer.
const MOST: usize = 1 << 16;

pub(super) fn main(key: &str) -> Result<()> {
    signal::init()?;
    let platform_keys = match key {
        "any" => None,
        file => Some(vec![platform_key(&fs::read_to_string(file)?)?]),
    };
    let before = debugfs::delegated()?;
    let there = get(&Vm::empty(Shape::REALM)?, KVM_ARM_VM_RMI_HASH_ALGOS)?[0];
    let mut count = 0;
    for hash in Hash::ALL {
        if there >> hash as u64 & 1 != 0 {
            let wanted = Wanted {
                platform_keys: platform_keys.clone(),
                challenge: Some(bytes(CHALLENGE)),
                hash: Some(hash),
                rim: None,
                rpv: Some(bytes(RPV)),
            };
            life(hash, wanted).map_err(|e| format!("{}: {e}", hash.name()))?;
            count += 1;
        }
    }
    ensure!(count > 0, "the RMM has no hash algorithm");
    debugfs::expect_delegated(before)
}

/// Words as they lie in memory.
fn bytes(words: Value) -> [u8; 64] {
    let mut bytes = [0; 64];
    for (to, word) in bytes.chunks_mut(8).zip(words) {
        to.copy_from_slice(&word.to_le_bytes());
    }
    bytes
}

/// A realm that is measured so, and its token.
fn life(hash: Hash, mut wanted: Wanted) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    set(&vm, KVM_ARM_VM_RMI_HASH_ALGO, number(hash as u64))?;
    set(&vm, KVM_ARM_VM_RMI_RPV, RPV)?;
    on_cpu(&vm, |cpu| {
        let [rim] = &expected(cpu, hash, &[], 0)?[..] else {
            return Err("nobody says what the RMM speaks".into());
        };
        wanted.rim = Some(rim.clone());
        let token = fetch(cpu)?;
        let opened = Token::open(&token)?;
        let wrong = opened.check(&wanted);
        ensure!(wrong.is_empty(), "{}", list(&wrong));
        println!(
            "{}: {} bytes, measured {}",
            hash.name(),
            token.len(),
            hex(rim)
        );
        // Another realm's would not have been taken.
        wanted.rpv = Some([0; 64]);
        let wrong = opened.check(&wanted);
        ensure!(
            wrong == [Wrong::Rpv(bytes(RPV))],
            "with another personalisation value: {}",
            list(&wrong)
        );
        Ok(())
    })
}

fn list(wrong: &[Wrong]) -> String {
    let all: Vec<_> = wrong.iter().map(Wrong::to_string).collect();
    all.join("; ")
}

/// RSI_ATTESTATION_TOKEN_INIT, and _CONTINUE until the token is complete.
fn fetch(cpu: &mut Cpu<'_>) -> Result<Vec<u8>> {
    let page = chunk(0);
    let mut init = vec![fid::TOKEN_INIT];
    init.extend(CHALLENGE);
    let [status, ..] = cpu.order(Order::new(Op::Smc, init.len() as u64), &init)?;
    ensure!(status == rsi::SUCCESS, "TOKEN_INIT: status {status}");
    let mut token = Vec::new();
    loop {
        let call = [fid::TOKEN_CONTINUE, page, 0, PAGE_SIZE];
        let [status, size, ..] = cpu.order(Order::new(Op::Smc, call.len() as u64), &call)?;
        let last = match status {
            rsi::SUCCESS => true,
            INCOMPLETE => false,
            _ => return Err(format!("TOKEN_CONTINUE: status {status}").into()),
        };
        let end = token.len() + usize::try_from(size)?;
        ensure!(end <= MOST, "a token of more than {MOST} bytes");
        for offset in (0..size).step_by(8) {
            let [_, word, ..] = cpu.order(Order::new(Op::Load, 0), &[page + offset, 8])?;
            token.extend(word.to_le_bytes());
        }
        token.truncate(end);
        if last {
            return Ok(token);
        }
    }
}
