// SPDX-License-Identifier: GPL-2.0

//! An RMM that passes over what is delegated already. Its SUCCESS does not say that a granule was the
//! caller's: that the host delegates only what it has just taken, and gives back only what it has
//! delegated, has to be so without the RMM. (The model's machine checks the first part of that, always.)

use super::*;
use crate::rmm_machine::Pas;
use ::rmm::fault::{Effect, Fault};
use kvm_arm_rmi::sys::memory;

const DELEGATE: Fid = Fid::GRANULE_RANGE_DELEGATE;

/// The RMM is such a one from now on, and every other one of the granules that are allocated next is
/// somebody else's. Returns those.
fn skip(host: &mut Host) -> Vec<u64> {
    const OTHERS: usize = 100;
    let pages: Vec<_> = (0..2 * OTHERS).map(|_| memory::alloc(0).unwrap()).collect();
    let mut others = Vec::new();
    for (n, page) in pages.into_iter().enumerate() {
        if n % 2 == 0 {
            memory::put(page);
            continue;
        }
        let pa = page.into_range().base().raw();
        let call = rmm_machine().call(DELEGATE, &[pa, pa + GRANULE_SIZE]);
        assert_eq!(call.x(0), 0);
        others.push(pa);
    }
    assert!(rmm_machine().rmm.faults().add(Fault {
        fid: DELEGATE,
        skip: 0,
        times: u64::MAX,
        effect: Effect::Skip,
    }));
    host.leave_out_what_is_there();
    others
}

/// Nothing was passed over, and the others have what is theirs.
#[track_caller]
fn assert_nothing_skipped(others: &[u64], what: &str) {
    let machine = rmm_machine();
    assert_eq!(machine.rmm.faults().skipped(), 0, "{what}");
    for pa in others {
        assert_eq!(machine.fake().pas(*pa), Pas::Realm, "{what}: {pa:#x}");
    }
}

/// The host has nothing that it does not know of.
#[track_caller]
fn assert_known(life: &Outcome, what: &str) {
    life.assert_accounted(what);
    assert_eq!(life.realm, life.counts.1, "{what}: the realm world has");
}

/// By as many granules at a time as the RMM likes.
#[test]
fn nothing_is_delegated_twice() {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        for every in [0, 2, 3] {
            let what = format!("{dialect:?}, every {every}");
            let told = what.clone();
            let life = on_host(dialect, move |host| {
                let others = skip(host);
                rmm_machine().fake().interrupt_after(every);
                let result = host.life();
                assert_nothing_skipped(&others, &told);
                host.outcome(result)
            });
            assert_eq!(life.result, Ok(()), "{what}");
            life.assert_idle(&what);
        }
    }
}

/// A range is delegated in part, and then no more: what was done is undone, and nothing else.
#[test]
fn what_is_rolled_back_is_the_callers() {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        for place in places(good_life(dialect).calls(DELEGATE)) {
            for granules in [0, 1, 3] {
                let what = format!("{dialect:?}: {granules} granules of call {place}");
                let told = what.clone();
                let life = on_host(dialect, move |host| {
                    let others = skip(host);
                    let mut refuse = granules == 0;
                    let wrong = move |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| {
                        if refuse {
                            return Regs::new(1, &[]);
                        }
                        refuse = true;
                        let mut args = *args;
                        args.0[2] = args.x(2).min(args.x(1) + granules * GRANULE_SIZE);
                        rmm(&args)
                    };
                    // Once in part, and refused when the rest is asked for: that is the next call.
                    replace_some(DELEGATE, (place, 2), wrong);
                    let result = host.life();
                    assert_nothing_skipped(&others, &told);
                    host.outcome(result)
                });
                assert_known(&life, &what);
            }
        }
    }
}
