// SPDX-License-Identifier: GPL-2.0

//! PSCI, inside the RMM and through the host.

mod common;

use common::guest::{smc, Host, UNPROTECTED};
use kvm_arm_rmi::rmi::Fid;
use rmm::rec::Trap;

const CPU_OFF: u64 = 0x8400_0002;
const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
const FEATURES: u64 = 0x8400_000a;

const fn negative(code: i64) -> u64 {
    code as u64
}

const NOT_SUPPORTED: u64 = negative(-1);
const INVALID: u64 = negative(-2);
const DENIED: u64 = negative(-3);
const ALREADY_ON: u64 = negative(-4);
const INVALID_ADDRESS: u64 = negative(-9);

/// A realm with two RECs, the first on.
fn two() -> (Host, u64, u64) {
    let host = Host::new();
    let (first, second) = (host.rec(0), host.rec(1));
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    (host, first, second)
}

#[test]
fn what_the_rmm_answers_alone() {
    let (host, rec, _) = two();
    assert_eq!(host.answer_code(rec, &[0x8400_0000]), 0x1_0001);
    for known in [1, 2, 3, 4, 8, 9, 10] {
        assert_eq!(host.answer_code(rec, &[FEATURES, 0x8400_0000 | known]), 0);
    }
    for known in [0xc400_0001, CPU_ON, AFFINITY_INFO, 0x8000_0000] {
        assert_eq!(host.answer_code(rec, &[FEATURES, known]), 0);
    }
    for unknown in [
        0x8400_0000,
        0x8400_0005,
        0xc400_0002,
        0xc400_0008,
        0xc400_0012,
    ] {
        assert_eq!(host.answer_code(rec, &[FEATURES, unknown]), NOT_SUPPORTED);
    }
    for unknown in [
        0x8400_0005,
        0x8400_0014,
        0xc400_000e,
        0xc400_0000,
        0xc400_0008,
    ] {
        assert_eq!(host.answer_code(rec, &[unknown]), NOT_SUPPORTED);
    }
    assert_eq!(
        host.answer_code(rec, &[CPU_ON, 1, UNPROTECTED]),
        INVALID_ADDRESS
    );
    assert_eq!(host.answer_code(rec, &[CPU_ON, 2, 0x1000]), INVALID);
    assert_eq!(host.answer_code(rec, &[CPU_ON, 0, 0x1000]), ALREADY_ON);
    assert_eq!(host.answer_code(rec, &[AFFINITY_INFO, 1, 1]), INVALID);
    assert_eq!(host.answer_code(rec, &[AFFINITY_INFO, 2, 0]), INVALID);
    assert_eq!(host.answer_code(rec, &[AFFINITY_INFO, 0, 0]), 0);
    // The MPIDR of another realm's CPU, in every field.
    for mpidr in [1 << 8, 1 << 16, 1 << 32] {
        assert_eq!(host.answer_code(rec, &[AFFINITY_INFO, mpidr, 0]), INVALID);
    }
}

#[test]
fn suspend_is_told_to_the_host() {
    let (host, rec, _) = two();
    for function in [0x8400_0001, 0xc400_0001] {
        host.fake().cpu.then(smc(&[function, 1, 2, 3]));
        assert_eq!(host.enter(rec), 3);
        assert_eq!((host.exit_gpr(0), host.exit_gpr(1)), (function, 0));
        assert_eq!(host.registers(rec).gprs[..4], [0; 4]);
    }
}

#[test]
fn off_and_on_again() {
    let (host, first, second) = two();
    host.fake().cpu.then(smc(&[CPU_ON, 1, 0x3000, 0x5]));
    assert_eq!(host.enter(first), 3);
    host.ok(Fid::PSCI_COMPLETE, &[first, second, 0]);
    // The second turns the first off.
    host.fake().cpu.then(smc(&[CPU_OFF]));
    assert_eq!(host.enter(first), 3);
    assert_eq!((host.exit_gpr(0), host.exit_gpr(1)), (CPU_OFF, 0));
    assert_eq!(host.enter_with(first, 0, &[]), 3);

    for (state, status) in [(1, 0), (1, 0)] {
        host.fake().cpu.then(smc(&[AFFINITY_INFO, 0, 0]));
        assert_eq!(host.enter(second), 3);
        assert_eq!((host.exit_gpr(0), host.exit_gpr(1)), (AFFINITY_INFO, 0));
        // Nothing but SUCCESS will do.
        assert_eq!(host.status(Fid::PSCI_COMPLETE, &[second, first, DENIED]), 1);
        host.ok(Fid::PSCI_COMPLETE, &[second, first, status]);
        assert_eq!(host.registers(second).gprs[0], state);
    }

    // With the byte order of the caller.
    host.fake().cpu.then(|ctx| {
        ctx.gprs[..4].copy_from_slice(&[CPU_ON, 0, 0x6000, 0x66]);
        ctx.el1.sctlr_el1 |= 1 << 25 | 1;
        common::guest::trap(common::guest::SMC)
    });
    assert_eq!(host.enter(second), 3);
    host.ok(Fid::PSCI_COMPLETE, &[second, first, 0]);
    let ctx = host.registers(first);
    assert_eq!((ctx.pc, ctx.gprs[0], ctx.pstate), (0x6000, 0x66, 0x3c5));
    assert_eq!(ctx.el1.sctlr_el1, 0x02c5_0878);

    host.fake().cpu.then(smc(&[AFFINITY_INFO, 0, 0]));
    assert_eq!(host.enter(second), 3);
    host.ok(Fid::PSCI_COMPLETE, &[second, first, 0]);
    assert_eq!(host.registers(second).gprs[0], 0);
}

#[test]
fn the_host_denies() {
    let (host, first, second) = two();
    let on = || {
        host.fake().cpu.then(smc(&[CPU_ON, 1, 0x3000, 0x5]));
        assert_eq!(host.enter(first), 3);
    };
    on();
    host.ok(Fid::PSCI_COMPLETE, &[first, second, DENIED]);
    assert_eq!(host.registers(first).gprs[0], DENIED);
    assert_eq!(host.enter_with(second, 0, &[]), 3);
    on();
    host.ok(Fid::PSCI_COMPLETE, &[first, second, 0]);
    on();
    host.ok(Fid::PSCI_COMPLETE, &[first, second, 0]);
    assert_eq!(host.registers(first).gprs[0], ALREADY_ON);
    // What is on cannot be denied, but the call is over.
    on();
    assert_eq!(host.status(Fid::PSCI_COMPLETE, &[first, second, DENIED]), 1);
    assert_eq!(host.registers(first).gprs[0], ALREADY_ON);
}

#[test]
fn completion_while_the_target_runs() {
    let (host, first, second) = two();
    host.fake().cpu.then(smc(&[CPU_ON, 1, 0x3000, 0x5]));
    assert_eq!(host.enter(first), 3);
    host.ok(Fid::PSCI_COMPLETE, &[first, second, 0]);
    host.fake().cpu.then(smc(&[AFFINITY_INFO, 1, 0]));
    assert_eq!(host.enter(first), 3);

    let host = std::sync::Arc::new(host);
    let other = host.clone();
    host.fake().cpu.then(move |_| {
        // The second runs; and it cannot be the one that waits.
        assert_eq!(other.status(Fid::PSCI_COMPLETE, &[second, first, 0]), 1);
        other.ok(Fid::PSCI_COMPLETE, &[first, second, 0]);
        Trap::Irq
    });
    assert_eq!(host.enter(second), 1);
    assert_eq!(host.registers(first).gprs[0], 0);
}

#[test]
fn system_off_ends_the_realm() {
    for function in [0x8400_0008, 0x8400_0009] {
        let (host, first, second) = two();
        host.fake().cpu.then(smc(&[function, 7]));
        assert_eq!(host.enter(first), 3);
        assert_eq!((host.exit_gpr(0), host.exit_gpr(1)), (function, 0));
        // ERROR_REALM, which RMI 1.0 explains.
        let off = if host.is_v1() { 2 | 1 << 8 } else { 2 };
        for rec in [first, second] {
            assert_eq!(host.enter_with(rec, 0, &[]), off);
        }
        host.end(&[first, second]);
    }
}

#[test]
fn completion_within_one_realm_only() {
    let (host, first, second) = two();
    let (_, other) = host.other();
    host.fake().cpu.then(smc(&[CPU_ON, 1, 0x3000]));
    assert_eq!(host.enter(first), 3);
    assert_eq!(host.status(Fid::PSCI_COMPLETE, &[first, other, 0]), 1);
    assert_eq!(host.status(Fid::PSCI_COMPLETE, &[first, host.rd(), 0]), 1);
    host.ok(Fid::PSCI_COMPLETE, &[first, second, 0]);
    host.fake().cpu.then(smc(&[AFFINITY_INFO, 0, 0]));
    assert_eq!(host.enter(second), 3);
    assert_eq!(host.status(Fid::PSCI_COMPLETE, &[second, other, 0]), 1);
    host.ok(Fid::PSCI_COMPLETE, &[second, first, 0]);
}
