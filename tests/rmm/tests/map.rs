// SPDX-License-Identifier: GPL-2.0

//! RTT_DATA_MAP_INIT and RTT_DATA_MAP.

mod common;

use common::realm::{
    desc, list, ns_desc, ASSIGNED, BLOCK, EMPTY, FREE, IPA_BITS, PAGE, RAM, RD, ROOT, SHARED,
    SINGLE, UNASSIGNED, WRITE_BACK,
};
use common::{pa, Machine, OWN, UART};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Status};
use rmm::granule::State;
use rmm::platform::GRANULE_WORDS;

const L1: u64 = 1 << 30;
const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;
const END: u64 = 1 << IPA_BITS;

/// The host's memory whose contents are copied.
const SOURCE: u64 = pa(FREE + 8);
/// Delegated memory.
const DATA: u64 = pa(FREE + 9);
const MEASURE: u64 = 1;

fn state(machine: &Machine, pa: u64) -> Option<State> {
    machine.rmm.granules().state(PhysAddr::new(pa))
}

#[test]
fn init_copies_the_hosts_page() {
    for (flags, ripas) in [(0, EMPTY), (MEASURE, RAM)] {
        let machine = Machine::with_tables();
        machine.fake().host_write(SOURCE, &[0x1234; GRANULE_WORDS]);
        machine.delegate(DATA, 1);
        if ripas == RAM {
            machine.init_ram(L3, L3);
        }
        let args = [RD, DATA, L3, SOURCE, flags];
        machine.expect(Fid::RTT_DATA_MAP_INIT, args, Status::Success, []);
        machine.expect_entry(L3, 3, [3, ASSIGNED, DATA, RAM]);
        assert_eq!(machine.fake().data(DATA), [0x1234; GRANULE_WORDS]);
        assert_eq!(state(&machine, DATA), Some(State::Data));
        machine.destroy_realm();
    }
}

#[test]
fn init_is_judged_in_order() {
    let machine = Machine::with_tables();
    machine.delegate(DATA, 1);
    let init = |args: [u64; 5], status| machine.expect(Fid::RTT_DATA_MAP_INIT, args, status, []);
    for flags in [2, 3, u64::MAX] {
        init([RD, DATA, 0, SOURCE, flags], Status::ErrorInput);
    }
    for bad in [0, SOURCE + 8, DATA, RD, OWN.start, UART] {
        init([RD, DATA, 0, bad, 0], Status::ErrorInput);
    }
    for bad in [0, RD + 8, ROOT, DATA, PAGE] {
        init([bad, DATA, 0, SOURCE, 0], Status::ErrorInput);
    }
    for bad in [8, SHARED, END, u64::MAX] {
        init([RD, DATA, bad, SOURCE, 0], Status::ErrorInput);
    }
    for bad in [
        0,
        DATA + 8,
        RD,
        ROOT,
        pa(FREE + 1),
        SOURCE,
        OWN.start,
        1 << 48,
    ] {
        init([RD, bad, 0, SOURCE, 0], Status::ErrorInput);
    }
    // The walk comes before the granule.
    machine.expect_rtt(Fid::RTT_DATA_MAP_INIT, [RD, 0, L2, SOURCE, 0], 2, []);
    machine.expect_rtt(Fid::RTT_DATA_MAP_INIT, [RD, 0, L1, SOURCE, 0], 1, []);
    machine.map(0, DATA, 1, 3);
    machine.expect_rtt(Fid::RTT_DATA_MAP_INIT, [RD, 0, 0, SOURCE, 0], 3, []);
    // The state of the realm comes before the IPA, the flags and the source before the realm.
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    init([RD, 0, 8, SOURCE, 0], Status::ErrorRealm);
    init([RD, 0, 8, DATA, 0], Status::ErrorInput);
    init([RD, 0, 8, SOURCE, 2], Status::ErrorInput);
    machine.destroy_realm();
}

#[test]
fn map_gives_pages_of_zeroes() {
    let machine = Machine::with_tables();
    machine.fake().host_write(DATA, &[7; GRANULE_WORDS]);
    machine.delegate(DATA, 2);
    machine.init_ram(L3, L3);
    machine.map(0, DATA, 2, 3);
    machine.expect_entry(0, 3, [3, ASSIGNED, DATA, EMPTY]);
    machine.expect_entry(L3, 3, [3, ASSIGNED, DATA + L3, RAM]);
    assert_eq!(machine.fake().data(DATA), [0; GRANULE_WORDS]);
    assert_eq!(state(&machine, DATA), Some(State::Data));
    // Once more, the same: nothing changes.
    machine.map(0, DATA, 2, 3);
    // But not something else.
    let args = [RD, 0, L3, SINGLE, desc(DATA + L3, 1, 3)];
    machine.expect_rtt(Fid::RTT_DATA_MAP, args, 3, []);
    machine.destroy_realm();
}

#[test]
fn map_gives_blocks() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 1024);
    machine.map(L2, BLOCK, 2, 2);
    machine.expect_entry(L2, 3, [2, ASSIGNED, BLOCK, EMPTY]);
    machine.expect_entry(2 * L2, 2, [2, ASSIGNED, BLOCK + L2, EMPTY]);
    assert_eq!(state(&machine, BLOCK + L2 + 511 * L3), Some(State::Data));
    machine.destroy_realm();
}

#[test]
fn map_takes_a_list_from_anywhere_in_a_page() {
    let machine = Machine::with_tables();
    machine.delegate(DATA, 6);
    // Empty descriptors are passed over; the last word of the page ends the list.
    let words = [
        desc(DATA, 2, 3),
        desc(0, 0, 3),
        desc(DATA + 5 * L3, 1, 3),
        desc(DATA + 2 * L3, 3, 3),
    ];
    machine.write_list(508, &words);
    let args = [RD, 0, 6 * L3, list(100), PAGE + 508 * 8];
    machine.expect(Fid::RTT_DATA_MAP, args, Status::Success, [6 * L3]);
    machine.expect_entry(2 * L3, 3, [3, ASSIGNED, DATA + 5 * L3, EMPTY]);
    machine.expect_entry(5 * L3, 3, [3, ASSIGNED, DATA + 4 * L3, EMPTY]);
    machine.destroy_realm();
}

#[test]
fn map_stops_at_the_end_of_the_table_the_range_or_the_memory() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    let map = |base, top, desc, done| {
        let args = [RD, base, top, SINGLE, desc];
        machine.expect(Fid::RTT_DATA_MAP, args, Status::Success, [done]);
    };
    map(L2 - L3, L2 + L3, desc(BLOCK, 2, 3), L2);
    map(0, L3, desc(BLOCK + L3, 2, 3), L3);
    map(L3, 8 * L3, desc(BLOCK + 2 * L3, 2, 3), 3 * L3);
    assert!(machine.is_delegated(BLOCK + 4 * L3));
    machine.destroy_realm();
}

#[test]
fn what_stops_a_map_later_is_no_error() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 600);
    let page = |n: u64| BLOCK + n * L3;
    for (what, second, level) in [
        ("not delegated", desc(pa(FREE + 20), 1, 3), None),
        ("the host's", ns_desc(page(600), 1, 3), None),
        ("another size", desc(BLOCK, 1, 2), Some(3)),
        ("a granule in use", desc(RD, 1, 3), None),
        ("beyond reach", desc(1 << 48, 1, 3), None),
        ("nothing", 0, None),
    ] {
        machine.write_list(0, &[desc(page(0), 1, 3), second]);
        let args = [RD, 0, 2 * L3, list(2), PAGE];
        machine.expect(Fid::RTT_DATA_MAP, args, Status::Success, [L3]);
        machine.expect_entry(L3, 3, [3, UNASSIGNED, 0, EMPTY]);
        // As the first it is.
        let args = [RD, L3, 2 * L3, SINGLE, second];
        match (what, level) {
            // Its size is the size of the call.
            ("another size", _) => machine.expect(Fid::RTT_DATA_MAP, args, Status::ErrorInput, []),
            (_, Some(level)) => machine.expect_rtt(Fid::RTT_DATA_MAP, args, level, []),
            (_, None) => machine.expect(Fid::RTT_DATA_MAP, args, Status::ErrorInput, []),
        }
    }
    machine.destroy_realm();
}

#[test]
fn a_block_is_mapped_whole_or_not_at_all() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 511);
    let args = [RD, L2, 2 * L2, SINGLE, desc(BLOCK, 1, 2)];
    machine.expect(Fid::RTT_DATA_MAP, args, Status::ErrorInput, []);
    machine.expect_entry(L2, 3, [2, UNASSIGNED, 0, EMPTY]);
    for n in 0..511 {
        assert!(machine.is_delegated(BLOCK + n * L3));
    }
    // Not aligned, although it is all there.
    machine.delegate(BLOCK + 511 * L3, 513);
    let args = [RD, L2, 2 * L2, SINGLE, desc(BLOCK + L3, 1, 2)];
    machine.expect(Fid::RTT_DATA_MAP, args, Status::ErrorInput, []);
    machine.destroy_realm();
}

#[test]
fn delegated_memory_only_is_mapped_as_data() {
    let machine = Machine::with_tables();
    machine.delegate(DATA, 1);
    for bad in [
        ns_desc(DATA, 1, 3),
        desc(pa(FREE + 10), 1, 3),
        desc(RD, 1, 3),
        desc(ROOT, 1, 3),
        desc(pa(FREE + 1), 1, 3),
        desc(OWN.start, 1, 3),
        desc(UART, 1, 3),
    ] {
        let args = [RD, 0, L3, SINGLE, bad];
        machine.expect(Fid::RTT_DATA_MAP, args, Status::ErrorInput, []);
    }
    // The same granule cannot be in two places.
    machine.map(0, DATA, 1, 3);
    let args = [RD, L3, 2 * L3, SINGLE, desc(DATA, 1, 3)];
    machine.expect(Fid::RTT_DATA_MAP, args, Status::ErrorInput, []);
    machine.destroy_realm();
}

#[test]
fn an_interrupt_ends_a_map_between_blocks() {
    let machine = Machine::with_tables();
    machine.delegate(DATA, 4);
    machine.fake().interrupt_after(1);
    // One at a time, but never none.
    for n in 0..4 {
        let (base, top) = (n * L3, 4 * L3);
        let args = [RD, base, top, SINGLE, desc(DATA + base, 4 - n, 3)];
        machine.expect(Fid::RTT_DATA_MAP, args, Status::Success, [base + L3]);
        let (base, top) = (SHARED + base, SHARED + top);
        let args = [RD, base, top, SINGLE | WRITE_BACK, ns_desc(0, 4 - n, 3)];
        machine.expect(Fid::RTT_UNPROT_MAP, args, Status::Success, [base + L3]);
    }
    machine.destroy_realm();
}

/// Starts to map a block of 2 MiB, with an interrupt after every 100 granules.
fn interrupted(machine: &Machine) -> u64 {
    machine.fake().interrupt_after(100);
    let args = [RD, L2, 2 * L2, SINGLE, desc(BLOCK, 1, 2)];
    let regs = machine.call(Fid::RTT_DATA_MAP, &args);
    assert_eq!((regs.x(0), regs.x(2)), (0xd, 0));
    regs.x(1)
}

#[test]
fn an_interrupt_in_a_block_makes_the_operation_stateful() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    let handle = interrupted(&machine);
    // Nobody else gets at the entry.
    machine.delegate(DATA, 2);
    machine.expect_entry(L2, 2, [2, UNASSIGNED, 0, EMPTY]);
    machine.expect(Fid::RTT_CREATE, [RD, DATA, L2, 3], Status::Busy, []);
    machine.expect_rtt(Fid::RTT_FOLD, [RD, 0, 2], 2, []);
    machine.expect_rtt(Fid::RTT_INIT_RIPAS, [RD, L2, 2 * L2], 2, []);
    let args = [RD, L2, 2 * L2, SINGLE, desc(BLOCK, 1, 2)];
    machine.expect(Fid::RTT_DATA_MAP, args, Status::Busy, []);
    let args = [RD, L2, 2 * L2, 0, 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, [2 * L2]);

    let mut steps = 1;
    loop {
        let regs = machine.go_on(handle);
        if regs.x(0) == 0 {
            assert_eq!(regs.x(1), 2 * L2);
            break;
        }
        assert_eq!((regs.x(0), regs.x(1)), (0xd, 0));
        steps += 1;
    }
    assert!(steps > 3);
    machine.expect_entry(L2, 2, [2, ASSIGNED, BLOCK, EMPTY]);
    machine.expect(Fid::OP_CONTINUE, [handle, 0], Status::ErrorInput, []);
    machine.destroy_realm();
}

#[test]
fn a_block_that_fails_later_leaves_nothing_behind() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 511);
    let handle = interrupted(&machine);
    let regs = loop {
        let regs = machine.go_on(handle);
        if regs.x(0) != 0xd {
            break regs;
        }
    };
    assert_eq!(regs.0[..3], [1, 0, 0]);
    for n in 0..511 {
        assert!(machine.is_delegated(BLOCK + n * L3));
    }
    machine.expect_entry(L2, 2, [2, UNASSIGNED, 0, EMPTY]);
    machine.destroy_realm();
}

#[test]
fn two_cpus_cannot_map_the_same_memory() {
    let machine = Machine::with_tables();
    machine.delegate(DATA, 64);
    let map = |n: u64| {
        (0..64)
            .map(|page| {
                let ipa = (64 * n + page) * L3;
                let args = [RD, ipa, ipa + L3, SINGLE, desc(DATA + page * L3, 1, 3)];
                usize::from(machine.call(Fid::RTT_DATA_MAP, &args).x(0) == 0)
            })
            .sum::<usize>()
    };
    let mapped: usize = std::thread::scope(|scope| {
        let cpus: Vec<_> = (0..4).map(|n| scope.spawn(move || map(n))).collect();
        cpus.into_iter().map(|cpu| cpu.join().unwrap()).sum()
    });
    assert_eq!(mapped, 64);
    machine.destroy_realm();
}
