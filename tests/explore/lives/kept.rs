// SPDX-License-Identifier: GPL-2.0

//! Memory that the RMM has borrowed for an object and does not give back when the object ends, or for
//! which it gives back other memory: what it keeps is counted as leaked, and nothing is freed that was
//! not lent for that object.

use super::*;
use crate::rmm_machine::{pa, Pas, BANK2, UART};
use ::rmm::fault::{Effect, Fault};
use kvm_arm_rmi::rmi::PhysAddr;
use std::cell::RefCell;
use std::rc::Rc;

const RECLAIM: Fid = Fid::OP_MEM_RECLAIM;
const DIALECTS: [Dialect; 2] = [Dialect::Main, Dialect::Bet2];

/// How many granules the RMM has for ever, apart from its own.
fn lost() -> u64 {
    let machine = rmm_machine();
    let granules = machine.rmm.granules();
    let lost = |pa: &u64| granules.state(PhysAddr::new(*pa)) == Some(State::Reserved);
    let realm = machine.fake().in_realm_space();
    realm.into_iter().filter(lost).count() as u64
}

/// Lives a life in which, when something comes back for the `place`-th time, the RMM keeps so many
/// granules of it and names others, which `instead` picks of all donations: 0 for none. Returns the base
/// of each donation.
fn live(
    host: &Host,
    place: u64,
    granules: u64,
    instead: impl Fn(&[u64]) -> u64 + 'static,
) -> Vec<u64> {
    let donations = Rc::new(RefCell::new(Vec::new()));
    let seen = donations.clone();
    let mut reclaims = 0;
    replace(move |args: &Regs, rmm| {
        let is = |fid: Fid| args.x(0) == u64::from(fid.raw());
        if is(Fid::OP_MEM_DONATE) {
            let [word, ..] = rmm_machine().fake().data(args.x(2));
            seen.borrow_mut().push(word & !(GRANULE_SIZE - 1));
        }
        if is(RECLAIM) {
            if reclaims == place {
                let instead = instead(&seen.borrow());
                assert!(rmm_machine().rmm.faults().add(Fault {
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
    assert_eq!(host.life(), Ok(()));
    donations.take()
}

/// So many granules of each object stay with the RMM.
#[test]
fn what_is_kept_is_leaked() {
    for (dialect, objects) in [(Dialect::Main, 2), (Dialect::Bet2, 3)] {
        assert_eq!(good_life(dialect).calls(RECLAIM), objects);
        for place in 0..objects {
            for granules in [1, 4, 9] {
                let (life, lost) = on_host(dialect, move |host| {
                    live(host, place, granules, |_| 0);
                    (host.outcome(Ok(())), lost())
                });
                let what = format!("{dialect:?} {place}: {granules}");
                life.assert_accounted(&what);
                assert_eq!(life.counts, (granules, granules), "{what}");
                assert_eq!(lost, granules, "{what}");
            }
        }
    }
}

/// Other granules are named in their place: the host's own, in use or not; the RMM's; a realm's that is
/// there; ones that are nobody's.
#[test]
fn what_was_not_lent_is_not_freed() {
    for dialect in DIALECTS {
        for place in 0..good_life(dialect).calls(RECLAIM) {
            for granules in [1, 3] {
                // The last one is a realm's: a bystander's.
                for foreign in [pa(0), pa(8), pa(1000), pa(1535), BANK2, UART, 8, 1 << 51, 0] {
                    let what = format!("{dialect:?} {place}: {granules} at {foreign:#x}");
                    let told = what.clone();
                    let life = on_host(dialect, move |host| {
                        let bystander = host.bystander();
                        let (before, _) = host.counts();
                        let realms = rmm_machine().fake().in_realm_space()[0];
                        let foreign = if foreign == 0 { realms } else { foreign };
                        live(host, place, granules, move |_| foreign);
                        assert_eq!(host.counts(), (before + granules, granules), "{told}");
                        assert_eq!(lost(), granules, "{told}");
                        bystander.end();
                        host.outcome(Ok(()))
                    });
                    life.assert_accounted(&what);
                    assert_eq!(life.counts, (granules, granules), "{what}");
                    assert_eq!(life.realm, granules, "{what}");
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
            let what = format!("{dialect:?} {place}");
            let told = what.clone();
            let life = on_host(dialect, move |host| {
                let pick = move |donations: &[u64]| match of_last {
                    // The second REC's, which is there when the first ends, and the first's that is gone.
                    true => donations[donations.len() - 1],
                    false => donations[donations.len() - 2],
                };
                let donations = live(host, place, 2, pick);
                assert_eq!(lost(), 2, "{told}");
                // What is kept is the RMM's, and the host has not touched it.
                let kept = donations[donations.len() - 2 + place as usize];
                for n in 0..2 {
                    let pas = rmm_machine().fake().pas(kept + n * GRANULE_SIZE);
                    assert_eq!(pas, Pas::Realm, "{told}");
                }
                host.outcome(Ok(()))
            });
            life.assert_accounted(&what);
            assert_eq!(life.counts, (2, 2), "{what}");
        }
    }
}
