// SPDX-License-Identifier: GPL-2.0

//! Lives of realms in which an allocation fails, at each place where something is allocated.

use crate::faults::life;
use crate::machine::Host;
use crate::vmm::Why;

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
