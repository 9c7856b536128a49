// SPDX-License-Identifier: GPL-2.0

//! The dialect of the bet2 draft: the same host, on an RMM that takes any MPIDR, answers AFFINITY_INFO
//! itself, and wants PSCI_COMPLETE put differently.

use crate::alone::alone;
use crate::entry_seam::Seam;
use crate::life::{calls, Guest};
use crate::machine::Host;
use ::rmm::rmi::Dialect;
use kvm_arm_rmi::exit::{Exit, Psci, Question};
use kvm_arm_rmi::rec::{Owed, Wake};
use kvm_arm_rmi::rmi::cmd::rec::Verdict;
use kvm_arm_rmi::rmi::{Fid, Status};

const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
const DENIED: u64 = 0u64.wrapping_sub(3);
const ALREADY_ON: u64 = 0u64.wrapping_sub(4);

fn host() -> Host {
    Host::speaking(Dialect::Bet2)
}

/// RECs in any order: this RMM takes them, and the other refuses them and changes nothing.
#[test]
fn recs_in_any_order() {
    alone(|| {
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
            assert_eq!(host.counts().1, 0);
            guest.tear_down();
            host.assert_idle();
        }
    });
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
    alone(|| {
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
    });
}

/// The host has no such vCPU. This RMM does not want to be told which REC it is.
#[test]
fn a_target_that_the_host_does_not_have() {
    alone(|| {
        let host = host();
        let mut seam = Seam::new(&host, 2);
        seam.smc(&[CPU_ON, 1, 0x3000, 0]);
        assert!(matches!(seam.enter(0), Exit::Psci(Psci::Ask(_))));
        let caller = seam.guest.recs[0].name();
        let vcpu = &mut seam.cpus[0].vcpu;
        let ended = vcpu.complete_psci(&host.rmi, caller, None, Verdict::Success);
        assert_eq!(ended, Ok(Wake::Nobody));
        assert_eq!(seam.look(0).gprs[0], DENIED);
    });
}
