// SPDX-License-Identifier: GPL-2.0

//! An RMM that passes over what is delegated already. Its SUCCESS does not say that a granule was the
//! caller's: that the host delegates only what it has just taken, and gives back only what it has
//! delegated, has to be so without the RMM. (Each test on this machine checks the first part of that.)

use crate::faults::{counts, life, life_with_fault, places};
use crate::machine::Host;
use crate::rmm_machine::Pas;
use ::rmm::fault::{Effect, Fault};
use ::rmm::rmi::Dialect;
use kvm_arm_rmi::rmi::{Fid, Pages, Regs, GRANULE_SIZE};

const DELEGATE: Fid = Fid::GRANULE_RANGE_DELEGATE;

/// A host on such an RMM, and somebody else's granules: every other one of those that are allocated next.
fn host(dialect: Dialect) -> (Host, Vec<u64>) {
    const OTHERS: usize = 100;
    let host = Host::speaking(dialect);
    let pages: Vec<_> = (0..2 * OTHERS).map(|_| host.alloc(0).unwrap()).collect();
    let mut others = Vec::new();
    for (n, page) in pages.into_iter().enumerate() {
        if n % 2 == 0 {
            host.free(page);
            continue;
        }
        let pa = page.into_range().base().raw();
        let call = host.machine.call(DELEGATE, &[pa, pa + GRANULE_SIZE]);
        assert_eq!(call.x(0), 0);
        others.push(pa);
    }
    assert!(host.machine.rmm.faults().add(Fault {
        fid: DELEGATE,
        skip: 0,
        times: u64::MAX,
        effect: Effect::Skip,
    }));
    (host, others)
}

/// Nothing was passed over. The others have what is theirs, and the host nothing that it does not know of.
#[track_caller]
fn assert_nothing_skipped(host: &Host, others: &[u64], what: &str) {
    assert_eq!(host.machine.rmm.faults().skipped(), 0, "{what}");
    for pa in others {
        assert_eq!(host.machine.fake().pas(*pa), Pas::Realm, "{what}: {pa:#x}");
    }
    let (delegated, leaked) = counts(host);
    assert_eq!(delegated, leaked, "{what}: delegated and leaked");
    assert_eq!(host.allocated(), others.len() + leaked as usize, "{what}");
    let realm = host.machine.fake().realm_granules();
    assert_eq!(realm, others.len() + leaked as usize, "{what}");
}

/// By as many granules at a time as the RMM likes.
#[test]
fn nothing_is_delegated_twice() {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        for every in [0, 2, 3] {
            let (host, others) = host(dialect);
            host.machine.fake().interrupt_after(every);
            assert_eq!(life(&host), Ok(()), "{dialect:?}, every {every}");
            assert_nothing_skipped(&host, &others, &format!("{dialect:?}, every {every}"));
            assert_eq!(counts(&host), (0, 0));
        }
    }
}

/// A range is delegated in part, and then no more: what was done is undone, and nothing else.
#[test]
fn what_is_rolled_back_is_the_callers() {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        let calls = {
            let host = Host::speaking(dialect);
            assert_eq!(life(&host), Ok(()));
            crate::life::calls(&host, DELEGATE)
        };
        for place in places(calls) {
            for granules in [0, 1, 3] {
                let (host, others) = host(dialect);
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
                let _ = life_with_fault(&host, DELEGATE.raw(), place, 2, wrong);
                let what = format!("{dialect:?}: {granules} granules of call {place}");
                assert_nothing_skipped(&host, &others, &what);
            }
        }
    }
}
