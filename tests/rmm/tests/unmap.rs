// SPDX-License-Identifier: GPL-2.0

//! RTT_DATA_UNMAP and RTT_UNPROT_UNMAP.

mod common;

use common::realm::{
    desc, list, ns_desc, ASSIGNED, BLOCK, DESTROYED, EMPTY, FREE, IPA_BITS, PAGE, RAM, RD, ROOT,
    SHARED, SINGLE, UNASSIGNED,
};
use common::{pa, Machine, OWN, UART};
use kvm_arm_rmi::rmi::{Fid, Status};
use rmm::platform::GRANULE_WORDS;

const L1: u64 = 1 << 30;
const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;
const END: u64 = 1 << IPA_BITS;

/// No report of the memory.
const NONE: u64 = 0;
/// The first words of the list.
fn listed(machine: &Machine, n: usize) -> Vec<u64> {
    machine.fake().data(PAGE)[..n].to_vec()
}

/// A machine whose realm has `count` pages of RAM from IPA 0 on, mapped to [`BLOCK`].
fn with_ram(count: u64) -> Machine {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, count);
    machine.init_ram(0, count * L3);
    machine.map(0, BLOCK, count, 3);
    machine.fake().invalidated();
    machine
}

#[test]
fn what_was_ram_is_destroyed() {
    let machine = with_ram(4);
    let args = [RD, L3, 3 * L3, NONE, 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, [3 * L3, 0, 0]);
    machine.expect_entry(0, 3, [3, ASSIGNED, BLOCK, RAM]);
    machine.expect_entry(L3, 3, [3, UNASSIGNED, 0, DESTROYED]);
    machine.expect_entry(2 * L3, 3, [3, UNASSIGNED, 0, DESTROYED]);
    machine.expect_entry(3 * L3, 3, [3, ASSIGNED, BLOCK + 3 * L3, RAM]);
    assert_eq!(machine.fake().invalidated(), [(0, L3..3 * L3)]);
    assert!(machine.is_delegated(BLOCK + L3) && machine.is_delegated(BLOCK + 2 * L3));
    // Memory at a destroyed IPA stays what it is.
    machine.map(L3, BLOCK + L3, 1, 3);
    machine.expect_entry(L3, 3, [3, ASSIGNED, BLOCK + L3, DESTROYED]);
    let args = [RD, L3, 2 * L3, NONE, 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, [2 * L3]);
    machine.expect_entry(L3, 3, [3, UNASSIGNED, 0, DESTROYED]);
    machine.destroy_realm();
}

#[test]
fn what_was_empty_stays_empty() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 1);
    machine.map(0, BLOCK, 1, 3);
    let args = [RD, 0, L3, SINGLE, 0];
    let wanted = [L3, desc(BLOCK, 1, 3), 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, wanted);
    machine.expect_entry(0, 3, [3, UNASSIGNED, 0, EMPTY]);
    machine.destroy_realm();
}

#[test]
fn single_ends_where_the_memory_does() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 8);
    machine.map(0, BLOCK, 2, 3);
    machine.map(3 * L3, BLOCK + 2 * L3, 1, 3);
    machine.map(4 * L3, BLOCK + 7 * L3, 1, 3);
    machine.map(5 * L3, BLOCK + 6 * L3, 1, 3);
    let unmap = |base, wanted| {
        let args = [RD, base, L2, SINGLE, 0];
        machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, wanted);
    };
    // Holes do not matter.
    unmap(0, [4 * L3, desc(BLOCK, 3, 3), 0]);
    // Backwards is not in order.
    unmap(4 * L3, [5 * L3, desc(BLOCK + 7 * L3, 1, 3), 0]);
    unmap(5 * L3, [L2, desc(BLOCK + 6 * L3, 1, 3), 0]);
    unmap(0, [L2, 0, 0]);
    machine.destroy_realm();
}

#[test]
fn a_list_gathers_what_is_adjacent() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 16);
    for (n, page) in [5, 4, 9, 6, 0, 12, 2].into_iter().enumerate() {
        machine.map(n as u64 * L3, BLOCK + page * L3, 1, 3);
    }
    machine.fake().host_write(PAGE, &[7; GRANULE_WORDS]);
    let args = [RD, 0, L2, list(4), PAGE];
    // The fifth piece does not fit.
    let wanted = [6 * L3, 0, 4];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, wanted);
    let page = |n: u64| BLOCK + n * L3;
    assert_eq!(
        listed(&machine, 5),
        [
            desc(page(4), 3, 3),
            desc(page(9), 1, 3),
            desc(page(0), 1, 3),
            desc(page(12), 1, 3),
            7
        ]
    );
    // At the end of a page there is room for one.
    let args = [RD, 0, L2, list(0x3fff), PAGE + 511 * 8];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, [L2, 0, 1]);
    assert_eq!(machine.fake().data(PAGE)[511], desc(page(2), 1, 3));
    machine.destroy_realm();
}

#[test]
fn without_a_report_a_whole_table_goes_at_once() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    // No two adjacent.
    for n in 0..512 {
        machine.map(n * L3, BLOCK + n * 7 % 512 * L3, 1, 3);
    }
    let args = [RD, 0, L1, NONE, 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, [L2, 0, 0]);
    machine.expect(Fid::RTT_FOLD, [RD, 0, 3], Status::Success, [pa(FREE + 1)]);
    machine.destroy_realm();
}

#[test]
fn blocks_go_whole() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 1024);
    machine.init_ram(L2, L2);
    machine.map(L2, BLOCK, 2, 2);
    machine.fake().invalidated();
    machine.expect_rtt(Fid::RTT_DATA_UNMAP, [RD, L2 + L3, 2 * L2, 0, 0], 2, []);
    machine.expect_rtt(Fid::RTT_DATA_UNMAP, [RD, L2, L2 + L3, 0, 0], 2, []);
    let args = [RD, L2, 2 * L2 + L3, SINGLE, 0];
    let wanted = [2 * L2, desc(BLOCK, 1, 2), 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, wanted);
    assert_eq!(machine.fake().invalidated(), [(0, L2..2 * L2)]);
    let args = [RD, 2 * L2, L1, SINGLE, 0];
    let wanted = [L1, desc(BLOCK + L2, 1, 2), 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, wanted);
    // It was empty, and in no TLB.
    assert_eq!(machine.fake().invalidated(), []);
    machine.destroy_realm();
}

#[test]
fn nothing_is_passed_over_as_far_as_one_table_tells() {
    let machine = Machine::with_tables();
    for (fid, half) in [(Fid::RTT_DATA_UNMAP, 0), (Fid::RTT_UNPROT_UNMAP, SHARED)] {
        let unmap = |base, top, done| {
            let args = [RD, half + base, half + top, SINGLE, 0];
            machine.expect(fid, args, Status::Success, [half + done, 0, 0]);
        };
        unmap(0, L3, L3);
        unmap(L3, L1, L2);
        unmap(L2, L1, L1);
        unmap(L2, 3 * L1, L1);
        unmap(L1, 3 * L1, 3 * L1);
        // A larger entry than the range.
        let args = [RD, half + L2, half + L2 + L3, SINGLE, 0];
        machine.expect_rtt(fid, args, 2, []);
        unmap(L2, 2 * L2 + L3, 2 * L2);
        // A table, first and later.
        machine.create_table(pa(40) + half / SHARED * L3, half + 3 * L2, 3);
        unmap(L2, L1, 3 * L2);
    }
    machine.destroy_realm();
}

#[test]
fn a_walk_that_passes_the_base_goes_to_the_page() {
    let machine = Machine::with_tables();
    // The base is the start of a table: its first page counts, not the table.
    let args = [RD, 0, L2, NONE, 0];
    machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, [L2]);
    machine.destroy_realm();
}

#[test]
fn unmap_arguments_are_judged() {
    let machine = Machine::with_tables();
    machine.delegate(pa(40), 1);
    for (fid, half) in [(Fid::RTT_DATA_UNMAP, 0), (Fid::RTT_UNPROT_UNMAP, SHARED)] {
        let bad = |args: [u64; 5]| machine.expect(fid, args, Status::ErrorInput, []);
        for rd in [0, RD + 8, ROOT, PAGE, pa(40)] {
            bad([rd, half, half + L3, NONE, 0]);
        }
        for (base, top) in [
            (half, half),
            (half + L3, half),
            (half + 8, half + L3),
            (half, half + L3 + 8),
            (half, END + L3),
            (END, END + L3),
            (SHARED - half, SHARED - half + L3),
            (SHARED - L3, SHARED + L3),
            (half, 0),
            (!0xfff, 0),
        ] {
            bad([RD, base, top, NONE, 0]);
        }
        for (flags, address) in [
            (3, 0),
            (NONE, PAGE),
            (SINGLE, PAGE),
            (NONE | 1 << 2, 0),
            (SINGLE | 1 << 2, 0),
            (list(0), PAGE),
            (list(1), PAGE + 4),
            (list(1), pa(40)),
            (list(1), RD),
            (list(1), OWN.start),
            (list(1), UART),
        ] {
            bad([RD, half, half + L3, flags, address]);
        }
        // Other bits of the flags mean nothing.
        let args = [RD, half, half + L3, 1 << 16 | SINGLE, 0];
        machine.expect(fid, args, Status::Success, [half + L3]);
    }
    machine.destroy_realm();
}

#[test]
fn the_hosts_memory_goes_back_to_the_host() {
    let machine = Machine::with_tables();
    machine.map_shared(SHARED, UART, 2, 3);
    machine.map_shared(SHARED + L2, 4 * L2, 1, 2);
    machine.map_shared(SHARED + L1, 2 * L1, 1, 1);
    machine.fake().invalidated();
    let args = [RD, SHARED, SHARED + L1, list(2), PAGE];
    let wanted = [SHARED + L2, 0, 1];
    machine.expect(Fid::RTT_UNPROT_UNMAP, args, Status::Success, wanted);
    assert_eq!(listed(&machine, 1), [ns_desc(UART, 2, 3)]);
    assert_eq!(machine.fake().invalidated(), [(0, SHARED..SHARED + 2 * L3)]);
    // In a register it is not said whose it is.
    let args = [RD, SHARED + L2, SHARED + L1, SINGLE, 0];
    let wanted = [SHARED + L1, desc(4 * L2, 1, 2), 0];
    machine.expect(Fid::RTT_UNPROT_UNMAP, args, Status::Success, wanted);
    let args = [RD, SHARED + L1, SHARED + 2 * L1, SINGLE, 0];
    let wanted = [SHARED + 2 * L1, desc(2 * L1, 1, 1), 0];
    machine.expect(Fid::RTT_UNPROT_UNMAP, args, Status::Success, wanted);
    machine.expect_entry(SHARED + L1, 3, [1, UNASSIGNED, 0, EMPTY]);
    machine.destroy_realm();
}

#[test]
fn unmap_works_in_every_state_of_the_realm() {
    let machine = with_ram(3);
    let unmap = |n: u64| {
        let args = [RD, n * L3, (n + 1) * L3, NONE, 0];
        machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, [(n + 1) * L3]);
    };
    unmap(0);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    unmap(1);
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    unmap(2);
    machine.destroy_realm();
}

#[test]
fn an_interrupt_ends_an_unmap_between_entries() {
    let machine = with_ram(4);
    machine.map_shared(SHARED, 0, 4, 3);
    machine.fake().interrupt_after(1);
    for (fid, half) in [(Fid::RTT_DATA_UNMAP, 0), (Fid::RTT_UNPROT_UNMAP, SHARED)] {
        for n in 0..4 {
            let base = half + n * L3;
            let args = [RD, base, half + 4 * L3, NONE, 0];
            machine.expect(fid, args, Status::Success, [base + L3]);
        }
    }
    machine.destroy_realm();
}

#[test]
fn an_interrupt_in_a_block_makes_the_operation_stateful() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    machine.init_ram(L2, L2);
    machine.map(L2, BLOCK, 1, 2);
    machine.fake().interrupt_after(100);
    let regs = machine.call(Fid::RTT_DATA_UNMAP, &[RD, L2, 2 * L2, list(8), PAGE]);
    assert_eq!((regs.x(0), regs.x(2), regs.x(3)), (0xd, 0, 0));
    let handle = regs.x(1);

    // The entry has nothing any more, but it is not free yet.
    machine.expect_entry(L2, 2, [2, UNASSIGNED, 0, DESTROYED]);
    machine.delegate(pa(40), 1);
    machine.expect(Fid::RTT_CREATE, [RD, pa(40), L2, 3], Status::Busy, []);
    let args = [RD, L2, 2 * L2, SINGLE, desc(BLOCK, 1, 2)];
    machine.expect(Fid::RTT_DATA_MAP, args, Status::Busy, []);
    machine.expect_rtt(Fid::RTT_DESTROY, [RD, 0, 2], 2, [0, 0]);

    let mut steps = 0;
    let regs = loop {
        let regs = machine.go_on(handle);
        if regs.x(0) != 0xd {
            break regs;
        }
        assert_eq!(regs.0[1..4], [0; 3]);
        steps += 1;
    };
    assert!(steps > 2);
    assert_eq!(regs.0[..4], [0, 2 * L2, 0, 1]);
    assert_eq!(listed(&machine, 1), [desc(BLOCK, 1, 2)]);
    for n in 0..512 {
        assert!(machine.is_delegated(BLOCK + n * L3));
    }
    machine.destroy_realm();
}

#[test]
fn a_host_that_takes_its_list_away_learns_nothing() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    machine.map(L2, BLOCK, 1, 2);
    machine.fake().interrupt_after(500);
    let regs = machine.call(Fid::RTT_DATA_UNMAP, &[RD, L2, 2 * L2, list(8), PAGE]);
    assert_eq!(regs.x(0), 0xd);
    machine.fake().interrupt_after(0);
    machine.delegate(PAGE, 1);
    assert_eq!(machine.go_on(regs.x(1)).0[..4], [0, 2 * L2, 0, 0]);
    machine.destroy_realm();
}
