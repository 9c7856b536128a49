// SPDX-License-Identifier: GPL-2.0

//! RTT_CREATE, RTT_DESTROY and RTT_READ_ENTRY.

mod common;

use common::realm::{
    ns_desc, param, params, BLOCK, DESTROYED, EMPTY, FREE, IPA_BITS, PAGE, RAM, RD, ROOT, SHARED,
    SINGLE, TABLE, UNASSIGNED, WRITE_BACK,
};
use common::{pa, Machine, OWN, UART};
use kvm_arm_rmi::rmi::{Fid, Status};

const L1: u64 = 1 << 30;
const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;
const END: u64 = 1 << IPA_BITS;

#[test]
fn a_new_realm_is_empty() {
    let machine = Machine::with_realm();
    for ipa in [0, L1, SHARED - L1] {
        machine.expect_entry(ipa, 1, [1, UNASSIGNED, 0, EMPTY]);
        machine.expect_entry(ipa, 3, [1, UNASSIGNED, 0, EMPTY]);
    }
    for ipa in [SHARED, END - L1] {
        machine.expect_entry(ipa, 1, [1, UNASSIGNED, 0, EMPTY]);
    }
    machine.destroy_realm();
}

#[test]
fn read_entry_walks_as_far_as_there_are_tables() {
    let machine = Machine::with_tables();
    machine.expect_entry(0, 1, [1, TABLE, pa(FREE), EMPTY]);
    machine.expect_entry(0, 2, [2, TABLE, pa(FREE + 1), EMPTY]);
    machine.expect_entry(0, 3, [3, UNASSIGNED, 0, EMPTY]);
    machine.expect_entry(L2, 3, [2, UNASSIGNED, 0, EMPTY]);
    machine.expect_entry(L1 + L3, 3, [1, UNASSIGNED, 0, EMPTY]);
    machine.expect_entry(SHARED, 1, [1, TABLE, pa(FREE + 2), EMPTY]);
    machine.destroy_realm();
}

#[test]
fn read_entry_refuses_what_cannot_be_an_entry() {
    let machine = Machine::with_tables();
    for (ipa, level) in [
        (0, 0),
        (0, 4),
        (0, u64::MAX),
        (8, 3),
        (L3, 2),
        (L2, 1),
        (END, 3),
        (1 << 63, 1),
    ] {
        let regs = machine.call(Fid::RTT_READ_ENTRY, &[RD, ipa, level, 7]);
        // x4 is not a result then, and SMCCC preserves it.
        assert_eq!(regs.0[..5], [1, 0, 0, 0, 7], "{ipa:#x} {level}");
    }
    machine.expect(Fid::RTT_READ_ENTRY, [ROOT, 0, 1], Status::ErrorInput, []);
}

#[test]
fn create_wants_an_rd_and_a_delegated_granule() {
    let machine = Machine::with_realm();
    machine.delegate(pa(FREE), 1);
    let create = |rd, rtt| machine.expect(Fid::RTT_CREATE, [rd, rtt, 0, 2], Status::ErrorInput, []);
    for bad in [0, RD + 8, ROOT, PAGE, pa(FREE), OWN.start, UART] {
        create(bad, pa(FREE));
    }
    for bad in [0, pa(FREE) + 8, RD, ROOT, PAGE, OWN.start, UART, !0xfff] {
        create(RD, bad);
    }
    assert!(machine.is_delegated(pa(FREE)));
}

#[test]
fn create_destroy_and_fold_want_a_place_for_a_table() {
    let machine = Machine::with_realm();
    machine.delegate(pa(FREE), 1);
    for (ipa, level) in [
        (0, 0),
        (0, 1),
        (0, 4),
        (0, u64::MAX),
        (L2, 2),
        (8, 3),
        (L3, 3),
        (END, 2),
        (u64::MAX, 3),
    ] {
        machine.expect(
            Fid::RTT_CREATE,
            [RD, pa(FREE), ipa, level],
            Status::ErrorInput,
            [],
        );
        machine.expect(Fid::RTT_DESTROY, [RD, ipa, level], Status::ErrorInput, []);
        machine.expect(Fid::RTT_FOLD, [RD, ipa, level], Status::ErrorInput, []);
    }
    for fid in [Fid::RTT_DESTROY, Fid::RTT_FOLD] {
        machine.expect(fid, [ROOT, 0, 2], Status::ErrorInput, []);
    }
}

#[test]
fn tables_are_created_from_the_root_down() {
    let machine = Machine::with_realm();
    machine.delegate(pa(FREE), 3);
    let args = |n, ipa, level| [RD, pa(FREE + n), ipa, level];
    machine.expect_rtt(Fid::RTT_CREATE, args(0, 0, 3), 1, []);
    machine.expect(Fid::RTT_CREATE, args(0, 0, 2), Status::Success, []);
    machine.expect_rtt(Fid::RTT_CREATE, args(1, 0, 2), 1, []);
    machine.expect(Fid::RTT_CREATE, args(1, 0, 3), Status::Success, []);
    machine.expect_rtt(Fid::RTT_CREATE, args(2, 0, 3), 2, []);
    assert!(machine.is_delegated(pa(FREE + 2)));
    machine.destroy_realm();
}

#[test]
fn tables_start_at_level_0_if_the_ipas_are_long() {
    let machine = Machine::active();
    machine.delegate(RD, 2);
    let mut page = params();
    page[param::S2SZ] = 48;
    page[param::RTT_LEVEL_START] = 0;
    machine.fake().host_write(PAGE, &page);
    machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::Success, []);
    machine.create_table(pa(FREE), 0, 1);
    machine.create_table(pa(FREE + 1), 0, 2);
    machine.create_table(pa(FREE + 2), 0, 3);
    machine.expect_entry(0, 0, [0, TABLE, pa(FREE), EMPTY]);
    machine.expect_entry(L3, 3, [3, UNASSIGNED, 0, EMPTY]);

    // Blocks of 512 GiB do not exist: a table of blocks at level 1 stays one.
    let shared = 1 << 47;
    machine.create_table(pa(FREE + 3), shared, 1);
    let top = shared + 512 * L1;
    machine.expect(
        Fid::RTT_UNPROT_MAP,
        [RD, shared, top, SINGLE | WRITE_BACK, ns_desc(0, 512, 1)],
        Status::Success,
        [top],
    );
    machine.expect_rtt(Fid::RTT_FOLD, [RD, shared, 1], 0, []);
    // Without memory it does not.
    machine.expect_rtt(Fid::RTT_FOLD, [RD, 0, 1], 1, []);
    for (level, n) in [(3, 2), (2, 1), (1, 0)] {
        machine.expect(
            Fid::RTT_FOLD,
            [RD, 0, level],
            Status::Success,
            [pa(FREE + n)],
        );
    }
    machine.expect_entry(0, 3, [0, UNASSIGNED, 0, EMPTY]);
}

#[test]
fn a_table_says_what_the_entry_above_said() {
    let machine = Machine::with_tables();
    machine.init_ram(L2, L2);
    machine.create_table(pa(40), L2, 3);
    machine.create_table(pa(41), 2 * L2, 3);
    machine.create_table(pa(42), SHARED + L2, 3);
    for offset in [0, L2 - L3] {
        machine.expect_entry(L2 + offset, 3, [3, UNASSIGNED, 0, RAM]);
        machine.expect_entry(2 * L2 + offset, 3, [3, UNASSIGNED, 0, EMPTY]);
        machine.expect_entry(SHARED + L2 + offset, 3, [3, UNASSIGNED, 0, EMPTY]);
    }
    // Destroyed by the end of a table, and passed on to the next.
    machine.expect(
        Fid::RTT_DESTROY,
        [RD, L2, 3],
        Status::Success,
        [pa(40), 2 * L2],
    );
    machine.expect_entry(L2, 3, [2, UNASSIGNED, 0, DESTROYED]);
    machine.create_table_again(pa(40), L2, 3);
    machine.expect_entry(2 * L2 - L3, 3, [3, UNASSIGNED, 0, DESTROYED]);
    machine.destroy_realm();
}

#[test]
fn destroy_reports_the_next_live_entry() {
    let machine = Machine::with_realm();
    // No table: the walk ends at the root, which has nothing.
    machine.expect_rtt(Fid::RTT_DESTROY, [RD, L2, 3], 1, [0, END]);
    machine.create_table(pa(FREE), 5 * L1, 2);
    machine.expect_rtt(Fid::RTT_DESTROY, [RD, L1 + L2, 3], 1, [0, 5 * L1]);
    // A live entry is its own next one.
    machine.expect_rtt(Fid::RTT_DESTROY, [RD, 5 * L1 + L2, 3], 2, [0, 6 * L1]);
    machine.create_table(pa(FREE + 1), 5 * L1 + 7 * L2, 3);
    machine.expect_rtt(
        Fid::RTT_DESTROY,
        [RD, 5 * L1 + L2, 3],
        2,
        [0, 5 * L1 + 7 * L2],
    );
    // In use.
    machine.expect_rtt(Fid::RTT_DESTROY, [RD, 5 * L1, 2], 2, [0, 5 * L1]);
    machine.expect(
        Fid::RTT_DESTROY,
        [RD, 5 * L1 + 7 * L2, 3],
        Status::Success,
        [pa(FREE + 1), 6 * L1],
    );
    machine.expect(
        Fid::RTT_DESTROY,
        [RD, 5 * L1, 2],
        Status::Success,
        [pa(FREE), END],
    );
    machine.expect_entry(5 * L1, 1, [1, UNASSIGNED, 0, DESTROYED]);
    machine.destroy_realm();
}

#[test]
fn destroy_does_not_take_a_block_for_a_table() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    machine.map(L2, BLOCK, 1, 2);
    machine.expect_rtt(Fid::RTT_DESTROY, [RD, L2, 3], 2, [0, L2]);
    machine.expect_rtt(Fid::RTT_FOLD, [RD, L2, 3], 2, []);
    machine.destroy_realm();
}

#[test]
fn destroy_forgets_memory_of_the_hosts() {
    let machine = Machine::with_tables();
    machine.map_shared(SHARED, 0, 512, 3);
    machine.fake().invalidated();
    machine.expect(
        Fid::RTT_DESTROY,
        [RD, SHARED, 3],
        Status::Success,
        [pa(FREE + 3), SHARED + L1],
    );
    assert_eq!(machine.fake().invalidated(), [(0, SHARED..SHARED + L2)]);
    machine.expect_entry(SHARED, 3, [2, UNASSIGNED, 0, EMPTY]);
    machine.destroy_realm();
}

#[test]
fn structure_can_change_in_every_state_of_the_realm() {
    let machine = Machine::with_realm();
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    machine.create_table(pa(FREE), 0, 2);
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    machine.create_table(pa(FREE + 1), 0, 3);
    machine.expect(Fid::RTT_FOLD, [RD, 0, 3], Status::Success, [pa(FREE + 1)]);
    machine.destroy_realm();
}
