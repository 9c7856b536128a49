// SPDX-License-Identifier: GPL-2.0

//! RECs are made, entered and taken down.

mod common;

use std::sync::Arc;

use common::guest::{smc, trap, Host};
use common::{pa, Pas};
use kvm_arm_rmi::rmi::{Fid, Status, GRANULE_SIZE};
use rmm::rec::Trap;

const INPUT: u64 = 1;
const REALM: u64 = 2;
const REC: u64 = 3;

#[test]
fn a_whole_life() {
    let (host, rec) = Host::running();
    assert_eq!(host.enter(rec), 1);
    host.end(&[rec]);
}

#[test]
fn create_asks_for_16_granules_and_takes_them_in_any_portions() {
    let host = Host::new();
    host.rec_params(0, true);
    let (rec, handle) = host.rec_begin();
    assert_eq!(handle, 0);
    assert_eq!(
        host.status(Fid::GRANULE_RANGE_UNDELEGATE, &[rec, rec + GRANULE_SIZE]),
        INPUT
    );

    // Nothing is a portion, and so is a range without blocks, whatever else it says.
    assert_eq!(host.donate(handle, &[]), [0x10d, 0, 16 << 2]);
    assert_eq!(
        host.donate(handle, &[0x1003 | 1 << 63]),
        [0x10d, 0, 16 << 2]
    );
    let first = host.delegated(3);
    assert_eq!(host.donate(handle, &[first | 3 << 2]), [0x10d, 3, 13 << 2]);
    let (a, b) = (host.delegated(6), host.delegated(7));
    // Continuing is not what is due.
    assert_eq!(host.status(Fid::OP_CONTINUE, &[handle, 0]), INPUT);
    assert_eq!(
        host.status(Fid::OP_MEM_RECLAIM, &[handle, host.scratch(), 512]),
        INPUT
    );
    assert_eq!(host.status(Fid::OP_CANCEL, &[handle]), INPUT);
    assert_eq!(host.donate(handle, &[a | 6 << 2, b | 7 << 2]), [0xd, 13, 0]);
    assert_eq!(
        host.status(Fid::OP_MEM_DONATE, &[handle, host.scratch(), 1]),
        INPUT
    );
    host.ok(Fid::OP_CONTINUE, &[handle, 0]);
    // The handle is gone.
    assert_eq!(host.status(Fid::OP_CONTINUE, &[handle, 0]), INPUT);
    assert_eq!(host.status(Fid::OP_CANCEL, &[handle]), INPUT);

    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    // Adjacent granules come back in one descriptor.
    host.ok(Fid::REALM_TERMINATE, &[host.rd()]);
    let back = host.rec_destroy(rec);
    let blocks: u64 = back.iter().map(|range| range >> 2 & 0x3ff).sum();
    assert_eq!(blocks, 16);
    assert_eq!(back.len(), 1);
    assert_eq!(back[0], first | 16 << 2);
    assert!(host.is_delegated(rec) && host.is_delegated(first));
}

#[test]
fn create_refuses_a_rec_granule_that_is_not_delegated() {
    let host = Host::new();
    host.rec_params(0, true);
    for rec in [pa(200), host.rd(), pa(200) + 8, 0, u64::MAX] {
        host.expect(
            Fid::REC_CREATE,
            [host.rd(), rec, host.scratch()],
            Status::ErrorInput,
            [],
        );
    }
}

#[test]
fn donate_refuses_what_was_not_asked_for() {
    let host = Host::new();
    host.rec_params(0, true);
    let (_, handle) = host.rec_begin();
    let memory = host.delegated(18);
    let bad = [
        vec![memory | 17 << 2],
        vec![memory | 16 << 2, memory | 1 << 2],
        vec![memory | 1 << 2 | 1],
        vec![memory | 1 << 2 | 1 << 63],
    ];
    for ranges in bad {
        assert_eq!(host.donate(handle, &ranges), [INPUT, 0, 0], "{ranges:x?}");
    }
    for list in [host.scratch() + 4, host.rd(), 0x10] {
        host.expect(
            Fid::OP_MEM_DONATE,
            [handle, list, 1],
            Status::ErrorInput,
            [],
        );
    }
    host.expect(
        Fid::OP_MEM_DONATE,
        [handle + 1, host.scratch(), 1],
        Status::ErrorInput,
        [],
    );
    host.expect(
        Fid::OP_MEM_DONATE,
        [u64::MAX, host.scratch(), 1],
        Status::ErrorInput,
        [],
    );
    // Nothing of that has ended the operation.
    assert_eq!(host.donate(handle, &[memory | 16 << 2]), [0xd, 16, 0]);
    host.ok(Fid::OP_CONTINUE, &[handle, 0]);
}

#[test]
fn a_list_ends_with_its_granule() {
    let host = Host::new();
    host.rec_params(0, true);
    let (_, handle) = host.rec_begin();
    let memory = host.delegated(1);
    let mut list = host.fake().data(host.scratch());
    list[511] = memory | 1 << 2;
    host.fake().host_write(host.scratch(), &list);
    let regs = host.call(
        Fid::OP_MEM_DONATE,
        &[handle, host.scratch() + 511 * 8, u64::MAX],
    );
    assert_eq!([regs.x(0), regs.x(1), regs.x(2)], [0x10d, 1, 15 << 2]);
}

#[test]
fn a_donation_stops_at_a_granule_that_is_not_delegated() {
    let host = Host::new();
    host.rec_params(0, true);
    let (rec, handle) = host.rec_begin();
    let memory = host.delegated(2);
    let theirs = host.fresh(1);
    // Two are taken, the third is the host's.
    assert_eq!(host.donate(handle, &[memory | 3 << 2]), [0x10d, 2, 14 << 2]);
    // It is the first of the next list: the command fails, and gives back the two.
    assert_eq!(host.donate(handle, &[theirs | 1 << 2]), [0x20d, 0, 0]);
    assert_eq!(
        host.status(Fid::OP_MEM_DONATE, &[handle, host.scratch(), 1]),
        INPUT
    );
    assert_eq!(host.reclaim(handle), [memory | 2 << 2]);
    host.expect(Fid::OP_CONTINUE, [handle, 0], Status::ErrorInput, []);
    assert!(host.is_delegated(rec));
    host.ok(
        Fid::GRANULE_RANGE_UNDELEGATE,
        &[memory, memory + 2 * GRANULE_SIZE],
    );
}

#[test]
fn a_command_that_has_nothing_to_give_back_asks_for_a_list_all_the_same() {
    let host = Host::new();
    host.rec_params(0, true);
    let (rec, handle) = host.rec_begin();
    assert_eq!(
        host.donate(handle, &[host.fresh(1) | 1 << 2]),
        [0x20d, 0, 0]
    );
    let regs = host.call(Fid::OP_MEM_RECLAIM, &[handle, host.scratch(), 0]);
    assert_eq!((regs.x(0), regs.x(1)), (0x20d, 0));
    assert!(host.reclaim(handle).is_empty());
    host.expect(Fid::OP_CONTINUE, [handle, 0], Status::ErrorInput, []);
    assert!(host.is_delegated(rec));
}

/// Ends a REC_CREATE that fails with `status`.
#[track_caller]
fn fails(host: &Host, rd: u64, params: u64, status: u64) {
    let rec = host.delegated(1);
    let regs = host.call(Fid::REC_CREATE, &[rd, rec, params]);
    assert_eq!(regs.x(0), 0x10d);
    let handle = regs.x(1);
    let memory = host.delegated(16);
    assert_eq!(host.donate(handle, &[memory | 16 << 2]), [0xd, 16, 0]);
    let regs = host.call(Fid::OP_CONTINUE, &[handle, 0]);
    assert_eq!([regs.x(0), regs.x(1), regs.x(2)], [0x20d, 0, 0]);
    assert_eq!(host.reclaim(handle), [memory | 16 << 2]);
    assert_eq!(host.status(Fid::OP_CONTINUE, &[handle, 0]), status);
    assert!(host.is_delegated(rec) && host.is_delegated(memory));
}

#[test]
fn create_fails_in_the_end() {
    let host = Host::new();
    host.rec_params(0, true);
    fails(&host, host.rd(), host.rd(), INPUT);
    fails(&host, host.rd(), host.scratch() + 8, INPUT);
    fails(&host, host.rd() + GRANULE_SIZE, host.scratch(), INPUT);
    for mpidr in [1, 0x10, 1 << 32, 0x100] {
        host.rec_params(mpidr, true);
        fails(&host, host.rd(), host.scratch(), INPUT);
    }
    host.rec(0);
    host.rec_params(0, true);
    fails(&host, host.rd(), host.scratch(), INPUT);
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    // The state of the realm comes first.
    fails(&host, host.rd(), host.scratch(), REALM);
}

#[test]
fn recs_are_numbered_by_their_mpidr() {
    let host = Host::new();
    let recs: Vec<u64> = (0..18u64)
        .map(|n| {
            host.rec_params(n & 0xf | (n >> 4) << 8, n == 0);
            let (rec, handle) = host.rec_begin();
            host.donate(handle, &[host.delegated(16) | 16 << 2]);
            host.ok(Fid::OP_CONTINUE, &[handle, 0]);
            rec
        })
        .collect();
    host.end_before_active(&recs);
}

#[test]
fn operations_run_out() {
    let host = Host::new();
    host.rec_params(0, true);
    let rec = host.delegated(1);
    let first = host.delegated(159);
    host.ok_incomplete(rec);
    for n in 0..159 {
        host.ok_incomplete(first + n * GRANULE_SIZE);
    }
    let one_more = host.delegated(1);
    let blocked = Host::code(Status::Blocked);
    assert_eq!(
        host.status(Fid::REC_CREATE, &[host.rd(), one_more, host.scratch()]),
        blocked
    );
    assert_eq!(host.status(Fid::REC_DESTROY, &[one_more]), blocked);
    assert!(host.is_delegated(one_more));
}

#[test]
fn destroy_needs_a_rec() {
    let (host, rec) = Host::running();
    for bad in [host.rd(), rec + 8, pa(200), u64::MAX] {
        host.expect(Fid::REC_DESTROY, [bad], Status::ErrorInput, []);
    }
    // An active realm can lose its RECs.
    assert_eq!(host.rec_destroy(rec).len(), 1);
    host.end(&[]);
}

#[test]
fn reclaim_goes_in_portions() {
    let host = Host::new();
    host.rec_params(0, true);
    let (rec, handle) = host.rec_begin();
    // Granules with gaps between them.
    let memory = host.delegated(32);
    let ranges: Vec<u64> = (0..16)
        .map(|n| (memory + 2 * n * GRANULE_SIZE) | 1 << 2)
        .collect();
    assert_eq!(host.donate(handle, &ranges), [0xd, 16, 0]);
    host.ok(Fid::OP_CONTINUE, &[handle, 0]);

    let regs = host.call(Fid::REC_DESTROY, &[rec]);
    let handle = regs.x(1);
    let list = host.scratch();
    host.expect(
        Fid::OP_MEM_RECLAIM,
        [handle, list + 1, 5],
        Status::ErrorInput,
        [],
    );
    let reclaim = |list: u64, count: u64| {
        let regs = host.call(Fid::OP_MEM_RECLAIM, &[handle, list, count]);
        [regs.x(0), regs.x(1)]
    };
    assert_eq!(reclaim(list, 0), [0x20d, 0]);
    assert_eq!(reclaim(list, 5), [0x20d, 5]);
    assert_eq!(host.fake().data(list)[..5], ranges[..5]);
    // A list that cannot be written: what was taken out for it is told later, and nothing is lost.
    assert_eq!(reclaim(host.rd(), 4), [INPUT, 0]);
    assert_eq!(reclaim(list, 3), [0x20d, 3]);
    assert_eq!(host.fake().data(list)[..3], ranges[5..8]);
    assert_eq!(reclaim(list, 512), [0x20d, 1]);
    assert_eq!(host.fake().data(list)[..1], ranges[8..9]);
    // At the end of a granule.
    assert_eq!(reclaim(list + 509 * 8, 512), [0x20d, 3]);
    assert_eq!(reclaim(list, 512), [0xd, 4]);
    assert_eq!(host.fake().data(list)[..4], ranges[12..]);
    host.ok(Fid::OP_CONTINUE, &[handle, 0]);
    assert!(host.is_delegated(rec));
}

#[test]
fn enter_checks_in_order() {
    let host = Host::new();
    let rec = host.rec(0);
    let off = host.rec(1);
    let enter = |rec, page| host.status(Fid::REC_ENTER, &[rec, page]);
    // The realm is not active.
    assert_eq!(enter(rec, host.run_page()), REALM);
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    assert_eq!(enter(rec, host.rd()), INPUT);
    assert_eq!(enter(rec, host.run_page() + 8), INPUT);
    assert_eq!(enter(host.rd(), host.run_page()), INPUT);
    assert_eq!(enter(rec + 8, host.run_page()), INPUT);
    assert_eq!(enter(off, host.run_page()), REC);
    assert_eq!(host.fake().cpu.entries(), (0, 0));
    assert_eq!(enter(rec, host.run_page()), 0);
    assert_eq!(host.fake().cpu.entries(), (1, 1));
    host.ok(Fid::REALM_TERMINATE, &[host.rd()]);
    assert_eq!(enter(rec, host.run_page()), REALM);
}

#[test]
fn a_running_rec_is_left_alone() {
    let (host, rec) = Host::running();
    let host = Arc::new(host);
    let other = host.clone();
    host.fake().cpu.then(move |_| {
        let host = other;
        assert_eq!(host.status(Fid::REC_ENTER, &[rec, host.scratch()]), REC);
        assert_eq!(host.status(Fid::REC_DESTROY, &[rec]), REC);
        assert_eq!(
            host.status(Fid::RTT_SET_RIPAS, &[host.rd(), rec, 0, GRANULE_SIZE]),
            REC
        );
        assert_eq!(host.status(Fid::REALM_TERMINATE, &[host.rd()]), REALM);
        Trap::Fiq
    });
    assert_eq!(host.enter(rec), 2);
    host.ok(Fid::REALM_TERMINATE, &[host.rd()]);
}

#[test]
fn the_host_takes_the_page_away() {
    let (host, rec) = Host::running();
    let host = Arc::new(host);
    let other = host.clone();
    host.fake().cpu.then(move |_| {
        let host = other;
        host.delegate(host.run_page(), 1);
        Trap::Irq
    });
    assert_eq!(host.enter_with(rec, 0, &[]), INPUT);
    host.ok(
        Fid::GRANULE_RANGE_UNDELEGATE,
        &[host.run_page(), host.run_page() + GRANULE_SIZE],
    );
    assert_eq!(host.enter(rec), 1);
    assert_eq!(host.fake().pas(host.run_page()), Pas::NonSecure);
}

#[test]
fn a_rec_starts_with_the_registers_that_were_measured() {
    let (host, rec) = Host::running();
    let ctx = host.registers(rec);
    assert_eq!(ctx.pc, 0x1000);
    assert_eq!(ctx.pstate, 0x3c5);
    assert_eq!((ctx.gprs[0], ctx.gprs[7], ctx.gprs[8]), (0xa0, 0xa7, 0));
    assert_eq!(ctx.el1.sctlr_el1, 0x00c5_0878);
    assert_eq!(ctx.el2.vmpidr_el2, 1 << 31);
    assert_eq!(ctx.el2.hcr_el2, 0x4324_800c_063f);
    // 33 bits of IPA, from level 1.
    assert_eq!(ctx.el2.vtcr_el2, 0xc000_355f);
    assert_eq!(
        ctx.simd.granules.map(|pa| host.fake().pas(pa)),
        [Pas::Realm; 3]
    );
}

#[test]
fn enter_refuses_bad_list_registers() {
    let (host, rec) = Host::running();
    let cpu = &host.fake().cpu;
    let pending = 1 << 62;
    cpu.set_list_register(0, pending | 27);
    cpu.set_list_register(3, pending | 30);
    // Not in use: whatever it holds is of no interest.
    cpu.set_list_register(5, 1 << 61 | 27);
    assert_eq!(host.enter(rec), 1);
    cpu.set_list_register(3, pending | 1 << 60 | 27);
    assert_eq!(host.enter_with(rec, 0, &[]), REC);
    cpu.set_list_register(3, pending | 1 << 61 | 30);
    assert_eq!(host.enter_with(rec, 0, &[]), REC);
    cpu.set_list_register(3, 0);
    assert_eq!(host.enter(rec), 1);
}

#[test]
fn wfx_is_the_hosts_if_it_wants() {
    let (host, rec) = Host::running();
    host.fake().cpu.then(|ctx| {
        assert_eq!(ctx.el2.hcr_el2 >> 13 & 3, 0b01);
        trap(0x01 << 26 | 1 << 25 | 0x1f << 20)
    });
    assert_eq!(host.enter_with(rec, 1 << 2, &[]), 0);
    assert_eq!((host.exit(0), host.exit(0x100)), (0, 0x01 << 26));
    host.fake().cpu.then(|ctx| {
        assert_eq!(ctx.el2.hcr_el2 >> 13 & 3, 0b10);
        assert_eq!(ctx.pc, 0x1004);
        trap(0x01 << 26 | 1 << 25 | 1)
    });
    assert_eq!(host.enter_with(rec, 1 << 3, &[]), 0);
    assert_eq!(host.exit(0x100), 0x01 << 26 | 1);
    assert_eq!(host.registers(rec).pc, 0x1008);
}

#[test]
fn what_the_rmm_does_not_know_exits_without_details() {
    let (host, rec) = Host::running();
    host.fake().cpu.then(|_| trap(0x3c << 26 | 0x1234));
    assert_eq!(host.enter(rec), 0);
    assert_eq!([0x100, 0x108, 0x110].map(|at| host.exit(at)), [0; 3]);
    // It is not something that the host could complete.
    assert_eq!(host.enter_with(rec, 1, &[]), REC);
    assert_eq!(host.enter_with(rec, 2, &[]), REC);
    assert_eq!(host.enter(rec), 1);
}

#[test]
fn psci_complete_checks_in_order() {
    let host = Host::new();
    let (caller, target, third) = (host.rec(0), host.rec(1), host.rec(2));
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    let complete = |a, b, code| host.status(Fid::PSCI_COMPLETE, &[a, b, code]);
    assert_eq!(complete(caller + 8, target, 0), INPUT);
    assert_eq!(complete(caller, host.rd(), 0), INPUT);
    assert_eq!(complete(caller, caller, 0), INPUT);
    assert_eq!(complete(caller, target, 0), INPUT);

    host.fake().cpu.then(smc(&[0xc400_0003, 1, 0x2000, 0x77]));
    assert_eq!(host.enter(caller), 3);
    assert_eq!(
        (host.exit_gpr(0), host.exit_gpr(1), host.exit_gpr(2)),
        (0xc400_0003, 1, 0)
    );
    assert_eq!(host.enter_with(caller, 0, &[]), REC);
    assert_eq!(complete(caller, third, 0), INPUT);
    assert_eq!(complete(caller, target, 1), INPUT);
    assert_eq!(complete(caller, target, -1i64 as u64), INPUT);
    assert_eq!(complete(caller, target, 0), 0);
    assert_eq!(complete(caller, target, 0), INPUT);

    let ctx = host.registers(caller);
    assert_eq!((ctx.gprs[..4].to_vec(), ctx.pc), (vec![0; 4], 0x1004));
    let ctx = host.registers(target);
    assert_eq!((ctx.pc, ctx.gprs[0], ctx.pstate), (0x2000, 0x77, 0x3c5));
    assert_eq!(host.enter_with(third, 0, &[]), REC);
    host.end(&[caller, target, third]);
}

#[test]
fn several_cpus_at_once() {
    let host = Host::new();
    let recs: Vec<u64> = (0..4)
        .map(|n| {
            host.rec_params(n, true);
            let (rec, handle) = host.rec_begin();
            host.donate(handle, &[host.delegated(16) | 16 << 2]);
            host.ok(Fid::OP_CONTINUE, &[handle, 0]);
            rec
        })
        .collect();
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    let first_rec = recs[0];
    std::thread::scope(|scope| {
        for rec in &recs {
            let page = host.fresh(1);
            let host = &host;
            scope.spawn(move || {
                for _ in 0..200 {
                    // All race for the first as well.
                    let code = host.status(Fid::REC_ENTER, &[first_rec, page]);
                    assert!(code == 0 || code == REC, "{code}");
                    if *rec != first_rec {
                        assert_eq!(host.status(Fid::REC_ENTER, &[*rec, page]), 0);
                    }
                }
            });
        }
    });
    host.end(&recs);
}
