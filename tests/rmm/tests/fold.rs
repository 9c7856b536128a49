// SPDX-License-Identifier: GPL-2.0

//! RTT_FOLD, and RTT_CREATE where there is a block.

mod common;

use common::realm::{
    ns_desc, ASSIGNED, BLOCK, DESTROYED, EMPTY, FREE, RAM, RD, SHARED, SINGLE, UNASSIGNED,
};
use common::{pa, Machine};
use kvm_arm_rmi::rmi::{Fid, Status};

const L1: u64 = 1 << 30;
const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;

/// What RTT_READ_ENTRY says about a granule of the host's: address and attributes.
const NS_ATTRIBUTES: u64 = 6 << 2 | 3 << 6;

#[test]
fn a_block_becomes_pages_and_a_block_again() {
    for ripas in [EMPTY, RAM] {
        let machine = Machine::with_tables();
        machine.delegate(BLOCK, 512);
        if ripas == RAM {
            machine.init_ram(L2, L2);
        }
        machine.map(L2, BLOCK, 1, 2);
        machine.expect_entry(L2, 3, [2, ASSIGNED, BLOCK, ripas]);

        machine.fake().invalidated();
        machine.create_table(pa(40), L2, 3);
        // Break before make, if the hardware could see the block.
        let broken = machine.fake().invalidated();
        assert_eq!(broken.is_empty(), ripas == EMPTY);
        assert!(broken.iter().all(|range| *range == (0, L2..2 * L2)));
        for n in [0, 1, 511] {
            let wanted = [3, ASSIGNED, BLOCK + n * L3, ripas];
            machine.expect_entry(L2 + n * L3, 3, wanted);
        }
        // Every page is in use, and the table cannot go.
        machine.expect_rtt(Fid::RTT_DESTROY, [RD, L2, 3], 3, [0, L2]);

        machine.expect(Fid::RTT_FOLD, [RD, L2, 3], Status::Success, [pa(40)]);
        let cached = if ripas == RAM { L2 } else { L3 };
        assert_eq!(machine.fake().invalidated(), [(0, L2..L2 + cached)]);
        machine.expect_entry(L2, 3, [2, ASSIGNED, BLOCK, ripas]);
        assert!(machine.is_delegated(pa(40)));
        machine.destroy_realm();
    }
}

#[test]
fn a_destroyed_block_becomes_pages_and_a_block_again() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    machine.init_ram(L2, L2);
    machine.create_table(pa(40), L2, 3);
    machine.expect(Fid::RTT_DESTROY, [RD, L2, 3], Status::Success, [pa(40), L1]);
    machine.map(L2, BLOCK, 1, 2);
    machine.expect_entry(L2, 2, [2, ASSIGNED, BLOCK, DESTROYED]);
    machine.create_table_again(pa(40), L2, 3);
    machine.expect_entry(L2 + L3, 3, [3, ASSIGNED, BLOCK + L3, DESTROYED]);
    machine.expect(Fid::RTT_FOLD, [RD, L2, 3], Status::Success, [pa(40)]);
    machine.expect_entry(L2, 2, [2, ASSIGNED, BLOCK, DESTROYED]);
    machine.destroy_realm();
}

#[test]
fn a_block_of_the_hosts_becomes_pages_and_a_block_again() {
    let machine = Machine::with_tables();
    let (ipa, base) = (SHARED + L2, 3 * L2);
    machine.map_shared(ipa, base, 1, 2);
    machine.expect_entry(ipa, 2, [2, ASSIGNED, base | NS_ATTRIBUTES, EMPTY]);
    machine.fake().invalidated();
    machine.create_table(pa(40), ipa, 3);
    assert_eq!(machine.fake().invalidated(), [(0, ipa..ipa + L2)]);
    machine.expect_entry(
        ipa + L3,
        3,
        [3, ASSIGNED, (base + L3) | NS_ATTRIBUTES, EMPTY],
    );
    machine.expect(Fid::RTT_FOLD, [RD, ipa, 3], Status::Success, [pa(40)]);
    assert_eq!(machine.fake().invalidated(), [(0, ipa..ipa + L2)]);
    machine.expect_entry(ipa, 2, [2, ASSIGNED, base | NS_ATTRIBUTES, EMPTY]);
    machine.destroy_realm();
}

#[test]
fn a_fold_wants_entries_that_are_alike() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    let refused = || machine.expect_rtt(Fid::RTT_FOLD, [RD, 0, 3], 3, []);
    // RIPAS differs.
    machine.init_ram(0, L3);
    refused();
    machine.init_ram(0, L2);
    // Some memory.
    machine.map(0, BLOCK, 1, 3);
    refused();
    machine.map(L3, BLOCK + L3, 510, 3);
    refused();
    // All memory, in one piece.
    machine.map(511 * L3, BLOCK + 511 * L3, 1, 3);
    machine.expect(Fid::RTT_FOLD, [RD, 0, 3], Status::Success, [pa(FREE + 1)]);
    machine.expect_entry(0, 3, [2, ASSIGNED, BLOCK, RAM]);
    machine.destroy_realm();
}

#[test]
fn a_fold_wants_memory_in_one_aligned_piece() {
    // Two pages have changed places; not aligned.
    for (first, rest) in [(1, 0), (512, 512)] {
        let machine = Machine::with_tables();
        machine.delegate(BLOCK, 1024);
        let page = |n: u64| BLOCK + n * L3;
        for n in 0..512u64 {
            let page = match n {
                0 | 1 if first == 1 => page(1 - n),
                _ if first == 1 => page(n + rest),
                _ => page(n + 1),
            };
            machine.map(n * L3, page, 1, 3);
        }
        machine.expect_rtt(Fid::RTT_FOLD, [RD, 0, 3], 3, []);
        machine.destroy_realm();
    }
}

#[test]
fn a_fold_wants_attributes_that_are_alike() {
    let machine = Machine::with_tables();
    let read_only = 6 << 16 | 2 << 19;
    machine.map_shared(SHARED, 0, 511, 3);
    let last = SHARED + 511 * L3;
    machine.expect(
        Fid::RTT_UNPROT_MAP,
        [
            RD,
            last,
            last + L3,
            SINGLE | read_only,
            ns_desc(511 * L3, 1, 3),
        ],
        Status::Success,
        [last + L3],
    );
    machine.expect_rtt(Fid::RTT_FOLD, [RD, SHARED, 3], 3, []);
    machine.destroy_realm();
}

#[test]
fn tables_fold_from_the_bottom_up() {
    let machine = Machine::with_tables();
    machine.expect_rtt(Fid::RTT_FOLD, [RD, L1, 3], 1, []);
    machine.expect_rtt(Fid::RTT_FOLD, [RD, L2, 3], 2, []);
    machine.expect_rtt(Fid::RTT_FOLD, [RD, L1, 2], 1, []);
    // A table of tables.
    machine.expect_rtt(Fid::RTT_FOLD, [RD, 0, 2], 2, []);
    machine.expect(Fid::RTT_FOLD, [RD, 0, 3], Status::Success, [pa(FREE + 1)]);
    machine.expect(Fid::RTT_FOLD, [RD, 0, 2], Status::Success, [pa(FREE)]);
    machine.expect_entry(0, 3, [1, UNASSIGNED, 0, EMPTY]);
    machine.destroy_realm();
}
