// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: memory of a realm's and of the host's, page by page and in blocks.

mod common;

use common::realm::{
    param, params, ASSIGNED, BLOCK, DESTROYED, EMPTY, FREE, PAGE, RAM, RD, ROOT, SHARED, TABLE,
    UNASSIGNED,
};
use common::v1::{
    DATA_CREATE, DATA_CREATE_UNKNOWN, DATA_DESTROY, NEXT, RTT_MAP_UNPROTECTED,
    RTT_UNMAP_UNPROTECTED, WRITE_BACK,
};
use common::{pa, Machine, UART};
use kvm_arm_rmi::rmi::{Fid, Status};
use rmm::platform::GRANULE_WORDS;
use rmm::rmi::Dialect;

const L1: u64 = 1 << 30;
const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;

#[test]
fn data_is_created_with_contents() {
    let machine = Machine::v1_with_tables();
    let (data, source) = (pa(NEXT), pa(NEXT + 1));
    machine.delegate_each(data, data + L3);
    machine.fake().host_write(source, &[0x1234; GRANULE_WORDS]);
    let create = |data, ipa, source, flags| {
        let regs = machine.call(DATA_CREATE, &[RD, data, ipa, source, flags]);
        regs.x(0)
    };
    assert_eq!(create(data, 0, source, 2), 1);
    assert_eq!(create(data, 0, data, 0), 1);
    // The granule comes before everything about the realm.
    assert_eq!(create(source, SHARED, source, 0), 1);
    assert_eq!(create(source, L2, source, 0), 1);
    assert_eq!(create(data, SHARED, source, 0), 1);
    assert_eq!(create(data, 8, source, 0), 1);
    assert_eq!(create(data, L2, source, 0), 4 | 2 << 8);
    assert_eq!(create(data, 0, source, 1), 0);
    assert_eq!(machine.fake().data(data), [0x1234; GRANULE_WORDS]);
    machine.expect_entry(0, 3, [3, ASSIGNED, data, RAM]);
    machine.delegate_each(pa(NEXT + 2), pa(NEXT + 3));
    assert_eq!(create(pa(NEXT + 2), 0, source, 0), 4 | 3 << 8);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    assert_eq!(create(pa(NEXT + 2), L3, source, 0), 2);
    machine.v1_destroy_realm();
}

#[test]
fn data_is_created_without_contents_and_destroyed() {
    let machine = Machine::v1_with_tables();
    machine.delegate_each(pa(NEXT), pa(NEXT + 4));
    let create = |data, ipa| machine.call(DATA_CREATE_UNKNOWN, &[RD, data, ipa]).x(0);
    let destroy = |ipa, wanted: [u64; 3]| {
        let regs = machine.call(DATA_DESTROY, &[RD, ipa]);
        assert_eq!(regs.0[..3], wanted, "{ipa:#x}");
    };
    machine.init_ram(L3, L3);
    assert_eq!(create(PAGE, 0), 1);
    assert_eq!(create(pa(NEXT), 8), 1);
    assert_eq!(create(pa(NEXT), SHARED), 1);
    assert_eq!(create(pa(NEXT), L2), 4 | 2 << 8);
    for n in 0..3 {
        assert_eq!(create(pa(NEXT + n), n * L3), 0);
        let ripas = if n == 1 { RAM } else { EMPTY };
        machine.expect_entry(n * L3, 3, [3, ASSIGNED, pa(NEXT + n), ripas]);
    }
    assert_eq!(create(pa(NEXT + 3), L3), 4 | 3 << 8);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    assert_eq!(create(pa(NEXT + 3), 6 * L3), 0);

    destroy(8, [1, 0, 0]);
    destroy(SHARED, [1, 0, 0]);
    destroy(L2, [4 | 2 << 8, 0, L1]);
    destroy(3 * L3, [4 | 3 << 8, 0, 6 * L3]);
    machine.fake().invalidated();
    destroy(L3, [0, pa(NEXT + 1), 2 * L3]);
    assert_eq!(machine.fake().invalidated(), [(1, L3..2 * L3)]);
    machine.expect_entry(L3, 3, [3, UNASSIGNED, 0, DESTROYED]);
    destroy(0, [0, pa(NEXT), 2 * L3]);
    machine.expect_entry(0, 3, [3, UNASSIGNED, 0, EMPTY]);
    destroy(2 * L3, [0, pa(NEXT + 2), 6 * L3]);
    destroy(6 * L3, [0, pa(NEXT + 3), L2]);
    // RIPAS stays what it is, and nothing is told of memory that is destroyed.
    assert_eq!(create(pa(NEXT), L3), 0);
    machine.expect_entry(L3, 3, [3, ASSIGNED, 0, DESTROYED]);
    machine.v1_destroy_realm();
}

#[test]
fn blocks_come_by_fold_and_go_by_unfold() {
    let machine = Machine::v1_with_tables();
    let block = BLOCK;
    machine.delegate_each(block, block + L2);
    machine.init_ram(0, L2);
    for offset in (0..L2).step_by(L3 as usize) {
        let args = [RD, block + offset, offset];
        machine.expect(DATA_CREATE_UNKNOWN, args, Status::Success, []);
    }
    let table = pa(FREE + 1);
    machine.expect(Fid::RTT_FOLD, [RD, 0, 3], Status::Success, [table]);
    machine.expect_entry(0, 3, [2, ASSIGNED, block, RAM]);
    // A block is in the way of its pages: the host sees where it begins to be.
    let regs = machine.call(DATA_DESTROY, &[RD, L3]);
    assert_eq!(regs.0[..3], [4 | 2 << 8, 0, L3]);
    machine.expect(Fid::RTT_CREATE, [RD, table, 0, 3], Status::Success, []);
    machine.expect_entry(0, 2, [2, TABLE, table, EMPTY]);
    let regs = machine.call(DATA_DESTROY, &[RD, L3]);
    assert_eq!(regs.0[..3], [0, block + L3, 2 * L3]);
    machine.expect_rtt(Fid::RTT_FOLD, [RD, 0, 3], 3, []);
    let regs = machine.call(Fid::RTT_DESTROY, &[RD, 0, 3]);
    assert_eq!(regs.0[..3], [4 | 3 << 8, 0, 0]);
    assert_eq!(machine.call(Fid::REALM_DESTROY, &[RD]).x(0), 2);
    machine.v1_destroy_realm();
}

#[test]
fn memory_of_the_hosts_is_mapped_by_descriptor() {
    let machine = Machine::v1_with_tables();
    let map = |ipa, level: u64, desc| {
        let regs = machine.call(RTT_MAP_UNPROTECTED, &[RD, ipa, level, desc]);
        regs.x(0)
    };
    let unmap = |ipa, level: u64, wanted: [u64; 2]| {
        let regs = machine.call(RTT_UNMAP_UNPROTECTED, &[RD, ipa, level]);
        assert_eq!(regs.0[..2], wanted, "{ipa:#x} {level}");
    };
    let page = PAGE | WRITE_BACK;
    for level in [0, 4, u64::MAX] {
        assert_eq!(map(SHARED, level, page), 1);
        unmap(SHARED, level, [1, 0]);
    }
    // What is not the host's to say, an address that is not aligned, reserved attributes.
    for bad in [
        page | 1,
        page | 3 << 8,
        page | 1 << 10,
        page | 1 << 55,
        PAGE | 4 << 2,
    ] {
        assert_eq!(map(SHARED, 3, bad), 1, "{bad:#x}");
    }
    assert_eq!(map(SHARED, 3, 1 << 48 | WRITE_BACK), 1);
    assert_eq!(map(SHARED + L2, 2, L3 | WRITE_BACK), 1);
    for (ipa, level) in [(0, 3), (SHARED + 8, 3), (SHARED + L3, 2), (SHARED << 1, 3)] {
        assert_eq!(map(ipa, level, WRITE_BACK), 1, "{ipa:#x}");
        unmap(ipa, level, [1, 0]);
    }
    assert_eq!(map(SHARED + L1, 3, page), 4 | 1 << 8);
    unmap(SHARED + L1, 3, [4 | 1 << 8, SHARED << 1]);

    // Anything can be mapped, a block as well, read-only as well.
    assert_eq!(map(SHARED, 3, page), 0);
    assert_eq!(map(SHARED, 3, page), 4 | 3 << 8);
    machine.expect_entry(SHARED, 3, [3, ASSIGNED, page, EMPTY]);
    assert_eq!(map(SHARED + 4 * L3, 3, UART | 1 << 6), 0);
    assert_eq!(map(SHARED + L2, 2, L2 | WRITE_BACK), 0);
    assert_eq!(map(SHARED, 2, L2 | WRITE_BACK), 4 | 2 << 8);
    assert_eq!(map(SHARED + L1, 1, L1 | WRITE_BACK), 0);

    machine.fake().invalidated();
    unmap(SHARED + L3, 3, [4 | 3 << 8, SHARED + 4 * L3]);
    unmap(SHARED, 2, [4 | 2 << 8, SHARED]);
    unmap(SHARED, 3, [0, SHARED + 4 * L3]);
    unmap(SHARED + 4 * L3, 3, [0, SHARED + L2]);
    unmap(SHARED + L2, 3, [4 | 2 << 8, SHARED + L2]);
    unmap(SHARED + L2, 2, [0, SHARED + L1]);
    unmap(SHARED + L1, 1, [0, SHARED << 1]);
    let pages = [L3, L3, L2, L1];
    let starts = [0, 4 * L3, L2, L1].map(|at| SHARED + at);
    let wanted: Vec<_> = starts
        .iter()
        .zip(pages)
        .map(|(at, n)| (1, *at..at + n))
        .collect();
    assert_eq!(machine.fake().invalidated(), wanted);
    machine.v1_destroy_realm();
}

/// With LPA2 the descriptor has bits 51:50 of the address where the shareability is otherwise.
#[test]
fn descriptors_with_lpa2() {
    let machine = Machine::speaking(Dialect::V1);
    machine.delegate_each(RD, ROOT + L3);
    let mut page = params();
    page[param::FLAGS0] = 1;
    machine.fake().host_write(PAGE, &page);
    machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::Success, []);
    let top = 3 << 8 | 1 << 48 | L1 | WRITE_BACK;
    let map = [RD, SHARED, 1, top];
    machine.expect(RTT_MAP_UNPROTECTED, map, Status::Success, []);
    machine.expect_entry(SHARED, 1, [1, ASSIGNED, top, EMPTY]);
    assert_eq!(
        machine.call(RTT_UNMAP_UNPROTECTED, &[RD, SHARED, 1]).x(0),
        0
    );
    machine.v1_destroy_realm();
}
