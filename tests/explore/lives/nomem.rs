// SPDX-License-Identifier: GPL-2.0

//! Lives in which an allocation fails, at each place where something is allocated.

use super::*;
use kvm_arm_rmi::sys::machine::machine;

/// Has each allocation of a life fail. Returns those without which it goes on.
fn each(dialect: Dialect) -> Vec<u64> {
    let allocations = good_life(dialect).allocations;
    assert!(allocations > 50, "{allocations}");
    let mut spared = Vec::new();
    // The first is number 1.
    for number in 1..=allocations {
        let life = on_host(dialect, move |host| {
            machine().fail_allocation(number);
            host.outcome(host.life())
        });
        match life.result {
            Ok(()) => spared.push(number),
            Err(why) => assert_eq!(why, Why::Errno(ENOMEM), "allocation {number}"),
        }
        life.assert_idle(&format!("without allocation {number}"));
    }
    spared
}

/// Pages that are only mapped because they are next to one that is wanted: of 7 faults, 3 each. The second
/// source of a populate: the first will do for the beginning.
const NOT_NEEDED: usize = 7 * 3 + 1;

#[test]
fn an_allocation_fails_anywhere_and_nothing_is_lost() {
    // A large piece for each of two RECs: the RMM takes smaller ones as well.
    assert_eq!(each(Dialect::Main).len(), NOT_NEEDED + 2);
}

/// There is no memory for what the RMM asks for, which cannot be cancelled: the realm is not made, and
/// what it has taken by then comes back.
#[test]
fn no_memory_at_any_moment_for_an_rmm_that_borrows_more() {
    // Another large piece for the realm.
    assert_eq!(each(Dialect::Bet2).len(), NOT_NEEDED + 3);
}

/// What a REC takes besides is lent before there is one.
#[test]
fn no_memory_at_any_moment_for_an_rmm_of_1_0() {
    assert_eq!(each(Dialect::V1).len(), NOT_NEEDED + 2);
}
