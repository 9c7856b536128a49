// SPDX-License-Identifier: GPL-2.0

//! RTT_UNPROT_MAP, and what it has in common with RTT_DATA_MAP.

mod common;

use common::realm::{
    desc, list, ns_desc, ASSIGNED, EMPTY, FREE, IPA_BITS, PAGE, RD, ROOT, SHARED, SINGLE,
    WRITE_BACK,
};
use common::{pa, Machine, OWN, UART};
use kvm_arm_rmi::rmi::{Fid, Status};

const L1: u64 = 1 << 30;
const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;
const END: u64 = 1 << IPA_BITS;

/// Some memory.
const DATA: u64 = pa(FREE + 9);

/// Makes a descriptor of memory, number of blocks, and level.
type MakeDesc = fn(u64, u64, i8) -> u64;

/// What differs between the map commands: half of the IPA space, flags, and descriptors.
fn calls() -> [(Fid, u64, u64, MakeDesc); 2] {
    [
        (Fid::RTT_DATA_MAP, 0, 0, desc),
        (Fid::RTT_UNPROT_MAP, SHARED, WRITE_BACK, ns_desc),
    ]
}

#[test]
fn the_host_shares_any_memory_in_any_size() {
    let machine = Machine::with_tables();
    // Twice, devices, nothing at all; the state in the descriptor is not looked at.
    machine.map_shared(SHARED, UART, 2, 3);
    machine.map_shared(SHARED + 2 * L3, UART, 1, 3);
    machine.map_shared(SHARED + L2, 7 * L2, 2, 2);
    machine.map_shared(SHARED + L1, 255 * L1, 1, 1);
    let ipa = SHARED + 3 * L3;
    let args = [RD, ipa, ipa + L3, SINGLE | WRITE_BACK, desc(DATA, 1, 3)];
    machine.expect(Fid::RTT_UNPROT_MAP, args, Status::Success, [ipa + L3]);
    let attributes = 6 << 2 | 3 << 6;
    machine.expect_entry(SHARED, 3, [3, ASSIGNED, UART | attributes, EMPTY]);
    let wanted = [1, ASSIGNED, (255 * L1) | attributes, EMPTY];
    machine.expect_entry(SHARED + L1, 3, wanted);
    // The same again changes nothing; something else is refused.
    machine.map_shared(SHARED, UART, 1, 3);
    for (flags, pa) in [(WRITE_BACK, UART + L3), (WRITE_BACK & !(1 << 19), UART)] {
        let args = [RD, SHARED, SHARED + L3, SINGLE | flags, ns_desc(pa, 1, 3)];
        machine.expect_rtt(Fid::RTT_UNPROT_MAP, args, 3, []);
    }
    machine.destroy_realm();
}

#[test]
fn the_host_chooses_attributes_and_permissions() {
    let machine = Machine::with_tables();
    let mut ipa = SHARED;
    for memattr in 0..8u64 {
        for s2ap in 0..16u64 {
            let flags = SINGLE | memattr << 16 | s2ap << 19;
            let args = [RD, ipa, ipa + L3, flags, ns_desc(0, 1, 3)];
            if s2ap < 4 && memattr != 4 {
                machine.expect(Fid::RTT_UNPROT_MAP, args, Status::Success, [ipa + L3]);
                // Bit 1 allows reads and becomes bit 6; bit 0 allows writes and becomes bit 7.
                let direct = s2ap >> 1 << 6 | (s2ap & 1) << 7;
                machine.expect_entry(ipa, 3, [3, ASSIGNED, memattr << 2 | direct, EMPTY]);
                ipa += L3;
            } else {
                machine.expect(Fid::RTT_UNPROT_MAP, args, Status::ErrorInput, []);
            }
        }
    }
    // Permissions come before the walk, attributes after it.
    let there = SHARED + L1;
    let call = |flags| [RD, there, there + L3, SINGLE | flags, ns_desc(0, 1, 3)];
    machine.expect(Fid::RTT_UNPROT_MAP, call(4 << 19), Status::ErrorInput, []);
    machine.expect_rtt(Fid::RTT_UNPROT_MAP, call(4 << 16), 1, []);
    machine.destroy_realm();
}

#[test]
fn a_range_across_the_halves_is_unprotected_and_has_no_place() {
    let machine = Machine::with_tables();
    let base = SHARED - L1;
    let args = |flags, block| [RD, base, SHARED + L1, SINGLE | flags, block];
    machine.expect(
        Fid::RTT_DATA_MAP,
        args(0, desc(0, 1, 1)),
        Status::ErrorInput,
        [],
    );
    machine.expect_rtt(
        Fid::RTT_UNPROT_MAP,
        args(WRITE_BACK, ns_desc(0, 1, 1)),
        1,
        [],
    );
    machine.destroy_realm();
}

#[test]
fn map_arguments_are_judged_in_order() {
    for (fid, half, flags, desc) in calls() {
        let machine = Machine::with_tables();
        machine.delegate(DATA, 2);
        let good = desc(DATA, 1, 3);
        let call = |args: [u64; 5], status| machine.expect(fid, args, status, []);
        for bad in [0, RD + 8, ROOT, DATA, PAGE] {
            call(
                [bad, half, half + L3, flags | SINGLE, good],
                Status::ErrorInput,
            );
        }
        for (base, top) in [
            (half, half),
            (half + L3, half),
            (half + 8, half + L3),
            (half, half + L3 + 8),
            (half, END + L3),
            (END, END + L3),
            (SHARED - half, SHARED - half + L3),
            (u64::MAX, 0),
            (half, 0),
        ] {
            call([RD, base, top, flags | SINGLE, good], Status::ErrorInput);
        }
        // No memory named: type none or reserved; bad lists.
        for kind in [0, 3] {
            call(
                [RD, half, half + L3, flags | kind, good],
                Status::ErrorInput,
            );
        }
        machine.write_list(0, &[good]);
        for (kind, address) in [
            (list(0), PAGE),
            (list(1), PAGE + 4),
            (list(1), DATA),
            (list(1), OWN.start),
            (list(1), UART),
        ] {
            call(
                [RD, half, half + L3, flags | kind, address],
                Status::ErrorInput,
            );
        }
        // Blocks of 512 GiB; an IPA that is not aligned to the block.
        for (size, base) in [(0, half), (2, half + L3)] {
            let block = (desc(0, 1, 3) & !3) | (3 - size);
            call(
                [RD, base, base + L1, flags | SINGLE, block],
                Status::ErrorInput,
            );
        }
        // A range smaller than the block; a walk that ends too early, or passes by.
        let rtt = |base, top, block, level| {
            let args = [RD, base, top, flags | SINGLE, block];
            machine.expect_rtt(fid, args, level, []);
        };
        rtt(half + L2, half + L2 + L3, desc(0, 1, 2), 2);
        rtt(half + L2, half + L2 + L3, good, 2);
        rtt(half + L1, half + L1 + L3, good, 1);
        rtt(half, half + L2, desc(0, 1, 2), 2);
        rtt(half, half + L1, desc(0, 1, 1), 1);
        // Out of reach, not aligned, none.
        for block in [desc(1 << 48, 1, 3), desc(0, 0, 3)] {
            call(
                [RD, half, half + L3, flags | SINGLE, block],
                Status::ErrorInput,
            );
        }
        let block = desc(L3, 1, 2);
        let base = half + L2;
        call(
            [RD, base, base + L2, flags | SINGLE, block],
            Status::ErrorInput,
        );

        machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
        machine.expect(
            fid,
            [RD, half, half + L3, flags | SINGLE, good],
            Status::Success,
            [half + L3],
        );
        machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
        // The state of the realm comes before the range.
        call([RD, half, half, flags, good], Status::ErrorRealm);
    }
}
