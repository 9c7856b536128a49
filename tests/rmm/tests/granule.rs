// SPDX-License-Identifier: GPL-2.0

//! GRANULE_RANGE_DELEGATE, GRANULE_RANGE_UNDELEGATE, GRANULE_TRACKING_GET, GPT_L1_CREATE.

mod common;

use common::{pa, Machine, Pas, BANK2, OWN, RAM, RAM_GRANULES, RAM_TOP, UART};
use kvm_arm_rmi::rmi::{Fid, Status, GRANULE_SIZE};
use rmm::platform::GRANULE_WORDS;
use rmm::rmi::MAX_GRANULES_PER_CALL;

const DELEGATE: Fid = Fid::GRANULE_RANGE_DELEGATE;
const UNDELEGATE: Fid = Fid::GRANULE_RANGE_UNDELEGATE;

#[test]
fn a_range_moves_to_the_realm_world_and_back() {
    let machine = Machine::active();
    machine.expect(DELEGATE, [pa(20), pa(23)], Status::Success, [pa(23)]);
    assert!((20..23).all(|n| machine.is_delegated(pa(n))));
    assert!(!machine.is_delegated(pa(19)) && !machine.is_delegated(pa(23)));
    machine.expect(UNDELEGATE, [pa(20), pa(23)], Status::Success, [pa(23)]);
    assert_eq!(machine.fake().realm_granules(), 0);
    assert!((19..24).all(|n| !machine.is_delegated(pa(n))));
}

#[test]
fn undelegated_granules_are_zeroes() {
    let machine = Machine::active();
    machine.fake().host_write(pa(20), &[0x5a; GRANULE_WORDS]);
    machine.expect(DELEGATE, [pa(20), pa(21)], Status::Success, [pa(21)]);
    machine.expect(UNDELEGATE, [pa(20), pa(21)], Status::Success, [pa(21)]);
    assert_eq!(machine.fake().data(pa(20)), [0; GRANULE_WORDS]);
}

#[test]
fn bad_ranges_are_refused() {
    let machine = Machine::active();
    machine.expect(DELEGATE, [pa(1), pa(3)], Status::Success, [pa(3)]);
    for (base, top) in [
        (pa(1), pa(1)),
        (pa(2), pa(1)),
        (pa(1) + 1, pa(2) + 1),
        (pa(1), pa(2) + 8),
        (pa(1), pa(2) - 1),
        (pa(1), 0),
        (!0xfff, 0),
        (!0xfff, u64::MAX),
        (u64::MAX, u64::MAX),
        (0, 0),
    ] {
        machine.expect(DELEGATE, [base, top], Status::ErrorInput, [base]);
        machine.expect(UNDELEGATE, [base, top], Status::ErrorInput, [base]);
    }
    assert_eq!(machine.fake().realm_granules(), 2);
}

#[test]
fn only_the_hosts_memory_can_be_delegated() {
    let machine = Machine::active();
    for base in [
        OWN.start,
        OWN.end - GRANULE_SIZE,
        UART,
        0,
        RAM - GRANULE_SIZE,
        RAM_TOP,
        BANK2 + 4 * GRANULE_SIZE,
        1 << 48,
        !0x1fff,
    ] {
        let top = base + GRANULE_SIZE;
        machine.expect(DELEGATE, [base, top], Status::ErrorInput, [base]);
        machine.expect(UNDELEGATE, [base, top], Status::ErrorInput, [base]);
    }
    assert_eq!(machine.fake().realm_granules(), 0);
}

#[test]
fn granules_move_only_once() {
    let machine = Machine::active();
    machine.expect(UNDELEGATE, [pa(1), pa(2)], Status::ErrorInput, [pa(1)]);
    machine.expect(DELEGATE, [pa(1), pa(2)], Status::Success, [pa(2)]);
    machine.expect(DELEGATE, [pa(1), pa(2)], Status::ErrorInput, [pa(1)]);
    machine.expect(DELEGATE, [pa(1), pa(4)], Status::ErrorInput, [pa(1)]);
    assert!(machine.is_delegated(pa(1)) && !machine.is_delegated(pa(2)));
}

#[test]
fn a_range_ends_before_the_first_granule_that_cannot_move() {
    let machine = Machine::active();
    machine.expect(DELEGATE, [pa(22), pa(23)], Status::Success, [pa(23)]);
    machine.expect(DELEGATE, [pa(20), pa(25)], Status::Success, [pa(22)]);
    machine.expect(DELEGATE, [pa(22), pa(25)], Status::ErrorInput, [pa(22)]);
    machine.expect(UNDELEGATE, [pa(20), pa(25)], Status::Success, [pa(23)]);
    machine.expect(UNDELEGATE, [pa(23), pa(25)], Status::ErrorInput, [pa(23)]);
    // Up to the RMM's own memory, and up to the end of the bank.
    machine.expect(DELEGATE, [pa(6), pa(20)], Status::Success, [OWN.start]);
    let last = RAM_TOP - GRANULE_SIZE;
    machine.expect(
        DELEGATE,
        [last, RAM_TOP + GRANULE_SIZE],
        Status::Success,
        [RAM_TOP],
    );
    assert_eq!(machine.fake().realm_granules(), 3);
}

#[test]
fn a_call_does_a_bounded_part_of_a_range() {
    let machine = Machine::active();
    let part = MAX_GRANULES_PER_CALL;
    let (base, top) = (pa(16), pa(RAM_GRANULES));
    for first in (16..RAM_GRANULES).step_by(part as usize) {
        let end = pa(first + part).min(top);
        machine.expect(DELEGATE, [pa(first), top], Status::Success, [end]);
    }
    machine.expect(UNDELEGATE, [base, top], Status::Success, [pa(16 + part)]);
}

#[test]
fn an_interrupt_ends_a_call_after_at_least_one_granule() {
    let machine = Machine::active();
    machine.fake().interrupt_after(3);
    machine.expect(DELEGATE, [pa(20), pa(30)], Status::Success, [pa(23)]);
    machine.fake().interrupt_after(1);
    machine.expect(DELEGATE, [pa(23), pa(30)], Status::Success, [pa(24)]);
    machine.expect(UNDELEGATE, [pa(20), pa(24)], Status::Success, [pa(21)]);
}

#[test]
fn what_el3_keeps_is_not_delegated() {
    let machine = Machine::active();
    machine.fake().set_pas(pa(22), Pas::Secure);
    machine.expect(DELEGATE, [pa(22), pa(25)], Status::ErrorInput, [pa(22)]);
    machine.expect(DELEGATE, [pa(20), pa(25)], Status::Success, [pa(22)]);
    machine.fake().set_pas(pa(22), Pas::NonSecure);
    machine.expect(DELEGATE, [pa(22), pa(25)], Status::Success, [pa(25)]);
    assert!((20..25).all(|n| machine.is_delegated(pa(n))));
}

#[test]
#[should_panic(expected = "EL3 refuses to undelegate 0x40014000")]
fn there_is_no_way_on_if_el3_keeps_a_delegated_granule() {
    let machine = Machine::active();
    machine.expect(DELEGATE, [pa(20), pa(21)], Status::Success, [pa(21)]);
    machine.fake().keep(pa(20));
    machine.call(UNDELEGATE, &[pa(20), pa(21)]);
}

#[test]
fn cpus_share_a_range_without_loss() {
    let machine = Machine::active();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for fid in [DELEGATE, UNDELEGATE].into_iter().cycle().take(40) {
                    let mut base = pa(20);
                    while base < pa(60) {
                        let regs = machine.call(fid, &[base, pa(60)]);
                        // Another CPU may have been faster: step over its granule.
                        base = regs.x(1) + regs.x(0) * GRANULE_SIZE;
                    }
                }
            });
        }
    });
    let delegated = (0..8)
        .chain(16..RAM_GRANULES)
        .filter(|n| machine.is_delegated(pa(*n)))
        .count();
    assert_eq!(delegated, machine.fake().realm_granules());
}

/// `RmiMemCategory` of memory, and of what is not.
const CONVENTIONAL: u64 = 0;
/// `RmiTrackingRegionState`.
const NONE: u64 = 1;
const FINE: u64 = 2;

#[test]
fn memory_is_tracked_granule_by_granule_in_every_state() {
    for machine in [Machine::new(), Machine::active()] {
        machine.call(DELEGATE, &[pa(1), pa(2)]);
        for (base, top) in [
            (RAM, RAM_TOP),
            (pa(1), pa(2)),
            (OWN.start, OWN.end),
            (pa(1), 1 << 40),
            (BANK2, BANK2 + GRANULE_SIZE),
        ] {
            let results = [CONVENTIONAL, FINE, top];
            machine.expect(
                Fid::GRANULE_TRACKING_GET,
                [base, top],
                Status::Success,
                results,
            );
        }
    }
}

#[test]
fn what_is_not_memory_is_not_tracked() {
    let last = (1 << 48) - GRANULE_SIZE;
    for (base, top) in [
        (UART, UART + GRANULE_SIZE),
        (0, RAM),
        (RAM_TOP, BANK2),
        (last - GRANULE_SIZE, last),
    ] {
        let results = [CONVENTIONAL, NONE, top];
        Machine::new().expect(
            Fid::GRANULE_TRACKING_GET,
            [base, top],
            Status::Success,
            results,
        );
    }
}

#[test]
fn tracking_of_bad_ranges_is_refused() {
    for (base, top) in [
        (pa(1), pa(1)),
        (pa(2), pa(1)),
        (pa(1) + 8, pa(3)),
        (pa(1), pa(2) + 8),
        (pa(1), pa(1) + 8),
        (RAM, 1 << 52),
        (1 << 52, (1 << 52) + GRANULE_SIZE),
        (!0xfff, 0),
        (0, !0xfff),
    ] {
        Machine::new().expect(
            Fid::GRANULE_TRACKING_GET,
            [base, top],
            Status::ErrorInput,
            [],
        );
    }
}

#[test]
fn level_1_tables_are_there_already() {
    let machine = Machine::active();
    for base in [0, 1 << 30, 3 << 30, !((1 << 30) - 1)] {
        machine.expect(Fid::GPT_L1_CREATE, [base], Status::ErrorGpt, []);
    }
    for base in [1, GRANULE_SIZE, (1 << 30) + (1 << 29), u64::MAX] {
        machine.expect(Fid::GPT_L1_CREATE, [base], Status::ErrorInput, []);
    }
}
