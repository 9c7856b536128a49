// SPDX-License-Identifier: GPL-2.0

//! Memory that the RMM has borrowed for an object and does not give back when the object ends, or for
//! which it gives back other memory: what it keeps is counted as leaked, and nothing is freed that was
//! not lent for that object.

use crate::faults::{assert_accounted, calls_of, counts, life};
use crate::life::Guest;
use crate::machine::Host;
use crate::rmm_machine::{pa, Pas, BANK2, UART};
use ::rmm::fault::{Effect, Fault};
use ::rmm::granule::State;
use ::rmm::rmi::Dialect;
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Regs, GRANULE_SIZE};
use std::cell::RefCell;
use std::rc::Rc;

const RECLAIM: Fid = Fid::OP_MEM_RECLAIM;
const DIALECTS: [Dialect; 2] = [Dialect::Main, Dialect::Bet2];

/// When something comes back, and not before that has been so `skip` times, the RMM keeps so much of it.
fn keep(host: &Host, skip: u64, granules: u64, instead: u64) {
    assert!(host.machine.rmm.faults().add(Fault {
        fid: RECLAIM,
        skip,
        times: 1,
        effect: Effect::Keep { granules, instead },
    }));
}

/// How many granules the RMM has for ever, apart from its own.
fn lost(host: &Host) -> u64 {
    let granules = host.machine.rmm.granules();
    let lost = |pa: &u64| granules.state(PhysAddr::new(*pa)) == Some(State::Reserved);
    let realm = host.machine.fake().in_realm_space();
    realm.into_iter().filter(lost).count() as u64
}

/// A list of donations: the base of each.
type Donations = Rc<RefCell<Vec<u64>>>;

/// Lives a life in which, when something comes back for the `place`-th time, the RMM keeps so many
/// granules of it and names others, which `instead` picks.
fn live(
    host: &Host,
    place: u64,
    granules: u64,
    instead: impl Fn(&[u64]) -> u64 + 'static,
) -> Donations {
    let (machine, donations) = (host.machine.clone(), Donations::default());
    let seen = donations.clone();
    let mut reclaims = 0;
    host.rmi.conduit().replace(move |args: &Regs, rmm| {
        let is = |fid: Fid| args.x(0) == u64::from(fid.raw());
        if is(Fid::OP_MEM_DONATE) {
            let [word, ..] = machine.fake().data(args.x(2));
            seen.borrow_mut().push(word & !(GRANULE_SIZE - 1));
        }
        if is(RECLAIM) {
            if reclaims == place {
                let instead = instead(&seen.borrow());
                assert!(machine.rmm.faults().add(Fault {
                    fid: RECLAIM,
                    skip: 0,
                    times: 1,
                    effect: Effect::Keep { granules, instead },
                }));
            }
            reclaims += 1;
        }
        rmm(args)
    });
    // At the end of a life there is nobody to tell.
    assert_eq!(life(host), Ok(()));
    donations
}

/// How often something comes back in a life.
fn reclaims(dialect: Dialect) -> u64 {
    let host = Host::speaking(dialect);
    assert_eq!(life(&host), Ok(()));
    calls_of(&host)[&RECLAIM.raw()]
}

/// So many granules of each object stay with the RMM.
#[test]
fn what_is_kept_is_leaked() {
    for (dialect, objects) in [(Dialect::Main, 2), (Dialect::Bet2, 3)] {
        assert_eq!(reclaims(dialect), objects);
        for place in 0..objects {
            for granules in [1, 4, 9] {
                let host = Host::speaking(dialect);
                let mut guest = Guest::new(&host);
                guest.add_rec();
                guest.add_rec();
                keep(&host, place, granules, 0);
                // The host does not close the realm's account by hand: each object's is closed as it ends.
                guest.tear_down();
                let what = format!("{dialect:?} {place}: {granules}");
                assert_accounted(&host, &what);
                assert_eq!(counts(&host), (granules, granules), "{what}");
                assert_eq!(lost(&host), granules, "{what}");
            }
        }
    }
}

/// Other granules are named in their place: the host's own, in use or not; the RMM's; a realm's that is
/// there; ones that are nobody's.
#[test]
fn what_was_not_lent_is_not_freed() {
    for dialect in DIALECTS {
        for place in 0..reclaims(dialect) {
            for granules in [1, 3] {
                for foreign in [pa(0), pa(8), pa(1000), pa(1535), BANK2, UART, 8, 1 << 51] {
                    let host = Host::speaking(dialect);
                    let bystander = Guest::new(&host);
                    let (before, _) = counts(&host);
                    live(&host, place, granules, move |_| foreign);
                    let what = format!("{dialect:?} {place}: {granules} at {foreign:#x}");
                    let (delegated, leaked) = counts(&host);
                    // The life's account is closed with what the bystander has in it.
                    assert_eq!(
                        (delegated, leaked),
                        (before + granules, delegated),
                        "{what}"
                    );
                    assert_eq!(lost(&host), granules, "{what}");
                    bystander.tear_down();
                    assert_eq!(host.machine.fake().realm_granules() as u64, granules);
                    assert_eq!(host.allocated() as u64, granules, "{what}");
                }
            }
        }
    }
}

/// Two RECs get each other's granules back, or one of them its realm's: the host does not free what it has
/// lent for another object, which still has it as far as anybody can tell.
#[test]
fn what_was_lent_for_another_object_is_not_freed() {
    for dialect in DIALECTS {
        for (place, of_last) in [(0, true), (1, false)] {
            let host = Host::speaking(dialect);
            let pick = move |donations: &[u64]| match of_last {
                // The second REC's, which is there when the first ends, and the first's that is gone.
                true => donations[donations.len() - 1],
                false => donations[donations.len() - 2],
            };
            let donations = live(&host, place, 2, pick);
            let what = format!("{dialect:?} {place}");
            assert_accounted(&host, &what);
            assert_eq!((counts(&host), lost(&host)), ((2, 2), 2), "{what}");
            // What is kept is the RMM's, and the host has not touched it.
            let donations = donations.borrow();
            let kept = donations[donations.len() - 2 + place as usize];
            for n in 0..2 {
                let pas = host.machine.fake().pas(kept + n * GRANULE_SIZE);
                assert_eq!(pas, Pas::Realm, "{what}");
            }
        }
    }
}

/// An object that does not come into being: what was donated for it may be kept as well.
#[test]
fn what_is_kept_of_an_object_that_is_not_made() {
    let host = Host::speaking(Dialect::Bet2);
    let mut guest = Guest::new(&host);
    guest.try_rec(7).unwrap();
    let (before, _) = counts(&host);
    keep(&host, 0, 5, pa(1000));
    // There is one with this MPIDR.
    assert!(guest.try_rec(7).is_err());
    assert_eq!(counts(&host), (before + 5, 5));
    assert_eq!(lost(&host), 5);
    guest.tear_down();
    assert_eq!(counts(&host), (5, 5));
    assert_eq!(host.allocated(), 5);
}
