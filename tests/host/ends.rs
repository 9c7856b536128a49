// SPDX-License-Identifier: GPL-2.0

//! What is left of a realm, or of a REC, when the RMM has been told to destroy it: for which it has
//! borrowed memory.

use crate::fake::{incomplete, rmm, status, success, Fake, Page};
use crate::lending::{a_realm, delegated, donate, make_realm, List, REALM, REC};
use crate::world::Shared;
use kvm_arm_rmi::realm::{Realm, State};
use kvm_arm_rmi::rmi::cmd::{data, realm, rec, rtt};
use kvm_arm_rmi::rmi::{
    Delegated, Error, Fid, GranuleRange, Pages, PhysAddr, Regs, Rmi, RttLevel, Status,
};
use std::cell::RefCell;
use std::rc::Rc;

/// What the RMM answers to the command.
type Answers = Rc<RefCell<Vec<Regs>>>;

type Host = Rmi<Fake<Box<dyn FnMut(Fid, &Regs) -> Regs>>>;

/// Granules that the RMM borrows for a realm and for a REC.
const LENT: u64 = 16;

/// An RMM that borrows memory for everything, and keeps it.
fn host(world: &Shared, answers: &Answers) -> Host {
    let (gpt, answers) = (world.clone(), answers.clone());
    rmm(Box::new(move |fid, args| match fid {
        Fid::GRANULE_RANGE_DELEGATE | Fid::GRANULE_RANGE_UNDELEGATE => gpt.move_granules(fid, args),
        Fid::REALM_CREATE | Fid::REC_CREATE => donate(0, LENT, false),
        Fid::OP_MEM_DONATE => incomplete(0, false, LENT),
        Fid::OP_CONTINUE | Fid::REALM_TERMINATE => success(&[]),
        Fid::REALM_DESTROY | Fid::REC_DESTROY => answers.borrow_mut().remove(0),
        other => panic!("{other}"),
    }))
}

/// Destroys what `make` makes of so many granules, by `destroy`: once for each of the answers. What is
/// given back is freed. Returns what is said, whether the object is still there, how many granules were
/// leaked by then.
fn ends<T>(
    own: u64,
    make: impl Fn(&Host, &Shared) -> T,
    destroy: impl Fn(&Host, &mut Option<T>, &Shared) -> Result<Vec<GranuleRange<Delegated>>, Error>,
) {
    let refused = status(Status::ErrorRealm);
    let unclear = Regs::new(0x30d, &[]);
    for (said, expected) in [
        // It has gone, and what was lent with it.
        (vec![success(&[])], vec![(true, false, LENT)]),
        // As if nothing had been said, as often as one likes.
        (
            vec![refused, refused, success(&[])],
            vec![(false, true, 0), (false, true, 0), (true, false, LENT)],
        ),
        // Nobody knows whether it is there: there is nothing to destroy again.
        (
            vec![unclear],
            vec![(false, false, own + LENT), (true, false, own + LENT)],
        ),
    ] {
        let world = Shared::new(1000);
        let answers = Answers::default();
        let rmi = host(&world, &answers);
        let mut slot = Some(make(&rmi, &world));
        answers.replace(said.clone());
        for expected in expected {
            let result = destroy(&rmi, &mut slot, &world);
            let leaked = rmi.conduit().counts().leaked();
            assert_eq!(
                (result.is_ok(), slot.is_some(), leaked),
                expected,
                "{said:?}"
            );
            for granules in result.into_iter().flatten() {
                world.free(granules.undelegate(&rmi).done.unwrap());
            }
        }
        assert!(answers.borrow().is_empty());
        let held = rmi.conduit().counts().delegated();
        assert_eq!(held as usize, world.delegated());
    }
}

/// What cannot be destroyed is given up, with what was lent for it.
#[test]
fn what_is_given_up_is_leaked() {
    let world = Shared::new(1000);
    let rmi = host(&world, &Answers::default());
    let lost = || rmi.conduit().counts().leaked();
    let rd = make_realm(&rmi, &world);
    let (granule, page) = (delegated(&rmi, &world), &mut Page::new());
    let list = &mut List::new();
    let rec = rec::create(&rmi, rd.name(), granule, &REC, page, &world, list).unwrap();
    rec.leak(&rmi);
    assert_eq!(lost(), 1 + LENT);
    rd.leak(&rmi);
    assert_eq!(lost(), 1 + LENT + 2 + LENT);
}

/// Nobody knows whether there is one, or it certainly is not: what it was to be made of is leaked, or comes
/// back.
#[test]
fn what_is_not_made() {
    let (refused, unclear) = (status(Status::ErrorInput), Regs::new(0x30d, &[]));
    for (answer, leaked) in [(refused, 0), (unclear, 1)] {
        let world = Shared::new(1000);
        let gpt = world.clone();
        let rmi = rmm(move |fid, args| match fid {
            Fid::REALM_CREATE | Fid::REC_CREATE | Fid::RTT_CREATE => answer,
            _ => gpt.move_granules(fid, args),
        });
        let lost = || rmi.conduit().counts().leaked();
        let granules = realm::RealmGranules {
            rd: delegated(&rmi, &world),
            roots: delegated(&rmi, &world),
            vmid: realm::Vmid::new(0),
        };
        let (page, list) = (&mut Page::new(), &mut List::new());
        let failed = realm::create(&rmi, granules, &REALM, page, &world, list).unwrap_err();
        assert_eq!(
            (failed.granules.is_some(), lost()),
            (leaked == 0, 2 * leaked)
        );
        let (rd, granule) = (a_realm(), delegated(&rmi, &world));
        let failed = rec::create(&rmi, rd, granule, &REC, page, &world, list).unwrap_err();
        assert_eq!(
            (failed.granules.is_some(), lost()),
            (leaked == 0, 3 * leaked)
        );
        let granule = delegated(&rmi, &world);
        let failed = rtt::create(&rmi, rd, granule, 0, RttLevel::L3).unwrap_err();
        assert_eq!(
            (failed.granules.is_some(), lost()),
            (leaked == 0, 4 * leaked)
        );
        let granule = delegated(&rmi, &world);
        let (source, how) = (PhysAddr::new(0), data::Measure::Location);
        let rmi = rmm(move |_, _| answer);
        let failed = data::map_init(&rmi, rd, granule, 0, source, how).unwrap_err();
        let lost = rmi.conduit().counts().leaked();
        assert_eq!((failed.granules.is_some(), lost), (leaked == 0, leaked));
    }
}

#[test]
fn a_realm_ends() {
    ends(2, make_realm, |rmi, slot, world| {
        let granules = realm::destroy(rmi, slot, world, &mut List::new())?;
        let parts = granules.map(|granules| vec![granules.rd, granules.roots]);
        Ok(parts.unwrap_or_default())
    });
}

#[test]
fn a_rec_ends() {
    let make = |rmi: &Host, world: &Shared| {
        let (granule, page) = (delegated(rmi, world), &mut Page::new());
        let rd = make_realm(rmi, world).name();
        rec::create(rmi, rd, granule, &REC, page, world, &mut List::new()).unwrap()
    };
    ends(1, make, |rmi, slot, world| {
        let granule = rec::destroy(rmi, slot, world, &mut List::new())?;
        Ok(granule.into_iter().collect())
    });
}

/// A realm that the RMM does not destroy is Dying still; one that is given up is Dead, and lost.
#[test]
fn a_realm_that_is_not_destroyed() {
    let (refused, unclear) = (status(Status::ErrorRealm), Regs::new(0x30d, &[]));
    for (said, state, lost) in [(refused, State::Dying, 0), (unclear, State::Dead, 2 + LENT)] {
        let world = Shared::new(1000);
        let answers = Answers::default();
        let rmi = host(&world, &answers);
        let list = &mut List::new();
        let mut realm = Realm::New(make_realm(&rmi, &world));
        realm.terminate(&rmi, (&world, list)).unwrap();
        answers.replace(vec![said]);
        let failed = realm.destroy(&rmi, (&world, list));
        assert!(failed.is_err());
        let leaked = || rmi.conduit().counts().leaked();
        assert_eq!((realm.state(), leaked()), (state, lost));
        realm.abandon(&rmi);
        assert_eq!((realm.state(), leaked()), (State::Dead, 2 + LENT));
    }
}
