// SPDX-License-Identifier: GPL-2.0

//! Which part of what the host has mapped in one piece a realm gets for a fault.

use kvm_arm_rmi::mmu::shared::Mapping;
use kvm_arm_rmi::rmi::cmd::unprot::Access;

const BLOCK: u64 = 2 << 20;

fn mapping(size: u64) -> Mapping {
    Mapping {
        ipa: 1 << 30,
        pa: 3 << 30,
        size,
        access: Access::Read,
        replaces: true,
    }
}

fn assert_is(mapping: &Mapping, offset: u64, size: u64) {
    let expected = ((1 << 30) + offset, (3 << 30) + offset, size);
    assert_eq!((mapping.ipa, mapping.pa, mapping.size), expected);
    assert!(mapping.access == Access::Read && mapping.replaces);
}

#[test]
fn of_a_gigabyte_the_block_around_the_fault() {
    for n in [0, 1, 77, 511] {
        for offset in [0, 0x1000, BLOCK - 1] {
            let around = mapping(1 << 30).around((1 << 30) + n * BLOCK + offset);
            assert_is(&around, n * BLOCK, BLOCK);
        }
    }
    for size in [0x1000, BLOCK] {
        assert_is(&mapping(size).around((1 << 30) + 0x800), 0, size);
    }
}

#[test]
fn some_granules_of_a_block() {
    let first = (1 << 30) / 0x1000;
    assert_is(
        &mapping(BLOCK).within(&(first + 3..first + 10)),
        0x3000,
        0x7000,
    );
    assert_is(&mapping(BLOCK).within(&(first..first + 512)), 0, BLOCK);
}
