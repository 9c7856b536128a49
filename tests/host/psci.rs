// SPDX-License-Identifier: GPL-2.0

//! PSCI calls that the host has a part in.

use crate::alone::alone;
use crate::entry_seam::Seam;
use crate::fake;
use crate::machine::Host;
use kvm_arm_rmi::exit::{Exit, Psci, PsciCall, Question, Refused};
use kvm_arm_rmi::rec::entry::Unready;
use kvm_arm_rmi::rec::{Owed, Vcpu, Wake};
use kvm_arm_rmi::rmi::cmd::rec::{self, RecName, Verdict};
use kvm_arm_rmi::rmi::{Error, Fid, IpaSpace, ReturnCode, SharedPage, Status};

const CPU_SUSPEND: u64 = 0xc400_0001;
const CPU_OFF: u64 = 0x8400_0002;
const CPU_ON: u64 = 0xc400_0003;
const AFFINITY_INFO: u64 = 0xc400_0004;
const SYSTEM_OFF: u64 = 0x8400_0008;
const SYSTEM_RESET: u64 = 0x8400_0009;

const DENIED: u64 = 0u64.wrapping_sub(3);
const ALREADY_ON: u64 = 0u64.wrapping_sub(4);

/// The realm asks from vCPU `n` about another.
#[track_caller]
fn ask(seam: &mut Seam<'_>, n: usize, args: &[u64]) -> PsciCall {
    seam.smc(args);
    match seam.enter(n) {
        Exit::Psci(Psci::Ask(call)) => call,
        other => panic!("{other:x?}"),
    }
}

/// The host ends the call of vCPU `n` as it does: the target is looked up by its MPIDR.
#[track_caller]
fn complete(seam: &mut Seam<'_>, n: usize, call: PsciCall) -> Wake {
    assert_eq!(*seam.cpus[n].vcpu.owed(), Owed::Psci(call));
    // The RMM would refuse.
    assert_eq!(seam.try_enter(n), Err(Unready::Psci));
    let recs = &seam.guest.recs;
    let found = (0..recs.len()).find(|n| *n as u64 == call.target());
    let target = found.map(|n| recs[n].name());
    let rmi = &seam.guest.host.rmi;
    let vcpu = &mut seam.cpus[n].vcpu;
    let wake = vcpu.complete_psci(rmi, recs[n].name(), target, Verdict::Success);
    assert_eq!(*vcpu.owed(), Owed::Nothing);
    // Nothing is left to be done, and nothing is.
    let again = vcpu.complete_psci(rmi, recs[n].name(), target, Verdict::Success);
    assert_eq!(again, Ok(Wake::Nobody));
    wake.unwrap()
}

/// x0 that vCPU `n` has when it runs.
#[track_caller]
fn x0(seam: &mut Seam<'_>, n: usize) -> u64 {
    seam.look(n).gprs[0]
}

#[test]
fn a_vcpu_turns_another_on() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        // Before, it cannot run, and may later.
        assert_eq!(seam.try_enter(1), Ok(Err(Refused::NotReady)));
        let call = ask(&mut seam, 0, &[CPU_ON, 1, 0x3000, 0x77]);
        assert_eq!((call.question, call.target()), (Question::TurnOn, 1));
        assert_eq!(seam.cpus[0].gprs[..4], [CPU_ON, 1, 0, 0]);
        assert_eq!(complete(&mut seam, 0, call), Wake::Target);
        let ctx = seam.look(1);
        assert_eq!((ctx.pc, ctx.gprs[0]), (0x3000, 0x77));
        assert_eq!(x0(&mut seam, 0), 0);
        // Once more: it is on.
        let call = ask(&mut seam, 0, &[CPU_ON, 1, 0x3000, 0x77]);
        assert_eq!(complete(&mut seam, 0, call), Wake::Target);
        assert_eq!(x0(&mut seam, 0), ALREADY_ON);
        seam.end(1);
    });
}

#[test]
fn bits_of_an_mpidr_that_the_rmm_ignores() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        for ignored in [0, 1 << 31, 0xf0, 0xff << 24, 0xff << 40] {
            let call = ask(&mut seam, 0, &[CPU_ON, 1 | ignored, 0x3000, 0]);
            assert_eq!(call.target(), 1);
            assert_eq!(complete(&mut seam, 0, call), Wake::Target);
        }
        seam.end(0);
    });
}

#[test]
fn calls_that_the_rmm_answers_alone() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        for (args, answer) in [
            // No such REC; itself; an address that is not protected.
            ([CPU_ON, 2, 0x3000], -2i64),
            ([CPU_ON, 0, 0x3000], -4),
            ([CPU_ON, 1, 1 << 38], -9),
            ([AFFINITY_INFO, 2, 0], -2),
            ([AFFINITY_INFO, 0, 0], 0),
        ] {
            seam.smc(&args);
            assert_eq!(x0(&mut seam, 0), answer as u64);
        }
        seam.end(0);
    });
}

#[test]
fn a_vcpu_asks_about_another() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        for (state, turn_on) in [(1, true), (0, false)] {
            let call = ask(&mut seam, 0, &[AFFINITY_INFO, 1, 0]);
            assert_eq!(call.question, Question::State);
            assert_eq!(complete(&mut seam, 0, call), Wake::Nobody);
            assert_eq!(x0(&mut seam, 0), state);
            if turn_on {
                let call = ask(&mut seam, 0, &[CPU_ON, 1, 0x3000, 0]);
                assert_eq!(complete(&mut seam, 0, call), Wake::Target);
            }
        }
        // The host has no say in that.
        let call = ask(&mut seam, 0, &[AFFINITY_INFO, 1, 0]);
        assert_eq!(*seam.cpus[0].vcpu.owed(), Owed::Psci(call));
        let recs = &seam.guest.recs;
        let vcpu = &mut seam.cpus[0].vcpu;
        let wake = vcpu.complete_psci(
            &host.rmi,
            recs[0].name(),
            Some(recs[1].name()),
            Verdict::Denied,
        );
        assert_eq!(wake, Ok(Wake::Nobody));
        seam.end(0);
    });
}

#[test]
fn the_host_denies() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        let deny = |seam: &mut Seam<'_>| {
            ask(seam, 0, &[CPU_ON, 1, 0x3000, 0]);
            let recs = &seam.guest.recs;
            let vcpu = &mut seam.cpus[0].vcpu;
            vcpu.complete_psci(
                &host.rmi,
                recs[0].name(),
                Some(recs[1].name()),
                Verdict::Denied,
            )
        };
        assert_eq!(deny(&mut seam), Ok(Wake::Nobody));
        assert_eq!(x0(&mut seam, 0), DENIED);
        assert_eq!(host.failed(), []);
        seam.turn_on(1, 0x3000);
        assert_eq!(host.failed(), []);
        // Too late: the RMM objects, and the realm is told what is.
        assert_eq!(deny(&mut seam), Ok(Wake::Nobody));
        assert_eq!(*seam.cpus[0].vcpu.owed(), Owed::Nothing);
        assert_eq!(x0(&mut seam, 0), ALREADY_ON);
        assert_eq!(host.failed(), [(Fid::PSCI_COMPLETE.to_string(), 2)]);
    });
}

#[test]
fn a_target_that_the_host_does_not_have() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        // This RMM wants to be told which REC it is, so there is no way on.
        let call = ask(&mut seam, 0, &[CPU_ON, 1, 0x3000, 0]);
        let recs = &seam.guest.recs;
        let vcpu = &mut seam.cpus[0].vcpu;
        let refused = vcpu.complete_psci(&host.rmi, recs[0].name(), None, Verdict::Success);
        let Err(Error::Refused(Fid::PSCI_COMPLETE, code)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(code.status(), Status::ErrorInput);
        assert_eq!(*vcpu.owed(), Owed::Psci(call));
        assert_eq!(seam.try_enter(0), Err(Unready::Psci));

        // One of the newer dialect does not: the second register is the status.
        for (function, status, wake) in [
            (CPU_ON, DENIED, Wake::Nobody),
            (AFFINITY_INFO, 0, Wake::Nobody),
        ] {
            let caller = seam.guest.recs[0].name();
            let mut calls = Vec::new();
            let rmi = fake::rmm(|fid, args| {
                assert_eq!((fid, args.x(1)), (Fid::PSCI_COMPLETE, caller.raw()));
                calls.push(args.x(2));
                if [0, DENIED].contains(&args.x(2)) {
                    fake::success(&[])
                } else {
                    fake::status(Status::ErrorInput)
                }
            });
            let mut vcpu = asking(function);
            let ended = vcpu.complete_psci(&rmi, caller, None, Verdict::Success);
            assert_eq!(ended, Ok(wake));
            assert_eq!(*vcpu.owed(), Owed::Nothing);
            assert_eq!(calls.last(), Some(&status));
        }
    });
}

#[test]
fn a_target_that_is_another() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 3);
        let call = ask(&mut seam, 0, &[CPU_ON, 1, 0x3000, 0]);
        let recs = &seam.guest.recs;
        let vcpu = &mut seam.cpus[0].vcpu;
        let refused = vcpu.complete_psci(
            &host.rmi,
            recs[0].name(),
            Some(recs[2].name()),
            Verdict::Success,
        );
        assert_eq!(refused.unwrap_err().status(), Some(Status::ErrorInput));
        assert_eq!(*vcpu.owed(), Owed::Psci(call));
        assert_eq!(complete(&mut seam, 0, call), Wake::Target);
        assert_eq!(x0(&mut seam, 0), 0);
        assert_eq!(seam.look(1).pc, 0x3000);
    });
}

/// A vCPU that has exited with `function` about vCPU 5.
fn asking(function: u64) -> Vcpu {
    let mut page = fake::Page::new();
    page.write(0x800, 3);
    page.write(0xa00, function);
    page.write(0xa08, 5);
    let mut vcpu = Vcpu::new();
    let space = IpaSpace::new(39).unwrap();
    vcpu.exited(ReturnCode::new(0), &page, space).unwrap();
    vcpu
}

#[test]
fn a_vcpu_turns_itself_off() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        seam.turn_on(1, 0x3000);
        seam.smc(&[CPU_OFF]);
        assert_eq!(seam.enter(1), Exit::Psci(Psci::Off));
        // It stops now, and it is not a REC that may be ready any moment.
        assert_eq!(seam.try_enter(1), Ok(Err(Refused::TurnedOff)));
        assert_eq!(seam.try_enter(1), Ok(Err(Refused::TurnedOff)));
        let call = ask(&mut seam, 0, &[CPU_ON, 1, 0x4000, 0]);
        assert_eq!(complete(&mut seam, 0, call), Wake::Target);
        assert_eq!(seam.look(1).pc, 0x4000);
        // If it cannot be entered now, it is not because it is off.
        seam.refuse(1);
        seam.end(3);
    });
}

#[test]
fn a_vcpu_is_turned_on_before_its_end_was_noticed() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 2);
        seam.turn_on(1, 0x3000);
        seam.smc(&[CPU_OFF]);
        assert_eq!(seam.enter(1), Exit::Psci(Psci::Off));
        // KVM has not stopped it yet, so there is nobody to wake.
        let call = ask(&mut seam, 0, &[CPU_ON, 1, 0x4000, 0]);
        assert_eq!(complete(&mut seam, 0, call), Wake::Target);
        assert_eq!(x0(&mut seam, 0), 0);
        // It is entered again instead of being stopped, and runs.
        assert_eq!(seam.look(1).pc, 0x4000);
        seam.end(0);
    });
}

#[test]
fn a_vcpu_sleeps() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        seam.smc(&[CPU_SUSPEND, 1, 2, 3]);
        assert_eq!(seam.enter(0), Exit::Psci(Psci::Suspend));
        assert_eq!(seam.cpus[0].gprs[..4], [CPU_SUSPEND, 0, 0, 0]);
        // What KVM's PSCI says about it goes nowhere.
        seam.cpus[0].gprs[0] = 5;
        seam.cpus[0].advanced = true;
        let ctx = seam.look(0);
        assert_eq!((ctx.gprs[0], ctx.pc), (0, 0x1004));
        seam.end(0);
    });
}

#[test]
fn the_realm_goes_off_while_others_run() {
    alone(|| {
        for (function, exit) in [
            (SYSTEM_OFF, Psci::SystemOff),
            (SYSTEM_RESET, Psci::SystemReset),
        ] {
            let host = Host::new();
            let mut seam = Seam::new(&host, 3);
            for target in [1, 2] {
                seam.turn_on(target, 0x3000);
            }
            // One is about to read a register of a device, another waits for an answer.
            seam.then(|_| rmm::rec::Trap::Sync {
                esr: 0x24 << 26 | 1 << 25 | 1 << 24 | 7,
                far: 0,
                hpfar: 1 << 30,
            });
            assert!(matches!(seam.enter(1), Exit::Sync(_)));
            let call = ask(&mut seam, 2, &[AFFINITY_INFO, 1, 0]);

            seam.smc(&[function]);
            assert_eq!(seam.enter(0), Exit::Psci(exit));
            seam.cpus[1].advanced = true;
            assert_eq!(complete(&mut seam, 2, call), Wake::Nobody);
            for n in [0, 1, 2, 1] {
                assert_eq!(seam.try_enter(n), Ok(Err(Refused::RealmOff)));
            }
            seam.end(4);
        }
    });
}

/// What is refused for another reason than how it is put is not put in another way.
#[test]
fn a_call_that_is_refused_by_both_dialects() {
    let name = RecName::from_raw(0x9000_0000);
    for (said, calls) in [(Status::ErrorInput, 2), (Status::ErrorRec, 1)] {
        let rmi = fake::rmm(|_, _| fake::status(said));
        let error = rec::psci_complete(&rmi, name, name, Verdict::Success).unwrap_err();
        assert_eq!(error.status(), Some(said));
        let counts = rmi.conduit().counts().commands().next();
        assert_eq!(counts, Some((Fid::PSCI_COMPLETE, calls, calls)));
    }
}
