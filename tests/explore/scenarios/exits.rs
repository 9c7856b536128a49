// SPDX-License-Identifier: GPL-2.0

//! What is done about exits that nothing else in these scenarios leads to: the RMM is made to report them.

use super::*;
use crate::injection::{end, replace};
use kvm_arm_rmi::rmi::run::offset;
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use kvm_arm_rmi::sys::machine::machine;

/// The next entry returns at once, with this in X0 and in the run page: why, the syndrome, x0, the number
/// of a host call.
fn report(x0: u64, reason: u8, esr: u64, gpr: u64, imm: u64) {
    let mut once = true;
    replace(move |args, rmm| {
        if args.x(0) != u64::from(Fid::REC_ENTER.raw()) || !std::mem::take(&mut once) {
            return rmm(args);
        }
        let words = [
            (0, reason.into()),
            (0x100, esr),
            (0x200, gpr),
            (0x208, 0),
            (0x600, imm),
        ];
        for (at, word) in words {
            let page = args.x(2) + offset::EXIT_REASON as u64;
            machine().firmware().write(page + at, word);
        }
        Regs::new(x0, &[])
    });
}

const SYNC: u8 = 0;
const PSCI: u8 = 3;
const HOST_CALL: u8 = 5;
const SERROR: u8 = 6;

const IL: u64 = 1 << 25;
const WFE: u64 = 1 << 26 | 1;
const SYSREG_READ: u64 = 0x18 << 26 | 3 << 20 | 1;
const HVC: u64 = 0x16 << 26 | IL;
/// A synchronous external abort, which the realm can be told or not.
const TOLD: u64 = 0x24 << 26 | 0x10;
const NOT_TOLD: u64 = TOLD | 2 << 11;
/// One of a fetch, by a walk of the tables, which it is not told.
const FETCH_NOT_TOLD: u64 = 0x20 << 26 | 2 << 11 | 0x17;
/// SErrors that are corrected, and that harm more than the realm.
const CORRECTED: u64 = 0x2f << 26 | 6 << 10 | 0x11;
const UNCONTAINABLE: u64 = 0x2f << 26 | 0x11;

/// The realm has seen nothing of it and goes on.
#[test]
fn exits_that_ask_for_nothing() {
    for (reason, esr, gpr) in [
        // Interrupts.
        (1, 0, 0),
        (2, 0, 0),
        (SERROR, CORRECTED, 0),
        (SYNC, TOLD, 0),
        // CPU_SUSPEND, and what no PSCI has.
        (PSCI, 0, 0xc400_0001),
        (PSCI, 0, 0x8400_001f),
        // PSCI is not called by a host call.
        (HOST_CALL, 0, 0x8400_0002),
    ] {
        alone(move |world| {
            assert!(world.run(0, []).is_empty());
            report(0, reason, esr, gpr, 7);
            let mut guest = Guest::new(private(0..1));
            let result = world.vm.run(0, &mut guest);
            end();
            assert_eq!(
                (result, guest.results),
                (Ok(Exit::None), vec![true]),
                "{reason} {esr:#x}"
            );
        });
    }
}

/// KVM does what it does for any vCPU, by the syndrome that it is given.
#[test]
fn exits_that_kvm_handles() {
    for (reason, esr, exit) in [
        (SYNC, WFE, Exit::Trap(WFE | IL)),
        (SYNC, SYSREG_READ, Exit::Trap(SYSREG_READ | IL)),
        (HOST_CALL, 0, Exit::Hypercall(HVC | 7)),
    ] {
        alone(move |world| {
            assert!(world.run(0, []).is_empty());
            report(0, reason, esr, 0x1234, 7);
            let mut guest = Guest::new(private(0..1));
            assert_eq!(world.vm.run(0, &mut guest), Ok(exit));
            end();
            assert_eq!(world.run(0, private(0..1)), [true]);
        });
    }
}

/// Nobody knows how to go on: user space is told what there is to tell, the log has the reason, and the
/// realm never runs again.
#[test]
fn exits_that_are_the_end() {
    let input = u64::from(Status::ErrorInput.raw());
    for (x0, reason, esr, detail, why) in [
        (0, SERROR, UNCONTAINABLE, UNCONTAINABLE, "SError"),
        (0, SYNC, NOT_TOLD, NOT_TOLD | IL, "external abort"),
        (0, SYNC, 0x3c << 26, 0x3c << 26, "an unknown exit"),
        (0, 9, 0, 9, "unknown reason 9"),
        (input, 0, 0, input, "cannot be entered"),
    ] {
        alone(move |world| {
            assert!(world.run(0, []).is_empty());
            report(x0, reason, esr, 0, 0);
            let result = world.vm.run(0, &mut Guest::new(private(0..1)));
            end();
            assert_eq!(result, Ok(Exit::InternalError(detail)), "{why}");
            let log = machine().lines();
            let told = |line: &&String| line.contains("is dead") && line.contains(why);
            assert_eq!(log.iter().filter(told).count(), 1, "{log:?}");
            let again = world.vm.run(0, &mut Guest::new(private(0..1)));
            assert_eq!(again, Err((EIO, Exit::None)), "{why}");
        });
    }
}

/// The host's RAS is asked first, once for each external abort, whether the realm has been told or not. What
/// it has dealt with is no end, and nobody else hears of it.
#[test]
fn external_aborts_are_the_hosts_first() {
    for (esr, claimed, goes_on) in [
        (TOLD, false, true),
        (TOLD, true, true),
        (NOT_TOLD, true, true),
        (FETCH_NOT_TOLD, true, true),
        (NOT_TOLD, false, false),
        (FETCH_NOT_TOLD, false, false),
    ] {
        alone(move |world| {
            assert!(world.run(0, []).is_empty());
            let log = machine().lines();
            if claimed {
                machine().tell_of_sea();
            }
            report(0, SYNC, esr, 0, 0);
            let mut guest = Guest::new(private(0..1));
            let result = world.vm.run(0, &mut guest);
            end();
            let what = format!("{esr:#x} claimed: {claimed}");
            // Not for the faults of the realm that runs on either.
            assert_eq!(machine().asked_for_sea(), 1, "{what}");
            match goes_on {
                true => {
                    assert_eq!(
                        (result, guest.results),
                        (Ok(Exit::None), vec![true]),
                        "{what}"
                    );
                    assert_eq!(machine().lines(), log, "{what}");
                }
                false => assert_eq!(result, Ok(Exit::InternalError(esr | IL)), "{what}"),
            }
        });
    }
}
