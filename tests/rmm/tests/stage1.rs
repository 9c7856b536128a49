// SPDX-License-Identifier: GPL-2.0

//! The RMM's own translation tables: what is mapped is what was asked for.

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr};
use rmm::stage1::{MapError, Mapper, Memory, Table};

const POOL_PA: u64 = 0x4040_0000;
const OFFSET: u64 = 1 << 37;
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

fn range(base: u64, top: u64) -> AddrRange {
    AddrRange::new(PhysAddr::new(base), PhysAddr::new(top)).unwrap()
}

/// A tree of tables with a pool of `n`.
struct Tree {
    root: Box<Table>,
    pool: Vec<Table>,
}

impl Tree {
    fn new(n: usize) -> Self {
        Self {
            root: Box::new(Table::EMPTY),
            pool: vec![Table::EMPTY; n],
        }
    }

    fn mapper(&mut self) -> Mapper<'_> {
        Mapper::new(&mut self.root, &mut self.pool, PhysAddr::new(POOL_PA))
    }

    /// Translates `va` as a CPU would: the output address, and the descriptor that gave it.
    fn walk(&self, va: u64) -> Option<(u64, u64)> {
        let mut table = &*self.root;
        for shift in [30, 21, 12] {
            let descriptor = table.entries()[(va >> shift & 511) as usize];
            if descriptor & 1 == 0 {
                return None;
            }
            let inside = va & ((1 << shift) - 1);
            if shift == 12 || descriptor & 2 == 0 {
                return Some(((descriptor & ADDRESS) + inside, descriptor));
            }
            table = &self.pool[((descriptor & ADDRESS) - POOL_PA) as usize / 4096];
        }
        None
    }
}

#[test]
fn ranges_are_mapped_from_end_to_end() {
    // The memory of QEMU virt below and above the RMM's own.
    let parts = [
        range(0x4000_0000, 0x4010_0000),
        range(0x4190_0000, 0x1_0000_0000),
    ];
    let mut tree = Tree::new(3);
    let mut mapper = tree.mapper();
    for part in parts {
        mapper.map(part, OFFSET, Memory::Realm).unwrap();
    }
    for part in parts {
        let (base, top) = (part.base().raw(), part.top().raw());
        for pa in [base, base + 0x1234, top - 1] {
            assert_eq!(tree.walk(OFFSET + pa).map(|(pa, _)| pa), Some(pa));
        }
        assert_eq!(tree.walk(OFFSET + base - 1), None);
        assert_eq!(tree.walk(OFFSET + top), None);
        assert_eq!(tree.walk(base), None);
    }
}

#[test]
fn attributes_say_what_the_memory_is() {
    let page = range(0x4000_0000, 0x4000_1000);
    for (memory, non_secure, attribute) in [
        (Memory::Realm, 0, 0),
        (Memory::NonSecure, 1, 0),
        (Memory::Device, 0, 1),
    ] {
        let mut tree = Tree::new(2);
        tree.mapper().map(page, OFFSET, memory).unwrap();
        let (_, descriptor) = tree.walk(OFFSET + 0x4000_0000).unwrap();
        assert_eq!(descriptor >> 5 & 1, non_secure, "{memory:?}");
        assert_eq!(descriptor >> 2 & 7, attribute, "{memory:?}");
        assert_eq!(descriptor >> 53 & 3, 3, "{memory:?}: never executable");
        assert_eq!(descriptor >> 10 & 1, 1, "{memory:?}: accessed");
    }
}

#[test]
fn nothing_is_mapped_twice() {
    let mut tree = Tree::new(4);
    let mut mapper = tree.mapper();
    let block = range(0x4000_0000, 0x4020_0000);
    let page = range(0x4000_1000, 0x4000_2000);
    mapper.map(block, OFFSET, Memory::Realm).unwrap();
    assert_eq!(
        mapper.map(block, OFFSET, Memory::Realm),
        Err(MapError::Occupied)
    );
    assert_eq!(
        mapper.map(page, OFFSET, Memory::Realm),
        Err(MapError::Occupied)
    );
    mapper.map(page, 2 * OFFSET, Memory::Realm).unwrap();
    assert_eq!(
        mapper.map(block, 2 * OFFSET, Memory::Realm),
        Err(MapError::Occupied)
    );
}

#[test]
fn addresses_beyond_the_address_space_are_refused() {
    let mut tree = Tree::new(4);
    let mut mapper = tree.mapper();
    let page = range(0x4000_0000, 0x4000_1000);
    for offset in [1 << 39, u64::MAX - 0xfff] {
        assert_eq!(
            mapper.map(page, offset, Memory::Realm),
            Err(MapError::Occupied)
        );
    }
}

#[test]
fn an_empty_pool_is_an_error() {
    let mut tree = Tree::new(1);
    let page = range(0x4000_0000, 0x4000_1000);
    assert_eq!(
        tree.mapper().map(page, OFFSET, Memory::Realm),
        Err(MapError::NoTable)
    );
    // Blocks of level 1 need none.
    let mut tree = Tree::new(0);
    tree.mapper()
        .map(range(1 << 30, 3 << 30), OFFSET, Memory::NonSecure)
        .unwrap();
    assert_eq!(
        tree.walk(OFFSET + (3 << 30) - 1).map(|(pa, _)| pa),
        Some((3 << 30) - 1)
    );
}
