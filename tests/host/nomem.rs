// SPDX-License-Identifier: GPL-2.0

//! Lives of realms in which an allocation fails, at each place where something is allocated.

use crate::faults::{counts, life};
use crate::life::Guest;
use crate::machine::Host;
use crate::vmm::Why;
use ::rmm::sro::PLACES;
use kvm_arm_rmi::rmi::{Error, Fid};

#[test]
fn an_allocation_fails_anywhere_and_nothing_is_lost() {
    let host = Host::new();
    assert_eq!(life(&host), Ok(()));
    let allocations = host.allocations();
    assert!(allocations > 50, "{allocations}");
    let mut failed = 0;
    for number in 0..allocations {
        let host = Host::without(number);
        // A large one the RMM takes in parts as well.
        if let Err(why) = life(&host) {
            assert_eq!(why, Why::NoMemory, "allocation {number}");
            failed += 1;
        }
        host.assert_idle();
    }
    assert!(failed + 4 > allocations, "{failed} of {allocations}");
}

/// The RMM has few places for operations, and none of them can be cancelled: one for which there is not
/// enough memory gives its place back, and whatever it has.
#[test]
fn operations_without_memory_end() {
    // There are no 16 granules, and no fewer in one piece; or there are 8, and then no more.
    for failures in [&[0, 1, 2, 3, 4][..], &[0, 2, 3, 4, 5]] {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        let before = counts(&host);
        for _ in 0..=PLACES {
            // There is a granule for the REC and a page for its parameters.
            let first = host.allocations() + 2;
            host.fail(failures.iter().map(|n| first + n));
            let result = guest.try_rec(0);
            assert_eq!(result, Err(Error::NoMemory(Fid::REC_CREATE)));
            assert_eq!(counts(&host), before);
        }
        guest.add_rec();
        guest.tear_down();
        host.assert_idle();
    }
}
