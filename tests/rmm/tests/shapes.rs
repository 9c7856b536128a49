// SPDX-License-Identifier: GPL-2.0

//! IPA spaces of all widths: where tables may start, with FEAT_LPA2 and without, and that both halves can
//! be used to their ends.

mod common;

use common::realm::{
    desc, ns_desc, param, params, ASSIGNED, EMPTY, PAGE, RD, SINGLE, TABLE, UNASSIGNED, WRITE_BACK,
};
use common::{pa, Machine, MMFR0_48_BITS};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Status, GRANULE_SIZE};
use rmm::rec::Context;
use rmm::rtt::{block_size, Entry, NsAttributes, Ripas, Stage2};

/// Where a realm's tables start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shape {
    bits: u64,
    level: i8,
    roots: u64,
    lpa2: bool,
}

/// The root tables, enough of them.
const ROOTS: u64 = pa(32);
/// Tables and memory.
const FREE: u64 = 64;

/// Widths, levels and numbers of tables that go together, from the tables of the architecture for 4 KiB
/// granules.
const TOGETHER: [(u64, i8, u64); 9] = [
    (32, 2, 4),
    (32, 1, 1),
    (36, 1, 1),
    (39, 1, 1),
    (40, 1, 2),
    (43, 1, 16),
    (40, 0, 1),
    (43, 0, 1),
    (48, 0, 1),
];
/// The same where it takes FEAT_LPA2.
const WITH_LPA2: [(u64, i8, u64); 6] = [
    (49, 0, 2),
    (50, 0, 4),
    (52, 0, 16),
    (49, -1, 1),
    (50, -1, 1),
    (52, -1, 1),
];

fn shapes() -> impl Iterator<Item = Shape> {
    let shape = |lpa2| {
        move |(bits, level, roots)| Shape {
            bits,
            level,
            roots,
            lpa2,
        }
    };
    let without = TOGETHER.into_iter().map(shape(false));
    let with = TOGETHER.into_iter().chain(WITH_LPA2).map(shape(true));
    without.chain(with)
}

/// What REALM_CREATE says.
fn create(machine: &Machine, shape: Shape) -> u64 {
    let mut page = params();
    page[param::FLAGS0] = shape.lpa2.into();
    page[param::S2SZ] = shape.bits;
    page[param::RTT_BASE] = ROOTS;
    page[param::RTT_LEVEL_START] = shape.level as u64;
    page[param::RTT_NUM_START] = shape.roots;
    machine.fake().host_write(PAGE, &page);
    machine.call(Fid::REALM_CREATE, &[RD, PAGE]).x(0)
}

fn destroy(machine: &Machine) {
    machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
    machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
}

/// A machine whose host has delegated what it takes.
fn ready() -> Machine {
    let machine = Machine::active();
    machine.delegate(RD, 1);
    machine.delegate(ROOTS, 16);
    machine
}

#[test]
fn tables_start_where_the_architecture_lets_them() {
    let machine = ready();
    let good: Vec<Shape> = shapes().collect();
    let mut accepted = 0;
    for bits in [32, 36, 39, 40, 43, 48, 49, 50, 52] {
        for level in -2..=4 {
            for roots in [0, 1, 2, 4, 8, 16, 32] {
                for lpa2 in [false, true] {
                    let shape = Shape {
                        bits,
                        level,
                        roots,
                        lpa2,
                    };
                    let wanted = u64::from(!good.contains(&shape));
                    assert_eq!(create(&machine, shape), wanted, "{shape:?}");
                    if wanted == 0 {
                        accepted += 1;
                        destroy(&machine);
                    }
                }
            }
        }
    }
    assert_eq!(accepted, good.len());
    machine.undelegate_all();
}

#[test]
fn without_lpa2_there_are_48_bits() {
    let machine = ready();
    machine.fake().set_mmfr0(MMFR0_48_BITS);
    machine.expect(Fid::FEATURES, [0], Status::Success, [0x31_4030]);
    for shape in shapes() {
        let wanted = u64::from(shape.lpa2);
        assert_eq!(create(&machine, shape), wanted, "{shape:?}");
        if wanted == 0 {
            destroy(&machine);
        }
    }
    machine.undelegate_all();
}

/// Makes the tables below the root for `ipa`, of granules from `first` on, and looks at each.
fn make_tables(machine: &Machine, shape: Shape, first: u64, ipa: u64) {
    let start = shape.level;
    // The walk ends at the root, whatever is looked up.
    machine.expect_entry(ipa, 3, [start as u64, UNASSIGNED, 0, EMPTY]);
    if start < 2 {
        let args = [RD, pa(first), ipa & !(block_size(2) - 1), 3];
        machine.expect_rtt(Fid::RTT_CREATE, args, u64::from(start as u8), []);
    }
    for (n, level) in (first..).zip(start + 1..=3) {
        let base = ipa & !(block_size(level - 1) - 1);
        machine.create_table_again(pa(n), base, level as u64);
        let above = (level - 1) as u64;
        machine.expect_entry(base, above, [above, TABLE, pa(n), EMPTY]);
    }
    machine.expect_entry(ipa, 3, [3, UNASSIGNED, 0, EMPTY]);
}

/// Destroys them, of which each is told; the next thing that is mapped comes after the table above.
fn destroy_tables(machine: &Machine, shape: Shape, first: u64, ipa: u64) {
    for level in (shape.level + 1..=3).rev() {
        let n = first + (level - shape.level - 1) as u64;
        let base = ipa & !(block_size(level - 1) - 1);
        let regs = machine.call(Fid::RTT_DESTROY, &[RD, base, level as u64]);
        assert_eq!(regs.0[..2], [0, pa(n)], "{shape:?}");
        let table = block_size(level - 1) << 9;
        assert_eq!(regs.x(2), (ipa & !(table - 1)) + table, "{shape:?}");
    }
}

#[test]
fn both_halves_can_be_used_to_their_ends() {
    for shape in shapes() {
        let machine = ready();
        machine.delegate(pa(FREE), 16);
        assert_eq!(create(&machine, shape), 0, "{shape:?}");
        let size = 1 << shape.bits;
        let half = size / 2;
        let (private, shared) = (half - GRANULE_SIZE, size - GRANULE_SIZE);
        make_tables(&machine, shape, FREE, private);
        // Both ends may have tables in common at level 2 at most.
        make_tables(&machine, shape, FREE + 4, shared);

        let memory = pa(FREE + 10);
        machine.init_ram(private, GRANULE_SIZE);
        machine.map(private, memory, 1, 3);
        machine.expect_entry(private, 3, [3, ASSIGNED, memory, 1]);
        // Whatever the host has, its own memory or not, and the RMM does not: the GPT decides.
        let limit = 1 << if shape.lpa2 { 52 } else { 48 };
        let far = limit - GRANULE_SIZE;
        machine.map_shared(shared, far, 1, 3);
        let memattr = 6 << 2 | 3 << 6;
        machine.expect_entry(shared, 3, [3, ASSIGNED, far | memattr, EMPTY]);

        // Beyond the ends, and across.
        let map = |ipa, word| [RD, ipa, ipa + GRANULE_SIZE, SINGLE, word];
        for ipa in [half, size, 1 << 52] {
            let args = map(ipa, desc(pa(FREE + 11), 1, 3));
            machine.expect(Fid::RTT_DATA_MAP, args, Status::ErrorInput, []);
        }
        for ipa in [private, size, 1 << 52] {
            let mut args = map(ipa, ns_desc(0, 1, 3));
            args[3] |= WRITE_BACK;
            machine.expect(Fid::RTT_UNPROT_MAP, args, Status::ErrorInput, []);
        }
        for ipa in [size, 1 << 52] {
            let args = [RD, ipa, 3];
            machine.expect(Fid::RTT_READ_ENTRY, args, Status::ErrorInput, []);
        }

        let top = shared + GRANULE_SIZE;
        let args = [RD, shared, top, SINGLE, 0];
        let regs = machine.call(Fid::RTT_UNPROT_UNMAP, &args);
        assert_eq!(regs.0[..3], [0, top, far | 1 << 2], "{shape:?}");
        let args = [RD, private, half, SINGLE, 0];
        let results = [half, memory | 1 << 2];
        machine.expect(Fid::RTT_DATA_UNMAP, args, Status::Success, results);

        destroy_tables(&machine, shape, FREE + 4, shared);
        destroy_tables(&machine, shape, FREE, private);
        destroy(&machine);
        machine.undelegate_all();
    }
}

/// Without FEAT_LPA2 a descriptor has no room for more than 48 bits.
#[test]
fn memory_beyond_48_bits_takes_lpa2() {
    for lpa2 in [false, true] {
        let machine = ready();
        machine.delegate(pa(FREE), 16);
        let shape = Shape {
            bits: 40,
            level: 1,
            roots: 2,
            lpa2,
        };
        assert_eq!(create(&machine, shape), 0);
        let shared = (1 << 40) - (2 << 20);
        make_tables(&machine, shape, FREE, shared);
        let map = |base, level| {
            let top = shared + block_size(level);
            let args = [
                RD,
                shared,
                top,
                SINGLE | WRITE_BACK,
                ns_desc(base, 1, level),
            ];
            machine.call(Fid::RTT_UNPROT_MAP, &args).x(0)
        };
        assert_eq!(map(1 << 48, 3), u64::from(!lpa2));
        machine.expect(Fid::REALM_TERMINATE, [RD], Status::Success, []);
        destroy_tables(&machine, shape, FREE, shared);
        machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
        machine.undelegate_all();
    }
}

/// What the hardware reads: OA\[51:50\] in bits 9:8 instead of the shareability, the rest in place.
#[test]
fn descriptors_are_those_of_the_architecture() {
    let far = PhysAddr::new(0xe_dcba_9876_5000);
    let near = PhysAddr::new(0xdcba_9876_5000);
    let shared = NsAttributes::new(6, true, true);
    let in_place = 0x2_dcba_9876_5000;
    for (entry, level, wanted) in [
        (Entry::Table(far), -1, in_place | 3 << 8 | 3),
        (Entry::Table(far), 2, in_place | 3 << 8 | 3),
        (
            Entry::Assigned(Ripas::Ram, far),
            3,
            in_place | 1 << 10 | 3 << 8 | 3 << 6 | 6 << 2 | 3,
        ),
        (
            Entry::AssignedNs(shared, far),
            2,
            1 << 55 | 2 << 53 | in_place | 1 << 10 | 3 << 8 | 3 << 6 | 6 << 2 | 1,
        ),
    ] {
        let raw = entry.encode(level, true);
        assert_eq!(raw, wanted, "{entry:?}: {raw:#x}");
        assert_eq!(Entry::decode(raw, level, true), entry);
    }
    for lpa2 in [false, true] {
        let shareability = if lpa2 { 0 } else { 3 << 8 };
        let raw = Entry::Assigned(Ripas::Ram, near).encode(3, lpa2);
        let wanted = near.raw() | 1 << 10 | shareability | 3 << 6 | 6 << 2 | 3;
        assert_eq!(raw, wanted, "{raw:#x}");
    }
    for ripas in [Ripas::Empty, Ripas::Destroyed] {
        let entry = Entry::Assigned(ripas, far);
        let raw = entry.encode(3, true);
        assert_eq!((Entry::decode(raw, 3, true), raw & 1), (entry, 0));
    }
}

/// VTCR_EL2 and VTTBR_EL2, which the hardware starts its walks by.
#[test]
fn registers_say_where_walks_start() {
    for shape in shapes() {
        let stage2 = Stage2 {
            root: PhysAddr::new(0xc_0000_8765_0000),
            roots: shape.roots as u8,
            start_level: shape.level,
            ipa_bits: shape.bits as u8,
            lpa2: shape.lpa2,
            vmid: 0x1234,
        };
        let el2 = Context::at_reset(0, 0, [0; 8], &stage2, None).el2;
        let field = |low: u32, bits: u32| el2.vtcr_el2 >> low & ((1 << bits) - 1);
        let (sl2, sl0) = match shape.level {
            -1 => (1, 0),
            0 => (0, 2),
            1 => (0, 1),
            _ => (0, 0),
        };
        assert_eq!(field(0, 6), 64 - shape.bits, "T0SZ {shape:?}");
        assert_eq!(field(6, 2), sl0, "SL0 {shape:?}");
        assert_eq!(field(12, 2), 3, "SH0 {shape:?}");
        assert_eq!(field(32, 1), u64::from(shape.lpa2), "DS {shape:?}");
        assert_eq!(field(33, 1), sl2, "SL2 {shape:?}");
        assert_eq!(el2.vttbr_el2, 0x1234_0000_8765_0000 | 0xc << 2);
    }
}
