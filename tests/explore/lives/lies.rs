// SPDX-License-Identifier: GPL-2.0

//! An RMM that does what it is told and says something else.

use super::*;

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

fn with_lie(
    fid: Fid,
    places: (u64, u64),
    wrong: impl FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs + Send + 'static,
) -> Outcome {
    with_fault(Dialect::Main, fid, places, wrong)
}

#[test]
fn progress_that_cannot_be() {
    let good = good_life(Dialect::Main);
    for (fid, register) in RANGES {
        for place in places(good.calls(fid)) {
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
                let life = with_lie(fid, (place, 1), wrong);
                let what = format!("{fid} {place}: top {lie}");
                life.assert_accounted(&what);
                // At the end of a life there is nobody to tell.
                if place == 0 {
                    let ends = fid == Fid::GRANULE_RANGE_UNDELEGATE;
                    assert!(life.result.is_err() || ends, "{what}");
                }
            }
        }
    }
}

/// The RMM does nothing, and says so: an interrupt is pending. It may, as often as interrupts come, and
/// no harm is done. `before` it may have done parts of the range.
#[test]
fn no_progress_for_a_while() {
    let good = good_life(Dialect::Main);
    for (fid, register) in RANGES {
        for place in places(good.calls(fid)) {
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
                let life = with_lie(fid, (place, before + times), wrong);
                let what = format!("{fid} {place}: idle {times} times");
                assert_eq!(life.result, Ok(()), "{what}");
                // A part may end inside of an entry, for which a table is made.
                assert!(before != 0 || life.failed().is_empty(), "{what}");
                life.assert_idle(&what);
            }
        }
    }
}

/// The RMM never gets anywhere again. That ends, and nothing is lost track of.
#[test]
fn no_progress_for_ever() {
    let good = good_life(Dialect::Main);
    for (fid, register) in RANGES {
        for place in places(good.calls(fid)) {
            let life = with_lie(fid, (place, u64::MAX), move |args, _| {
                Regs::new(0, &[args.x(register - 1)])
            });
            let what = format!("{fid} {place}: idle for ever");
            life.assert_accounted(&what);
            if place == 0 && fid != Fid::GRANULE_RANGE_UNDELEGATE {
                let why = match fid {
                    // A REC waits for it.
                    Fid::RTT_SET_RIPAS | Fid::RTT_DATA_MAP => Why::InternalError,
                    _ => Why::Errno(EIO),
                };
                assert_eq!(life.result, Err(why), "{what}");
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
        let life = with_lie(fid, (0, times), wrong);
        life.assert_accounted(fid.name());
        let may_fail = matches!(fid, Fid::RTT_UNPROT_UNMAP | Fid::RTT_DATA_UNMAP);
        assert!(life.result.is_ok() || may_fail, "{fid}: {:?}", life.result);
    }
}

/// What the RMM says of memory that it gives back: tables, and data.
#[test]
fn memory_that_is_somebody_elses() {
    let good = good_life(Dialect::Main);
    let foreign = [
        0,
        8,
        0x4000_0000,
        0x4020_0000,
        0x8000_0000,
        1 << 51,
        u64::MAX,
    ];
    for fid in [Fid::RTT_DESTROY, Fid::RTT_FOLD] {
        for place in places(good.calls(fid)) {
            for address in foreign {
                let life = with_lie(fid, (place, 1), move |args, rmm| {
                    let mut regs = rmm(args);
                    regs.0[1] = address;
                    regs
                });
                life.assert_accounted(&format!("{fid} {place}: {address:#x}"));
            }
        }
    }
    for place in places(good.calls(Fid::RTT_DATA_UNMAP)) {
        for entries in [0, 1, 513, u64::MAX] {
            let life = with_lie(Fid::RTT_DATA_UNMAP, (place, 1), move |args, rmm| {
                let mut regs = rmm(args);
                regs.0[3] = entries;
                regs
            });
            life.assert_accounted(&format!("data {place}: {entries} entries"));
        }
    }
}

/// A list of data whose first entry is said twice, is the host's, or is nothing.
#[test]
fn lists_that_are_wrong() {
    let good = good_life(Dialect::Main);
    for place in places(good.calls(Fid::RTT_DATA_UNMAP)) {
        for wrong in [0, 1, 2] {
            let life = with_lie(Fid::RTT_DATA_UNMAP, (place, 1), move |args, rmm| {
                let regs = rmm(args);
                if regs.x(3) != 0 {
                    let machine = rmm_machine();
                    let mut list = machine.fake().data(args.x(5));
                    list[0] = match wrong {
                        0 => list[regs.x(3) as usize - 1],
                        1 => 0x4020_0000 | 1 << 2,
                        _ => 0,
                    };
                    machine.fake().host_write(args.x(5), &list);
                }
                regs
            });
            life.assert_accounted(&format!("list {place}: {wrong}"));
        }
    }
}

/// An RMM that does what it is told and denies it. Whether a refused command has changed anything
/// cannot be known; what the RMM has is in the count all the same, and nothing of it is reused.
/// Delegation is not among these: that a refusal leaves a granule the host's is what a host relies
/// on, or it could never free one.
#[test]
fn an_rmm_that_denies_what_it_has_done() {
    for (fid, (calls, _)) in good_life(Dialect::Main).calls {
        let fid = Fid::from_raw(fid);
        if fid == Fid::GRANULE_RANGE_DELEGATE {
            continue;
        }
        for place in places(calls) {
            for status in [Status::ErrorInput, Status::ErrorRtt, Status::ErrorRealm] {
                let life = with_lie(fid, (place, 1), move |args, rmm| {
                    let mut regs = rmm(args);
                    regs.0[0] = status.raw().into();
                    regs
                });
                let what = format!("{fid} {place}: {status:?}");
                let (delegated, leaked) = life.counts;
                life.assert_pages(delegated, &what);
                assert!(
                    delegated <= leaked,
                    "{what}: {leaked} of {delegated} leaked"
                );
            }
        }
    }
}
