// SPDX-License-Identifier: GPL-2.0

//! Operations on the embedded RMM that end before their time: what was donated comes back, or is counted
//! as leaked.

use crate::alone::alone;
use crate::life::Guest;
use crate::machine::Host;
use crate::rmm_machine::pa;
use ::rmm::fault::{Effect, Fault};
use ::rmm::granule::State;
use ::rmm::rmi::Dialect;
use ::rmm::sro::PLACES;
use kvm_arm_rmi::rmi::{Error, Fid, PhysAddr};

/// The RMM has few places for operations, and none of them can be cancelled: one for which there is not
/// enough memory gives its place back, and whatever it has.
#[test]
fn operations_without_memory_end() {
    alone(|| {
        // There are no 16 granules, and no fewer in one piece; or there are 8, and then no more.
        for failures in [&[0, 1, 2, 3, 4][..], &[0, 2, 3, 4, 5]] {
            let host = Host::new();
            let mut guest = Guest::new(&host);
            let before = host.counts();
            for _ in 0..=PLACES {
                // There is a granule for the REC and a page for its parameters.
                let first = host.allocations() + 2;
                host.fail(failures.iter().map(|n| first + n));
                let result = guest.try_rec(0);
                assert_eq!(result, Err(Error::NoMemory(Fid::REC_CREATE)));
                assert_eq!(host.counts(), before);
            }
            guest.add_rec();
            guest.tear_down();
            host.assert_idle();
        }
    });
}

/// How many granules the RMM has for ever, apart from its own.
fn lost(host: &Host) -> u64 {
    let granules = host.machine.rmm.granules();
    let lost = |pa: &u64| granules.state(PhysAddr::new(*pa)) == Some(State::Reserved);
    let realm = host.machine.fake().in_realm_space();
    realm.into_iter().filter(lost).count() as u64
}

/// An object that does not come into being: what was donated for it may be kept as well.
#[test]
fn what_is_kept_of_an_object_that_is_not_made() {
    alone(|| {
        let host = Host::speaking(Dialect::Bet2);
        let mut guest = Guest::new(&host);
        guest.try_rec(7).unwrap();
        let (before, _) = host.counts();
        assert!(host.machine.rmm.faults().add(Fault {
            fid: Fid::OP_MEM_RECLAIM,
            skip: 0,
            times: 1,
            effect: Effect::Keep {
                granules: 5,
                instead: pa(1000),
            },
        }));
        // There is one with this MPIDR.
        assert!(guest.try_rec(7).is_err());
        assert_eq!(host.counts(), (before + 5, 5));
        assert_eq!(lost(&host), 5);
        guest.tear_down();
        assert_eq!(host.counts(), (5, 5));
        assert_eq!(host.allocated(), 5);
    });
}
