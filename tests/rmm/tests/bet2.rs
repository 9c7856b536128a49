// SPDX-License-Identifier: GPL-2.0

//! What an RMM does differently that speaks the dialect of the bet2 draft.

mod common;

use common::guest::{smc, Host};
use kvm_arm_rmi::rmi::Fid;
use rmm::rmi::Dialect;

const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
const CPU_OFF: u64 = 0x8400_0002;

const INPUT: u64 = 1;
const REALM: u64 = 2;
const PAGE: u64 = 0x1000;

const INVALID: u64 = 0u64.wrapping_sub(2);
const ALREADY_ON: u64 = 0u64.wrapping_sub(4);
const DENIED: u64 = 0u64.wrapping_sub(3);

fn host() -> Host {
    Host::of(Dialect::Bet2, 0)
}

/// A realm that runs, whose RECs have these MPIDRs. The first is on.
fn running(mpidrs: &[u64]) -> (Host, Vec<u64>) {
    let host = host();
    let recs = mpidrs.iter().enumerate().map(|(n, mpidr)| {
        let (rec, code) = make(&host, *mpidr, n == 0);
        assert_eq!(code, 0, "{mpidr:#x}");
        rec
    });
    let recs = recs.collect();
    host.ok(Fid::REALM_ACTIVATE, &[host.rd()]);
    (host, recs)
}

/// Makes a REC. Returns its PA, and how that has ended.
fn make(host: &Host, mpidr: u64, on: bool) -> (u64, u64) {
    host.rec_params(mpidr, on);
    let (rec, handle) = host.rec_begin();
    let donated = host.donate(handle, &[host.delegated(16) | 16 << 2]);
    assert_eq!(donated, [0xd, 16, 0]);
    let regs = host.call(Fid::OP_CONTINUE, &[handle, 0]);
    if regs.x(0) == 0 {
        return (rec, 0);
    }
    assert_eq!(regs.x(0), 0x20d);
    host.reclaim(handle);
    (rec, host.status(Fid::OP_CONTINUE, &[handle, 0]))
}

#[test]
fn a_realm_takes_nine_granules_and_gives_them_back() {
    let host = host();
    let (rd, root) = (host.delegated(1), host.delegated(1));
    let regs = host.realm_begin(rd, root, 0);
    assert_eq!((regs.x(0), regs.x(2)), (0x10d, 9 << 2));
    let handle = regs.x(1);
    // Nothing of it can be had or used meanwhile.
    for pa in [rd, root] {
        let back = [pa, pa + PAGE];
        assert_eq!(host.status(Fid::GRANULE_RANGE_UNDELEGATE, &back), INPUT);
    }
    assert_eq!(host.status(Fid::REALM_ACTIVATE, &[rd]), INPUT);
    assert_eq!(host.status(Fid::OP_CONTINUE, &[handle, 0]), INPUT);

    let base = host.delegated(9);
    assert_eq!(host.donate(handle, &[base | 8 << 2]), [0x10d, 8, 1 << 2]);
    let last = base + 8 * PAGE;
    assert_eq!(host.donate(handle, &[last | 1 << 2]), [0xd, 1, 0]);
    let back = [base, last + PAGE];
    assert_eq!(host.status(Fid::GRANULE_RANGE_UNDELEGATE, &back), INPUT);
    host.ok(Fid::OP_CONTINUE, &[handle, 0]);

    assert_eq!(host.status(Fid::REALM_DESTROY, &[rd]), REALM);
    host.ok(Fid::REALM_TERMINATE, &[rd]);
    assert_eq!(host.realm_destroy(rd), [base | 9 << 2]);
    host.ok(Fid::GRANULE_RANGE_UNDELEGATE, &back);
    for pa in [rd, root] {
        host.ok(Fid::GRANULE_RANGE_UNDELEGATE, &[pa, pa + PAGE]);
    }
    assert_eq!(host.status(Fid::REALM_DESTROY, &[rd]), INPUT);
    host.end_before_active(&[]);
}

#[test]
fn a_realm_that_gets_too_little_gives_everything_back() {
    let host = host();
    let (rd, root) = (host.delegated(1), host.delegated(1));
    // As often as there are VMIDs, and once more.
    for _ in 0..257 {
        let regs = host.realm_begin(rd, root, 0);
        assert_eq!(regs.x(0), 0x10d);
        let (handle, base) = (regs.x(1), host.scratch());
        let granule = root + PAGE;
        host.delegate(granule, 1);
        assert_eq!(host.donate(handle, &[granule | 1 << 2]), [0x10d, 1, 8 << 2]);
        // This page is the host's.
        assert_eq!(host.donate(handle, &[base | 1 << 2]), [0x20d, 0, 0]);
        let back = [root, root + PAGE];
        assert_eq!(host.status(Fid::GRANULE_RANGE_UNDELEGATE, &back), INPUT);
        assert_eq!(host.reclaim(handle), [granule | 1 << 2]);
        assert_eq!(host.status(Fid::OP_CONTINUE, &[handle, 0]), INPUT);
        host.ok(Fid::GRANULE_RANGE_UNDELEGATE, &[granule, granule + PAGE]);
    }
    for pa in [rd, root] {
        host.ok(Fid::GRANULE_RANGE_UNDELEGATE, &[pa, pa + PAGE]);
    }
    host.end_before_active(&[]);
}

#[test]
fn what_realm_create_refuses_at_once_changes_nothing() {
    let host = host();
    let (rd, root) = (host.delegated(1), host.delegated(1));
    for (rd, root) in [(rd, host.scratch()), (host.scratch(), root), (root, root)] {
        assert_eq!(host.realm_begin(rd, root, 0).x(0), INPUT);
    }
    for pa in [rd, root] {
        host.ok(Fid::GRANULE_RANGE_UNDELEGATE, &[pa, pa + PAGE]);
    }
    host.end_before_active(&[]);
}

#[test]
fn recs_have_any_mpidr_that_is_free() {
    let host = host();
    let (rec, _) = make(&host, 0x102_000f, true);
    let (other, _) = make(&host, 0, false);
    // Taken, or no MPIDR of a REC.
    for mpidr in [0x102_000f, 0, 0x10, 1 << 32] {
        assert_eq!(make(&host, mpidr, false).1, INPUT, "{mpidr:#x}");
    }
    // One that is gone is free again.
    host.rec_destroy(rec);
    let (again, code) = make(&host, 0x102_000f, true);
    assert_eq!(code, 0);
    host.end_before_active(&[again, other]);
}

#[test]
fn a_cpu_is_asked_about_without_the_host() {
    let (host, recs) = running(&[0x100, 0x0f00_0001, 3]);
    let first = recs[0];
    // MPIDR_EL1 has Aff3 elsewhere.
    let second = 0x0f_0000_0001;
    for (mpidr, level, answer) in [
        (0x100, 0, 0),
        (second, 0, 1),
        (3, 0, 1),
        // No such CPU.
        (0, 0, 1),
        (0x0f00_0001, 0, 1),
        (3, 1, INVALID),
    ] {
        let asked = host.answer_code(first, &[AFFINITY_INFO, mpidr, level]);
        assert_eq!(asked, answer, "{mpidr:#x}");
    }
    host.fake().cpu.then(smc(&[CPU_ON, second, 0x2000, 0x77]));
    assert_eq!(host.enter(first), 3);
    assert_eq!(host.exit_gpr(1), second);
    host.ok(Fid::PSCI_COMPLETE, &[first, 0]);
    assert_eq!(host.answer_code(first, &[AFFINITY_INFO, second, 0]), 0);
    let ctx = host.registers(recs[1]);
    assert_eq!((ctx.pc, ctx.gprs[0]), (0x2000, 0x77));
    host.fake().cpu.then(smc(&[CPU_OFF]));
    assert_eq!(host.enter(recs[1]), 3);
    assert_eq!(host.answer_code(first, &[AFFINITY_INFO, second, 0]), 1);

    // One that has been taken down is off, also if it is another realm's now.
    host.rec_destroy(recs[2]);
    assert_eq!(host.answer_code(first, &[AFFINITY_INFO, 3, 0]), 1);
    let on = host.answer_code(first, &[CPU_ON, 3, 0x2000, 0]);
    assert_eq!(on, INVALID);
    host.end(&recs[..2]);
}

#[test]
fn psci_complete_takes_the_caller_and_the_verdict() {
    let (host, recs) = running(&[7, 2]);
    let [caller, target] = recs[..] else { panic!() };
    let complete = |args: &[u64]| host.status(Fid::PSCI_COMPLETE, args);
    // Nothing has been asked.
    assert_eq!(complete(&[caller, 0]), INPUT);
    let ask = || {
        host.fake().cpu.then(smc(&[CPU_ON, 2, 0x2000, 0]));
        assert_eq!(host.enter(caller), 3);
    };
    ask();
    // The other dialect's form, and what is no verdict.
    for args in [[caller, target], [target, 0], [caller + 8, 0], [caller, 1]] {
        assert_eq!(complete(&args), INPUT, "{args:x?}");
    }
    assert_eq!(complete(&[caller, DENIED]), 0);
    assert_eq!(complete(&[caller, DENIED]), INPUT);
    assert_eq!(host.registers(caller).gprs[0], DENIED);
    ask();
    assert_eq!(complete(&[caller, 0]), 0);
    assert_eq!(host.registers(caller).gprs[0], 0);
    // On already: that cannot be denied, and the call is over.
    ask();
    assert_eq!(complete(&[caller, DENIED]), INPUT);
    assert_eq!(host.registers(caller).gprs[0], ALREADY_ON);
    // No such CPU, and itself.
    for (mpidr, answer) in [(0, INVALID), (7, ALREADY_ON)] {
        let asked = host.answer_code(caller, &[CPU_ON, mpidr, 0x2000]);
        assert_eq!(asked, answer);
    }
    host.end(&recs);
}

#[test]
fn an_interrupt_ends_a_map_before_its_first_block() {
    let (host, recs) = running(&[0]);
    let data = host.delegated(1);
    let ipa = 0x1_0000;
    let map = [host.rd(), ipa, ipa + PAGE, 1, data | 1 << 2];
    host.fake().interrupt_after(1);
    let regs = host.call(Fid::RTT_DATA_MAP, &map);
    assert_eq!((regs.x(0), regs.x(1)), (0, ipa));
    host.fake().interrupt_after(0);
    let regs = host.call(Fid::RTT_DATA_MAP, &map);
    assert_eq!((regs.x(0), regs.x(1)), (0, ipa + PAGE));
    host.end(&recs);
}

/// The host's memory has to be described as such.
#[test]
fn shared_memory_says_that_it_is() {
    let (host, recs) = running(&[0]);
    let (page, ipa) = (host.fresh(1), 1 << 32);
    for level in [2, 3] {
        let table = host.delegated(1);
        host.ok(Fid::RTT_CREATE, &[host.rd(), table, ipa, level]);
    }
    let flags = 1 | 6 << 16 | 3 << 19;
    let map = |state: u64| {
        let desc = page | 1 << 2 | state << 62;
        host.status(
            Fid::RTT_UNPROT_MAP,
            &[host.rd(), ipa, ipa + PAGE, flags, desc],
        )
    };
    assert_eq!([map(0), map(1), map(2)], [INPUT, INPUT, 0]);
    host.ok(Fid::RTT_UNPROT_UNMAP, &[host.rd(), ipa, ipa + PAGE, 0, 0]);
    for level in [3, 2] {
        host.ok(Fid::RTT_DESTROY, &[host.rd(), ipa, level]);
    }
    host.end(&recs);
}
