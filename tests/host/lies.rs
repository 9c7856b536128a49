// SPDX-License-Identifier: GPL-2.0

//! Whole lives of realms on an RMM that does what it is told and says something else.

use crate::faults::{assert_accounted, calls, counts, life, name, places, with_fault};
use crate::machine::Host;
use crate::vmm::Why;
use kvm_arm_rmi::rmi::{Error, Fid, Regs, Status, GRANULE_SIZE};

/// The commands that answer with how far they came, in X1, for a range that ends with a register.
const RANGES: [(Fid, usize); 8] = [
    (Fid::GRANULE_RANGE_DELEGATE, 2),
    (Fid::GRANULE_RANGE_UNDELEGATE, 2),
    (Fid::RTT_INIT_RIPAS, 3),
    (Fid::RTT_SET_RIPAS, 4),
    (Fid::RTT_DATA_MAP, 3),
    (Fid::RTT_DATA_UNMAP, 3),
    (Fid::RTT_UNPROT_MAP, 3),
    (Fid::RTT_UNPROT_UNMAP, 3),
];

#[test]
fn progress_that_cannot_be() {
    let calls = calls();
    for (fid, register) in RANGES {
        for place in places(calls[&fid.raw()]) {
            for lie in 0..6 {
                let wrong = move |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| {
                    let (base, top) = (args.x(register - 1), args.x(register));
                    let mut regs = rmm(args);
                    // Where the base is 0, what is below it is as far above everything.
                    regs.0[1] = [
                        base.wrapping_sub(GRANULE_SIZE),
                        0u64.wrapping_sub(2 * GRANULE_SIZE),
                        base + 8,
                        top + GRANULE_SIZE,
                        top | 1 << 63,
                        u64::MAX,
                    ][lie];
                    regs
                };
                let (host, result) = with_fault(fid.raw(), place, 1, wrong);
                let what = format!("{} {place}: top {lie}", fid.name());
                assert_accounted(&host, &what);
                // At the end of a life there is nobody to tell.
                if place == 0 {
                    let ends = fid == Fid::GRANULE_RANGE_UNDELEGATE;
                    assert!(result.is_err() || ends, "{what}");
                }
            }
        }
    }
}

/// The RMM does nothing, and says so: an interrupt is pending. It may, as often as interrupts come, and
/// no harm is done. `before` it may have done parts of the range.
#[test]
fn no_progress_for_a_while() {
    let calls = calls();
    for (fid, register) in RANGES {
        for place in places(calls[&fid.raw()]) {
            for (before, times) in [(0, 1), (0, 50), (1, 1), (3, 999)] {
                let mut number = 0;
                let wrong = move |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| {
                    let (base, top) = (args.x(register - 1), args.x(register));
                    number += 1;
                    match number <= before {
                        true if fid != Fid::RTT_UNPROT_UNMAP && fid != Fid::RTT_DATA_UNMAP => {
                            part(fid, register, top.min(base + GRANULE_SIZE), args, rmm)
                        }
                        true => rmm(args),
                        false => Regs::new(0, &[base]),
                    }
                };
                let (host, result) = with_fault(fid.raw(), place, before + times, wrong);
                let what = format!("{} {place}: idle {times} times", fid.name());
                assert_eq!(result, Ok(()), "{what}");
                // A part may end inside of an entry, for which a table is made.
                assert!(before != 0 || host.failed().is_empty(), "{what}");
                host.assert_idle();
            }
        }
    }
}

/// The RMM never gets anywhere again. That ends, nothing is lost track of, and the host knows why.
#[test]
fn no_progress_for_ever() {
    let calls = calls();
    for (fid, register) in RANGES {
        for place in places(calls[&fid.raw()]) {
            let (host, result) = with_fault(fid.raw(), place, u64::MAX, move |args, _| {
                Regs::new(0, &[args.x(register - 1)])
            });
            let what = format!("{} {place}: idle for ever", fid.name());
            assert_accounted(&host, &what);
            if place == 0 && fid != Fid::GRANULE_RANGE_UNDELEGATE {
                assert_eq!(result, Err(Why::Rmm(Error::Idle(fid))), "{what}");
            }
        }
    }
}

/// A call for no more than up to `top`, the range of which ends with a register.
fn part(fid: Fid, register: usize, top: u64, args: &Regs, rmm: &dyn Fn(&Regs) -> Regs) -> Regs {
    let mut args = *args;
    args.0[register] = top;
    if fid == Fid::RTT_DATA_MAP && args.x(4) & 3 == 2 {
        // As many descriptors as there are granules in the range.
        args.0[4] = 2 | 1 << 2;
    }
    rmm(&args)
}

/// The RMM does a part at a time, which it may.
#[test]
fn progress_by_granules() {
    for (fid, register) in RANGES {
        let wrong = move |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| {
            let top = args.x(register).min(args.x(register - 1) + GRANULE_SIZE);
            part(fid, register, top, args, rmm)
        };
        // All that is protected, granule by granule, takes a while.
        let times = 40;
        let (host, result) = with_fault(fid.raw(), 0, times, wrong);
        let what = fid.name();
        assert_accounted(&host, what);
        let may_fail = matches!(fid, Fid::RTT_UNPROT_UNMAP | Fid::RTT_DATA_UNMAP);
        assert!(result.is_ok() || may_fail, "{what}: {result:?}");
    }
}

/// What the RMM says of memory that it gives back: tables, and data.
#[test]
fn memory_that_is_somebody_elses() {
    let calls = calls();
    let foreign = [
        0,
        8,
        0x4000_0000,
        0x4020_0000,
        0x8000_0000,
        1 << 51,
        u64::MAX,
    ];
    for place in places(calls[&Fid::RTT_DESTROY.raw()]) {
        for address in foreign {
            let (host, _) = with_fault(Fid::RTT_DESTROY.raw(), place, 1, move |args, rmm| {
                let mut regs = rmm(args);
                regs.0[1] = address;
                regs
            });
            assert_accounted(&host, &format!("table {place}: {address:#x}"));
        }
    }
    for place in places(calls[&Fid::RTT_DATA_UNMAP.raw()]) {
        for entries in [0, 1, 513, u64::MAX] {
            let fid = Fid::RTT_DATA_UNMAP.raw();
            let (host, _) = with_fault(fid, place, 1, move |args, rmm| {
                let mut regs = rmm(args);
                regs.0[3] = entries;
                regs
            });
            assert_accounted(&host, &format!("data {place}: {entries} entries"));
        }
    }
}

/// A list of data whose first entry is said twice, is the host's, or is nothing.
#[test]
fn lists_that_are_wrong() {
    let calls = calls();
    for place in places(calls[&Fid::RTT_DATA_UNMAP.raw()]) {
        for wrong in [0, 1, 2] {
            let fid = Fid::RTT_DATA_UNMAP.raw();
            let host = Host::new();
            let machine = host.machine.clone();
            let mut number = 0;
            host.rmi.conduit().replace(move |args, rmm| {
                let regs = rmm(args);
                if args.x(0) == u64::from(fid) {
                    number += 1;
                    if number == place + 1 && regs.x(3) != 0 {
                        let mut list = machine.fake().data(args.x(5));
                        list[0] = match wrong {
                            0 => list[regs.x(3) as usize - 1],
                            1 => 0x4020_0000 | 1 << 2,
                            _ => 0,
                        };
                        machine.fake().host_write(args.x(5), &list);
                    }
                }
                regs
            });
            let _ = life(&host);
            assert_accounted(&host, &format!("list {place}: {wrong}"));
        }
    }
}

/// An RMM that does what it is told and denies it. Whether a refused command has changed anything
/// cannot be known; what the RMM has is in the count all the same, and nothing of it is reused.
/// Delegation is not among these: that a refusal leaves a granule the host's is what a host relies
/// on, or it could never free one.
#[test]
fn an_rmm_that_denies_what_it_has_done() {
    for (fid, calls) in calls() {
        if fid == Fid::GRANULE_RANGE_DELEGATE.raw() {
            continue;
        }
        for place in places(calls) {
            for status in [Status::ErrorInput, Status::ErrorRtt, Status::ErrorRealm] {
                let code = status.raw().into();
                let (host, _) = with_fault(fid, place, 1, move |args, rmm| {
                    let mut regs = rmm(args);
                    regs.0[0] = code;
                    regs
                });
                let what = format!("{} {place}: {status:?}", name(fid));
                let (delegated, leaked) = counts(&host);
                assert_eq!(host.allocated() as u64, delegated, "{what}");
                assert!(
                    delegated <= leaked,
                    "{what}: {leaked} of {delegated} leaked"
                );
            }
        }
    }
}
