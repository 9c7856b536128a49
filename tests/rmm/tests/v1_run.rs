// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: RECs are made, entered and taken down; the vGIC goes through the page.

#![allow(
    clippy::duplicate_mod,
    reason = "tests that are shared with RMI 2.0 bring the machine along"
)]

#[path = "attest.rs"]
mod attest;
mod common;
#[path = "psci.rs"]
mod psci;
#[path = "traps.rs"]
mod traps;

use std::sync::mpsc::channel;

use common::guest::{smc, trap, Host, IPA};
use common::v1::{DATA_DESTROY, REC_AUX_COUNT};
use common::{pa, Pas};
use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};
use rmm::rec::context::Vgic;
use rmm::rec::Trap;

const INPUT: u64 = 1;
const REALM: u64 = 2;
const REC: u64 = 3;
/// ERROR_REALM for a realm that has shut itself down.
const REALM_OFF: u64 = REALM | 1 << 8;

const PENDING: u64 = 1 << 62;
const SYSTEM_OFF: u64 = 0x8400_0008;

/// A REC_CREATE that fails with `status`: all granules are as they were.
#[track_caller]
fn refused(host: &Host, rd: u64, params: u64, status: u64) {
    let (rec, aux) = (host.delegated(1), host.delegated(16));
    if params == host.scratch() && host.fake().data(params)[0x101] == 0 {
        host.name_aux(aux, host.fake().data(params)[0x100]);
    }
    assert_eq!(host.status(Fid::REC_CREATE, &[rd, rec, params]), status);
    for n in 0..16 {
        assert!(host.is_delegated(aux + n * GRANULE_SIZE), "{n}");
    }
    assert!(host.is_delegated(rec));
}

#[test]
fn a_whole_life() {
    let (host, rec) = Host::running();
    assert!(host.is_v1());
    assert_eq!(host.enter(rec), 1);
    host.end(&[rec]);
}

#[test]
fn a_rec_takes_16_granules_and_gives_them_back() {
    let host = Host::new();
    let regs = host.call(REC_AUX_COUNT, &[host.rd()]);
    assert_eq!(regs.0[..3], [0, 16, 0]);
    assert_eq!(host.status(REC_AUX_COUNT, &[host.scratch()]), INPUT);

    host.rec_params(0, true);
    let (rec, aux) = (host.delegated(1), host.delegated(16));
    host.name_aux(aux, 16);
    host.ok(Fid::REC_CREATE, &[host.rd(), rec, host.scratch()]);
    for n in 0..16 {
        let granule = aux + n * GRANULE_SIZE;
        assert_eq!(
            host.status(common::v1::GRANULE_UNDELEGATE, &[granule]),
            INPUT
        );
    }
    for bad in [host.rd(), aux, rec + 8, u64::MAX] {
        assert_eq!(host.status(Fid::REC_DESTROY, &[bad]), INPUT);
    }
    host.ok(Fid::REC_DESTROY, &[rec]);
    for granule in [rec, aux, aux + 15 * GRANULE_SIZE] {
        assert!(host.is_delegated(granule));
    }
    host.end(&[]);
}

#[test]
fn create_checks_in_order() {
    let host = Host::new();
    host.rec_params(0, true);
    // The parameters.
    refused(&host, host.rd(), host.rd(), INPUT);
    refused(&host, host.rd(), host.scratch() + 8, INPUT);
    host.name_aux(host.delegated(16), 17);
    refused(&host, host.rd(), host.scratch(), INPUT);
    // The host's, twice the same, and the granule of the REC itself.
    let (rec, aux) = (host.delegated(1), host.delegated(15));
    let theirs = host.fresh(1);
    for bad in [theirs, aux, rec] {
        host.rec_params(0, true);
        host.name_aux(aux, 16);
        let mut params = host.fake().data(host.scratch());
        params[0x110] = bad;
        host.fake().host_write(host.scratch(), &params);
        let create = [host.rd(), rec, host.scratch()];
        assert_eq!(host.status(Fid::REC_CREATE, &create), INPUT, "{bad:#x}");
        assert!(host.is_delegated(aux) && host.is_delegated(rec));
    }
    // The realm, and the REC's granule.
    let aux = |count| {
        host.rec_params(0, true);
        host.name_aux(0, count);
        let mut params = host.fake().data(host.scratch());
        params[0x101..0x111].fill(0);
        host.fake().host_write(host.scratch(), &params);
    };
    aux(16);
    refused(&host, host.scratch(), host.scratch(), INPUT);
    // Too few.
    aux(15);
    refused(&host, host.rd(), host.scratch(), INPUT);
    for mpidr in [1, 0x10, 1 << 32] {
        aux(16);
        let mut params = host.fake().data(host.scratch());
        params[0x20] = mpidr;
        host.fake().host_write(host.scratch(), &params);
        refused(&host, host.rd(), host.scratch(), INPUT);
    }
    let rec = host.rec(0);
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    // The state of the realm comes before the MPIDR and the number of granules.
    aux(3);
    refused(&host, host.rd(), host.scratch(), REALM);
    host.end(&[rec]);
}

#[test]
fn enter_checks_in_order() {
    let host = Host::new();
    let (rec, off) = (host.rec(0), host.rec(1));
    let enter = |rec, page| host.status(Fid::REC_ENTER, &[rec, page]);
    assert_eq!(enter(rec, host.run_page()), REALM);
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    assert_eq!(enter(rec, host.rd()), INPUT);
    assert_eq!(enter(host.rd(), host.run_page()), INPUT);
    assert_eq!(enter(off, host.run_page()), REC);
    host.fake().cpu.then(smc(&[SYSTEM_OFF]));
    assert_eq!(host.enter(rec), 3);
    assert_eq!(host.exit_gpr(0), SYSTEM_OFF);
    // The state of the realm comes before that of the REC.
    for rec in [rec, off] {
        assert_eq!(enter(rec, host.run_page()), REALM_OFF);
    }
    // It can be taken apart as it is, once nothing is in it.
    assert_eq!(host.status(Fid::REALM_DESTROY, &[host.rd()]), REALM);
    host.end(&[rec, off]);
}

/// Enters with these in the page: ICH_HCR_EL2 and list registers.
fn enter_gic(host: &Host, rec: u64, hcr: u64, lrs: &[u64]) -> u64 {
    let mut page = common::guest::page(&[(0x300, hcr)]);
    page[0x308 / 8..][..lrs.len()].copy_from_slice(lrs);
    host.fake().host_write(host.run_page(), &page);
    host.status(Fid::REC_ENTER, &[rec, host.run_page()])
}

/// What the realm runs with.
fn seen(host: &Host, rec: u64, hcr: u64, lrs: &[u64]) -> Vgic {
    let (tell, told) = channel();
    host.fake().cpu.then(move |ctx| {
        tell.send(ctx.vgic.clone()).unwrap();
        Trap::Irq
    });
    assert_eq!(enter_gic(host, rec, hcr, lrs), 0);
    told.recv().unwrap()
}

#[test]
fn list_registers_go_in_and_come_out() {
    let (host, rec) = Host::running();
    let lrs = [
        PENDING | 1 << 60 | 27,
        0x1234,
        PENDING | 1 << 41 | 8192,
        0,
        PENDING | 40,
    ];
    // The CPU has 4: what else is in the page is nobody's.
    let vgic = seen(&host, rec, 0x40fe, &lrs);
    assert_eq!(
        (vgic.switched, vgic.ich_hcr_el2),
        (1, 0x40fe | 1 | 1 << 8 | 1 << 15)
    );
    assert_eq!(vgic.ich_lr_el2[..5], [lrs[0], lrs[1], lrs[2], lrs[3], 0]);

    host.fake().cpu.then(|ctx| {
        ctx.vgic.ich_lr_el2[0] = 1 << 63 | 27;
        ctx.vgic.ich_lr_el2[2] = 0;
        ctx.vgic.ich_hcr_el2 |= 3 << 27;
        ctx.vgic.ich_misr_el2 = 5;
        ctx.vgic.ich_vmcr_el2 = 0xf0_0002;
        ctx.vgic.ich_ap1r_el2[0] = 0x10;
        Trap::Irq
    });
    assert_eq!(enter_gic(&host, rec, 2, &lrs[..1]), 0);
    assert_eq!(host.exit(0x300), 2 | 3 << 27);
    assert_eq!(
        [0x308, 0x310, 0x318].map(|at| host.exit(at)),
        [1 << 63 | 27, 0, 0]
    );
    assert_eq!((host.exit(0x388), host.exit(0x390)), (5, 0xf0_0002));

    // What is the realm's stays with the REC; what the host did not say again is gone.
    let vgic = seen(&host, rec, 0, &[]);
    assert_eq!((vgic.ich_vmcr_el2, vgic.ich_ap1r_el2[0]), (0xf0_0002, 0x10));
    assert_eq!(
        (vgic.ich_hcr_el2, vgic.ich_lr_el2[0]),
        (1 | 1 << 8 | 1 << 15, 0)
    );
    host.end(&[rec]);
}

#[test]
fn the_registers_of_the_cpu_are_of_no_interest() {
    let (host, rec) = Host::running();
    let cpu = &host.fake().cpu;
    cpu.set_list_register(0, PENDING | 1 << 61 | 27);
    cpu.set_list_register(1, PENDING | 27);
    assert_eq!(host.enter(rec), 1);
    host.end(&[rec]);
}

#[test]
fn enter_refuses_what_the_page_must_not_say() {
    let (host, rec) = Host::running();
    let refused = |hcr, lrs: &[u64]| {
        assert_eq!(enter_gic(&host, rec, hcr, lrs), REC, "{hcr:#x} {lrs:x?}");
    };
    // What is the RMM's, and what nobody sets.
    for hcr in [1, 1 << 8, 1 << 10, 1 << 15, 1 << 27, 1 << 63] {
        refused(hcr, &[]);
    }
    refused(0, &[PENDING | 1 << 61 | 27]);
    refused(0, &[PENDING | 27, 0, PENDING | 1 << 60 | 27]);
    // 5 bits of priority: the lower 3 are none.
    refused(0, &[PENDING | 1 << 48 | 27]);
    refused(0, &[PENDING | 4 << 48 | 27]);
    // The number of a physical interrupt.
    refused(0, &[PENDING | 1 << 32 | 27]);
    refused(0, &[PENDING | 1 << 44 | 27]);
    // No such interrupts.
    for vintid in [1020, 1023, 1056, 4096, 8191, 0x1_0000, 1 << 31] {
        refused(0, &[PENDING | vintid]);
    }
    let good = |hcr, lrs: &[u64]| assert_eq!(enter_gic(&host, rec, hcr, lrs), 0, "{lrs:x?}");
    good(
        0x40fe,
        &[1 << 61 | 27, PENDING | 8 << 48 | 1019, 3 << 62 | 0xffff],
    );
    host.fake().cpu.set_extended_range();
    good(
        0,
        &[
            PENDING | 1056,
            PENDING | 1119,
            PENDING | 4096,
            PENDING | 5119,
        ],
    );
    for vintid in [1055, 1120, 4095, 5120] {
        refused(0, &[PENDING | vintid]);
    }
    host.end(&[rec]);
}

/// As on TF-RMM: an entry that ends before the REC runs says nothing about the list registers.
#[test]
fn a_host_call_whose_page_has_gone_exits_at_once() {
    let (host, rec) = Host::running();
    host.fake().cpu.then(smc(&[0xc400_0199, IPA]));
    assert_eq!(enter_gic(&host, rec, 0, &[PENDING | 27]), 0);
    assert_eq!((host.exit(0), host.exit(0x308)), (5, PENDING | 27));
    host.ok(DATA_DESTROY, &[host.rd(), IPA]);
    let (entered, _) = host.fake().cpu.entries();
    assert_eq!(enter_gic(&host, rec, 0, &[PENDING | 27]), 0);
    assert_eq!(host.fake().cpu.entries().0, entered);
    assert_eq!(
        (host.exit(0), host.exit(0x110), host.exit(0x308)),
        (0, IPA >> 8, 0)
    );
    host.end(&[rec]);
}

#[test]
fn realms_have_rsi_1_0() {
    let (host, rec) = Host::running();
    for (wanted, answer) in [(1 << 16, 0), (1 << 16 | 1, 1), (2 << 16, 1), (0, 1)] {
        let regs = host.answer(rec, &[0xc400_0190, wanted]);
        assert_eq!(regs[..4], [answer, 1 << 16, 1 << 16, 0], "{wanted:#x}");
    }
    // REALM_CONFIG: what RSI 1.0 does not know stays as it is.
    let page = host.realm_page(1);
    host.fake().realm_write(page, &[u64::MAX; 512]);
    assert_eq!(host.answer_code(rec, &[0xc400_0196, IPA + GRANULE_SIZE]), 0);
    let config = host.fake().data(page);
    assert_eq!(config[..5], [33, !0xff, u64::MAX, u64::MAX, u64::MAX]);
    assert_eq!(config[0x40], 0x5250_5631);
    host.end(&[rec]);
}

#[test]
fn ripas_changes_as_the_realm_has_asked() {
    let (host, rec) = Host::running();
    let ask = |base: u64, top: u64, ripas, destroyed| {
        host.fake()
            .cpu
            .then(smc(&[0xc400_0197, base, top, ripas, destroyed]));
        assert_eq!(host.enter(rec), 4);
    };
    let set = |base: u64, top: u64| {
        let regs = host.call(Fid::RTT_SET_RIPAS, &[host.rd(), rec, base, top]);
        (regs.x(0), regs.x(1))
    };
    let (one, two, three) = (GRANULE_SIZE, 2 * GRANULE_SIZE, 3 * GRANULE_SIZE);
    // What the host has destroyed stays so if the realm has not allowed for anything else, EMPTY included.
    host.ok(DATA_DESTROY, &[host.rd(), one]);
    ask(0, three, 0, 0);
    assert_eq!(set(0, three), (0, one));
    assert_eq!(set(one, three), (4 | 3 << 8, 0));
    // A top that is not aligned: whole granules only.
    ask(one, three, 0, 1);
    assert_eq!(set(one, three - 8), (0, two));
    assert_eq!(set(two, three), (0, three));
    assert_eq!(set(three, three + one), (INPUT, 0));
    assert_eq!(host.registers(rec).gprs[..3], [0, three, 0]);
    host.end(&[rec]);
}

#[test]
fn the_host_takes_the_page_away() {
    let (host, rec) = Host::running();
    let host = std::sync::Arc::new(host);
    let other = host.clone();
    host.fake().cpu.then(move |_| {
        other.delegate(other.run_page(), 1);
        trap(0x01 << 26)
    });
    assert_eq!(host.enter_with(rec, 0, &[]), INPUT);
    host.undelegate(host.run_page());
    assert_eq!(host.fake().pas(pa(2)), Pas::NonSecure);
    assert_eq!(host.enter(rec), 1);
}
