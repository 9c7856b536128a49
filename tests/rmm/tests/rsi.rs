// SPDX-License-Identifier: GPL-2.0

//! What a realm asks of the RMM, and of the host.

mod common;

use common::guest::{smc, trap, Host, EMPTY, IPA, SMC, UNMAPPED, UNPROTECTED};
use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};
use rmm::rec::Trap;

const VERSION: u64 = 0xc400_0190;
const FEATURES: u64 = 0xc400_0191;
const MEASUREMENT_READ: u64 = 0xc400_0192;
const MEASUREMENT_EXTEND: u64 = 0xc400_0193;
const REALM_CONFIG: u64 = 0xc400_0196;
const IPA_STATE_SET: u64 = 0xc400_0197;
const IPA_STATE_GET: u64 = 0xc400_0198;
const HOST_CALL: u64 = 0xc400_0199;

const RMI_ERROR_REC: u64 = 3;
const INPUT: u64 = 1;

/// Writes words of the realm's memory at `IPA` as the realm.
fn realm_write(host: &Host, page: u64, words: &[(usize, u64)]) {
    let memory = host.realm_page(page);
    let mut data = host.fake().data(memory);
    for (offset, value) in words {
        data[offset / 8] = *value;
    }
    host.fake().realm_write(memory, &data);
}

#[test]
fn version_and_features() {
    let (host, rec) = Host::running();
    let call = |args: &[u64]| host.answer(rec, args)[..4].to_vec();
    assert_eq!(call(&[VERSION, 0x1_0001, 9, 9]), [0, 0x1_0001, 0x1_0001, 0]);
    assert_eq!(call(&[VERSION, 0x1_0000, 9, 9]), [0, 0x1_0000, 0x1_0001, 0]);
    for version in [0, 0xffff, 0x1_0002, 0x2_0000, 1 << 32 | 0x1_0000] {
        assert_eq!(call(&[VERSION, version]), [1, 0x1_0001, 0x1_0001, 0]);
    }
    for index in [0, 1, u64::MAX] {
        assert_eq!(call(&[FEATURES, index]), [0; 4]);
    }
    // SMCCC: version 1.2, and the hint that SVE state may be lost.
    assert_eq!(call(&[0x8000_0000]), [0x1_0002, 0, 0, 0]);
    assert_eq!(call(&[VERSION | 1 << 16, 0x1_0000])[0], 0);
    // Planes, devices, and what nobody knows.
    for unknown in [0xc400_01a3, 0xc400_019d, 0xc400_0190 - 0x40, 0x8400_0190, 0] {
        assert_eq!(call(&[unknown, 1, 2, 3]), [u64::MAX, 0, 0, 0]);
    }
}

#[test]
fn a_call_keeps_registers_from_x4_on_and_goes_on_after_the_smc() {
    let (host, rec) = Host::running();
    host.fake().cpu.then(|ctx| {
        ctx.gprs = std::array::from_fn(|n| n as u64);
        ctx.gprs[0] = FEATURES;
        ctx.pc = 0x4000;
        trap(SMC)
    });
    let ctx = host.registers(rec);
    assert_eq!(ctx.pc, 0x4004);
    assert_eq!(ctx.gprs[..5], [0, 0, 0, 0, 4]);
    assert_eq!(ctx.gprs[30], 30);
}

#[test]
fn measurements() {
    for (hash, words) in [(0, 4), (1, 8)] {
        let host = Host::with_hash(hash);
        let rec = host.rec(0);
        host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
        let read = |slot| host.answer(rec, &[MEASUREMENT_READ, slot]);

        let rim = read(0);
        assert_eq!(rim[0], 0);
        assert!(rim[1..][..words].iter().all(|word| *word != 0));
        assert!(rim[1..9][words..].iter().all(|word| *word == 0));
        assert_eq!(read(5)[0], INPUT);
        assert_eq!(read(u64::MAX)[0], INPUT);

        assert_eq!(read(4)[..9], [0; 9]);
        let extend = |slot, size| host.answer_code(rec, &[MEASUREMENT_EXTEND, slot, size, 7, 8]);
        for (slot, size) in [(0, 8), (5, 8), (1, 65), (u64::MAX, 8), (1, u64::MAX)] {
            assert_eq!(extend(slot, size), INPUT);
        }
        assert_eq!(extend(4, 16), 0);
        let algorithm = rmm::measurement::Algorithm::from_raw(hash as u8).unwrap();
        let value: Vec<u8> = [7u64, 8]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        let wanted = algorithm.extend(&[0; 64], &value);
        let got: Vec<u8> = read(4)[1..9]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(got, wanted);
        assert_eq!(read(3)[..9], [0; 9]);
    }
}

#[test]
fn the_configuration_is_written_into_the_realms_memory() {
    let (host, rec) = Host::running();
    for ipa in [IPA + 8, UNPROTECTED, u64::MAX - 0xfff, EMPTY] {
        assert_eq!(
            host.answer_code(rec, &[REALM_CONFIG, ipa]),
            INPUT,
            "{ipa:#x}"
        );
    }
    realm_write(&host, 1, &[(8, u64::MAX), (0x18, u64::MAX), (0x300, 5)]);
    assert_eq!(
        host.answer_code(rec, &[REALM_CONFIG, IPA + GRANULE_SIZE]),
        0
    );
    let config = host.fake().data(host.realm_page(1));
    assert_eq!(config[0], 33);
    // SHA-256; what is not part of the structure stays.
    assert_eq!(config[1], !0xff);
    assert_eq!((config[2], config[4]), (0, 0));
    assert_eq!(config[3], 0xffff_ffff_9008_0003);
    assert_eq!(config[0x200 / 8], 0x5250_5631);
    assert_eq!(config[0x300 / 8], 5);
}

#[test]
fn a_call_waits_for_memory_that_the_host_has_to_provide() {
    let (host, rec) = Host::running();
    host.fake().cpu.then(smc(&[REALM_CONFIG, UNMAPPED]));
    assert_eq!(host.enter(rec), 0);
    // A translation fault at level 3, as a data abort would be.
    assert_eq!(host.exit(0x100), 0x24 << 26 | 7);
    assert_eq!((host.exit(0x108), host.exit(0x110)), (0, UNMAPPED >> 8));
    // Not one to emulate.
    assert_eq!(host.enter_with(rec, 1, &[]), RMI_ERROR_REC);
    // The same call again.
    let ctx = host.registers(rec);
    assert_eq!(
        (ctx.pc, ctx.gprs[0], ctx.gprs[1]),
        (0x1000, REALM_CONFIG, UNMAPPED)
    );
}

#[test]
fn a_host_call_goes_to_the_host_and_back() {
    let (host, rec) = Host::running();
    let ipa = IPA + GRANULE_SIZE + 0x100;
    for bad in [ipa + 8, UNPROTECTED, EMPTY] {
        assert_eq!(host.answer_code(rec, &[HOST_CALL, bad]), INPUT);
    }
    realm_write(
        &host,
        1,
        &[(0x100, 0x1_0000_0042), (0x108, 0xa0), (0x1f8, 0xa30)],
    );
    host.fake().cpu.then(smc(&[HOST_CALL, ipa]));
    assert_eq!(host.enter(rec), 5);
    assert_eq!((host.exit(0x600), host.exit(0x608)), (0x42, 0));
    assert_eq!(
        (host.exit_gpr(0), host.exit_gpr(1), host.exit_gpr(30)),
        (0xa0, 0, 0xa30)
    );

    let answer: Vec<u64> = (0..31).map(|n| 0xb00 + n).collect();
    host.fake().cpu.then(move |ctx| {
        assert_eq!((ctx.gprs[0], ctx.gprs[1], ctx.pc), (0, ipa, 0x1004 + 3 * 4));
        Trap::Irq
    });
    assert_eq!(host.enter_with(rec, 0, &answer), 0);
    let memory = host.fake().data(host.realm_page(1));
    assert_eq!(memory[0x100 / 8], 0x1_0000_0042);
    assert_eq!(memory[0x108 / 8..][..31], answer[..]);
    assert_eq!(memory[0x200 / 8], 0);
}

#[test]
fn the_answer_to_a_host_call_waits_for_memory() {
    let (host, rec) = Host::running();
    let ipa = IPA + GRANULE_SIZE;
    host.fake().cpu.then(smc(&[HOST_CALL, ipa]));
    assert_eq!(host.enter(rec), 5);
    // The host takes the memory away.
    host.ok(
        Fid::RTT_DATA_UNMAP,
        &[host.rd(), ipa, ipa + GRANULE_SIZE, 1, 0],
    );
    let (entered, _) = host.fake().cpu.entries();
    for _ in 0..2 {
        assert_eq!(host.enter(rec), 0);
        assert_eq!(
            (host.exit(0x100), host.exit(0x110)),
            (0x24 << 26 | 7, ipa >> 8)
        );
    }
    // The realm has not run.
    assert_eq!(host.fake().cpu.entries().0, entered);
}

#[test]
fn a_ripas_change_is_the_hosts_to_make() {
    let (host, rec) = Host::running();
    let (base, top) = (IPA + GRANULE_SIZE, IPA + 3 * GRANULE_SIZE);
    for args in [
        [base, base, 0],
        [top, base, 0],
        [base + 1, top, 0],
        [base, top + 1, 0],
        [base, top, 2],
        [base, UNPROTECTED + GRANULE_SIZE, 0],
    ] {
        let call = [IPA_STATE_SET, args[0], args[1], args[2]];
        assert_eq!(host.answer_code(rec, &call), INPUT, "{args:x?}");
    }
    host.fake().cpu.then(smc(&[IPA_STATE_SET, base, top, 0, 0]));
    assert_eq!(host.enter(rec), 4);
    assert_eq!(
        [0x500, 0x508, 0x510].map(|at| host.exit(at)),
        [base, top, 0]
    );
    let next = base + GRANULE_SIZE;
    let (other, _) = host.other();
    assert_eq!(
        host.status(Fid::RTT_SET_RIPAS, &[other, rec, base, next]),
        RMI_ERROR_REC
    );
    let regs = host.call(Fid::RTT_SET_RIPAS, &[host.rd(), rec, base, next]);
    assert_eq!((regs.x(0), regs.x(1)), (0, next));
    // EMPTY cannot be refused.
    host.fake().cpu.then(move |ctx| {
        assert_eq!(ctx.gprs[..3], [0, next, 0]);
        Trap::Irq
    });
    assert_eq!(host.enter_with(rec, 1 << 4, &[]), 0);
    assert_eq!(
        host.answer(rec, &[IPA_STATE_GET, base, top])[..3],
        [0, next, 0]
    );
    // Nothing is pending any more.
    assert_ne!(
        host.status(Fid::RTT_SET_RIPAS, &[host.rd(), rec, next, top]),
        0
    );

    // RAM can.
    for (flags, response) in [(0, 0), (1 << 4, 1)] {
        host.fake().cpu.then(smc(&[IPA_STATE_SET, base, top, 1, 0]));
        assert_eq!(host.enter(rec), 4);
        assert_eq!(host.exit(0x510), 1);
        host.fake().cpu.then(move |ctx| {
            assert_eq!(ctx.gprs[..3], [0, base, response]);
            Trap::Irq
        });
        assert_eq!(host.enter_with(rec, flags, &[]), 0);
    }
}

#[test]
fn the_state_of_memory() {
    let (host, rec) = Host::running();
    let get = |base, top| host.answer(rec, &[IPA_STATE_GET, base, top])[..3].to_vec();
    assert_eq!(get(IPA, EMPTY), [0, EMPTY, 1]);
    assert_eq!(get(IPA, EMPTY + GRANULE_SIZE), [0, EMPTY, 1]);
    assert_eq!(
        get(EMPTY, EMPTY + GRANULE_SIZE),
        [0, EMPTY + GRANULE_SIZE, 0]
    );
    // As far as the table goes.
    assert_eq!(get(EMPTY, UNPROTECTED), [0, 0x20_0000, 0]);
    assert_eq!(get(0x20_1000, 0x40_0000), [0, 0x40_0000, 0]);
    for (base, top) in [
        (0, 0),
        (8, 0x1000),
        (0, 0x1008),
        (0x2000, 0x1000),
        (UNPROTECTED, u64::MAX),
    ] {
        assert_eq!(get(base, top)[0], INPUT);
    }
}
