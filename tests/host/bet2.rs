// SPDX-License-Identifier: GPL-2.0

//! The dialect of the bet2 draft: the same host, on an RMM that wants memory for a realm, takes any
//! MPIDR, answers AFFINITY_INFO itself, and wants PSCI_COMPLETE put differently.

use crate::entry_seam::Seam;
use crate::faults::{
    assert_accounted,
    calls_of,
    counts,
    kinds,
    life,
    life_with_fault,
    name,
    places, //
};
use crate::life::{calls, Guest};
use crate::machine::Host;
use crate::vmm::Why;
use ::rmm::rmi::Dialect;
use kvm_arm_rmi::exit::{Exit, Psci, Question};
use kvm_arm_rmi::rec::{Owed, Wake};
use kvm_arm_rmi::rmi::cmd::rec::Verdict;
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use std::collections::BTreeMap;

const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
const DENIED: u64 = 0u64.wrapping_sub(3);
const ALREADY_ON: u64 = 0u64.wrapping_sub(4);

fn host() -> Host {
    Host::speaking(Dialect::Bet2)
}

/// One realm, two RECs, of which one turns the other on.
#[test]
fn a_whole_life() {
    let host = host();
    assert_eq!(life(&host), Ok(()));
    host.assert_idle();
    // The form that other RMMs take is tried first, and changes nothing.
    assert_eq!(host.failed(), [(Fid::PSCI_COMPLETE.to_string(), 1)]);
    let calls = |fid| calls(&host, fid);
    assert_eq!(calls(Fid::PSCI_COMPLETE), 2);
    // 16 for each REC in one piece; for the realm nine, which are eight and one.
    assert_eq!(calls(Fid::OP_MEM_DONATE), 2 + 2);
    // All come back, merged.
    assert_eq!(calls(Fid::OP_MEM_RECLAIM), 2 + 1);
    assert_eq!(
        [calls(Fid::REALM_CREATE), calls(Fid::REALM_DESTROY)],
        [1, 1]
    );
}

/// What the realm borrows is accounted for from its first moment to its last.
#[test]
fn a_realm_borrows_nine_granules() {
    let host = host();
    let guest = Guest::new(&host);
    // The RD, its root table, and what was lent. The page for lists is not delegated.
    assert_eq!(counts(&host), (1 + 1 + 9, 0));
    assert_eq!(host.machine.fake().realm_granules(), 1 + 1 + 9);
    assert_eq!(host.allocated(), 1 + 1 + 9 + 1);
    guest.tear_down();
    host.assert_idle();
    assert_eq!(host.failed(), []);
}

/// How often each command is called in a good life.
fn good_life() -> BTreeMap<u32, u64> {
    let host = host();
    assert_eq!(life(&host), Ok(()));
    calls_of(&host)
}

/// The commands that are not what they are in the other dialect, and the steps of their operations.
const DIFFERENT: [Fid; 6] = [
    Fid::REALM_CREATE,
    Fid::REALM_DESTROY,
    Fid::PSCI_COMPLETE,
    Fid::OP_CONTINUE,
    Fid::OP_MEM_DONATE,
    Fid::OP_MEM_RECLAIM,
];

#[test]
fn any_refusal_where_the_dialect_differs() {
    let calls = good_life();
    for fid in DIFFERENT.map(|fid| fid.raw()) {
        for place in places(calls[&fid]) {
            for code in kinds() {
                let what = format!("{} {place}: {code:#x}", name(fid));
                let host = host();
                let wrong = move |_: &Regs, _: &dyn Fn(&Regs) -> Regs| Regs::new(code, &[]);
                let result = life_with_fault(&host, fid, place, 1, wrong);
                assert_accounted(&host, &what);
                // Once BUSY or BLOCKED is nothing to fail for.
                if matches!(code, 10 | 14) {
                    assert_eq!((result, counts(&host)), (Ok(()), (0, 0)), "{what}");
                }
            }
        }
    }
}

#[test]
fn refusals_that_last() {
    let calls = good_life();
    for fid in DIFFERENT.map(|fid| fid.raw()) {
        for place in places(calls[&fid]) {
            for code in [1, 10, 14, 0xd, 0x10d, 0x20d, 0x50d, u64::MAX] {
                let host = host();
                let wrong = move |_: &Regs, _: &dyn Fn(&Regs) -> Regs| Regs::new(code, &[]);
                let _ = life_with_fault(&host, fid, place, u64::MAX, wrong);
                assert_accounted(&host, &format!("{} from {place}: {code:#x}", name(fid)));
            }
        }
    }
}

/// There is no memory for what the RMM asks for, which cannot be cancelled: the realm is not made, and
/// what it has taken by then comes back.
#[test]
fn no_memory_at_any_moment() {
    let allocations = {
        let host = host();
        assert_eq!(life(&host), Ok(()));
        host.allocations()
    };
    let mut failed = 0;
    for n in 0..allocations {
        let host = Host::without(n);
        host.machine.rmm.speak(Dialect::Bet2);
        // A smaller piece does if there is one; for the last granule of a donation there is none.
        if let Err(why) = life(&host) {
            assert_eq!(why, Why::NoMemory, "allocation {n}");
            failed += 1;
        }
        host.assert_idle();
    }
    // But for a large piece for the realm and for each of two RECs.
    assert_eq!(failed, allocations - 3);
}

/// RECs in any order: this RMM takes them, and the other refuses them and changes nothing.
#[test]
fn recs_in_any_order() {
    for (dialect, refused) in [(Dialect::Bet2, 0), (Dialect::Main, 3)] {
        let host = Host::speaking(dialect);
        let mut guest = Guest::new(&host);
        let mut errors = 0;
        for mpidr in [0x102_0305, 3, 0x100] {
            if let Err(error) = guest.try_rec(mpidr) {
                assert_eq!(error.status(), Some(Status::ErrorInput));
                errors += 1;
            }
        }
        assert_eq!((errors, guest.recs.len()), (refused, 3 - refused));
        assert_eq!(counts(&host).1, 0);
        guest.tear_down();
        host.assert_idle();
    }
}

/// Has vCPU 0 ask for vCPU `n`, which has this MPIDR_EL1, to be turned on, and the host decide.
#[track_caller]
fn turn_on(seam: &mut Seam<'_>, n: usize, mpidr: u64, verdict: Verdict) -> (Wake, u64) {
    seam.smc(&[CPU_ON, mpidr, 0x3000, 0x77]);
    let Exit::Psci(Psci::Ask(call)) = seam.enter(0) else {
        panic!("the RMM answers CPU_ON by itself");
    };
    assert_eq!((call.question, call.target()), (Question::TurnOn, mpidr));
    let recs = &seam.guest.recs;
    let (rmi, names) = (&seam.guest.host.rmi, [recs[0].name(), recs[n].name()]);
    let vcpu = &mut seam.cpus[0].vcpu;
    let wake = vcpu.complete_psci(rmi, names[0], Some(names[1]), verdict);
    assert_eq!(*vcpu.owed(), Owed::Nothing);
    (wake.unwrap(), seam.look(0).gprs[0])
}

#[test]
fn a_vcpu_turns_others_on_and_asks_about_them() {
    let host = host();
    let mut seam = Seam::of(&host, &[2, 0x0304_0005, 0]);
    // MPIDR_EL1 has Aff3 elsewhere than a REC's MPIDR.
    let mpidrs = [2, 0x03_0004_0005, 0];
    let state = |seam: &mut Seam<'_>, mpidr| {
        seam.smc(&[AFFINITY_INFO, mpidr, 0]);
        // The answer is there at once: nothing is asked.
        seam.look(0).gprs[0]
    };
    assert_eq!(mpidrs.map(|mpidr| state(&mut seam, mpidr)), [0, 1, 1]);
    let denied = turn_on(&mut seam, 2, mpidrs[2], Verdict::Denied);
    assert_eq!(denied, (Wake::Nobody, DENIED));
    for n in [1, 2] {
        let on = turn_on(&mut seam, n, mpidrs[n], Verdict::Success);
        assert_eq!(on, (Wake::Target, 0));
        let ctx = seam.look(n);
        assert_eq!((ctx.pc, ctx.gprs[0]), (0x3000, 0x77));
        assert_eq!(state(&mut seam, mpidrs[n]), 0);
    }
    // Each was refused once, in the other form.
    assert_eq!(host.failed(), [(Fid::PSCI_COMPLETE.to_string(), 3)]);
    assert_eq!(calls(&host, Fid::PSCI_COMPLETE), 6);
    // Too late: the RMM objects in both forms, and the realm is told what is.
    let late = turn_on(&mut seam, 2, mpidrs[2], Verdict::Denied);
    assert_eq!(late, (Wake::Nobody, ALREADY_ON));
    assert_eq!(host.failed(), [(Fid::PSCI_COMPLETE.to_string(), 5)]);
}

/// The host has no such vCPU. This RMM does not want to be told which REC it is.
#[test]
fn a_target_that_the_host_does_not_have() {
    let host = host();
    let mut seam = Seam::new(&host, 2);
    seam.smc(&[CPU_ON, 1, 0x3000, 0]);
    assert!(matches!(seam.enter(0), Exit::Psci(Psci::Ask(_))));
    let caller = seam.guest.recs[0].name();
    let vcpu = &mut seam.cpus[0].vcpu;
    let ended = vcpu.complete_psci(&host.rmi, caller, None, Verdict::Success);
    assert_eq!(ended, Ok(Wake::Nobody));
    assert_eq!(seam.look(0).gprs[0], DENIED);
}

/// An interrupt that is pending ends a map command before it has begun, with SUCCESS.
#[test]
fn interrupts_end_commands_that_have_done_nothing() {
    for every in [2, 3, 7] {
        let host = host();
        host.machine.fake().interrupt_after(every);
        assert_eq!(life(&host), Ok(()), "every {every}");
        host.assert_idle();
    }
}
