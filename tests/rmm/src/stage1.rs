// SPDX-License-Identifier: GPL-2.0

//! The translation tables that the RMM itself runs on: descriptors and their arithmetic.
//!
//! 4 KiB granules and 39-bit virtual addresses, hence three levels: entries of level 1, 2 and 3
//! cover 1 GiB, 2 MiB and 4 KiB. [`Mapper`] adds to live tables, and only where there was nothing,
//! so that no translation that a CPU may have cached ever changes.

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr};

/// Bits of a virtual address.
pub const VA_BITS: u32 = 39;

/// Entries of a table.
const ENTRIES: usize = 512;
/// The bits of a shifted address that are the number of an entry.
const INDEX: usize = ENTRIES - 1;
/// The level whose entries map pages.
const LAST_LEVEL: u32 = 3;

/// Descriptor: valid.
const VALID: u64 = 1 << 0;
/// Descriptor, levels 1 and 2: points to a table, else it maps a block. Level 3: always set.
const TABLE: u64 = 1 << 1;
/// Descriptor, position of the index into MAIR_EL2.
const ATTR_INDEX_SHIFT: u32 = 2;
/// Descriptor: the output is in the Non-secure physical address space, else in the Realm one.
const NON_SECURE: u64 = 1 << 5;
/// Descriptor: inner shareable.
const INNER_SHAREABLE: u64 = 3 << 8;
/// Descriptor: accessed.
const ACCESSED: u64 = 1 << 10;
/// Descriptor: not executable, privileged and unprivileged.
const NO_EXECUTE: u64 = 3 << 53;
/// Descriptor: the output address or the address of the next table.
const ADDRESS: u64 = 0x0000_ffff_ffff_f000;

/// MAIR_EL2: attribute 0 is normal memory, write-back; attribute 1 is Device-nGnRE.
pub const MAIR: u64 = 0x04_ff;

/// What a mapping is for. All are readable and writable, and not executable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Memory {
    /// Memory in the Realm physical address space.
    Realm,
    /// Memory in the Non-secure physical address space.
    NonSecure,
    /// Registers of a device, in the Realm physical address space.
    Device,
}

impl Memory {
    fn attributes(self) -> u64 {
        let kind = match self {
            Memory::Realm => 0,
            Memory::NonSecure => NON_SECURE,
            Memory::Device => 1 << ATTR_INDEX_SHIFT,
        };
        VALID | ACCESSED | INNER_SHAREABLE | NO_EXECUTE | kind
    }
}

/// Why something could not be mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MapError {
    /// Part of the virtual range is mapped already, or not below [`VA_BITS`] bits.
    Occupied,
    /// No table is left in the pool.
    NoTable,
}

/// One translation table.
#[derive(Clone)]
#[repr(C, align(4096))]
pub struct Table([u64; ENTRIES]);

impl Table {
    /// A table that maps nothing.
    pub const EMPTY: Self = Self([0; ENTRIES]);

    /// The descriptors.
    pub fn entries(&self) -> &[u64] {
        &self.0
    }
}

/// Adds mappings to a tree of tables.
pub struct Mapper<'a> {
    root: &'a mut Table,
    pool: &'a mut [Table],
    pool_pa: PhysAddr,
    used: usize,
}

/// A table of the tree: the root, or one of the pool by its number.
#[derive(Clone, Copy)]
enum Node {
    Root,
    Pool(usize),
}

impl<'a> Mapper<'a> {
    /// A mapper for the level 1 table `root`, which takes the tables that it needs from `pool`, the
    /// physical address of which is `pool_pa`. The tables in `pool` are empty.
    pub fn new(root: &'a mut Table, pool: &'a mut [Table], pool_pa: PhysAddr) -> Self {
        Self {
            root,
            pool,
            pool_pa,
            used: 0,
        }
    }

    /// Maps `range` at its physical address plus `offset`, in the largest blocks that fit.
    ///
    /// The caller makes the change visible to the table walkers before it uses it.
    ///
    /// # Errors
    ///
    /// [`MapError::Occupied`] if part of it cannot be mapped there, [`MapError::NoTable`] if the
    /// pool is empty. What lies below the place of the error is mapped.
    pub fn map(&mut self, range: AddrRange, offset: u64, memory: Memory) -> Result<(), MapError> {
        let top = range.top().raw();
        let mut pa = range.base().raw();
        while pa < top {
            let va = pa.checked_add(offset).ok_or(MapError::Occupied)?;
            let left = top.wrapping_sub(pa);
            let fits = |level: &u32| (va | pa) & mask(*level) == 0 && mask(*level) < left;
            let level = (1..LAST_LEVEL).find(fits).unwrap_or(LAST_LEVEL);
            self.map_one(va, pa, level, memory)?;
            pa = pa.saturating_add(mask(level)).saturating_add(1);
        }
        Ok(())
    }

    /// Maps one block or page, for which there is an entry at `level`.
    ///
    /// # Errors
    ///
    /// As [`Self::map`].
    fn map_one(&mut self, va: u64, pa: u64, level: u32, memory: Memory) -> Result<(), MapError> {
        if va >> VA_BITS != 0 {
            return Err(MapError::Occupied);
        }
        let mut node = Node::Root;
        for above in 1..level {
            node = self.descend(node, va, above)?;
        }
        let entry = self.entry(node, va, level)?;
        if *entry != 0 {
            return Err(MapError::Occupied);
        }
        let kind = if level == LAST_LEVEL { TABLE } else { 0 };
        *entry = (pa & ADDRESS) | memory.attributes() | kind;
        Ok(())
    }

    /// The table below the entry of `node` for `va`, which is made if there is none.
    ///
    /// # Errors
    ///
    /// As [`Self::map`].
    fn descend(&mut self, node: Node, va: u64, level: u32) -> Result<Node, MapError> {
        let found = *self.entry(node, va, level)?;
        if found != 0 {
            // A block, or a table that is not from the pool, would be in the way.
            return (0..self.used)
                .find(|n| self.link(*n) == Some(found))
                .map(Node::Pool)
                .ok_or(MapError::Occupied);
        }
        let new = self.used;
        let link = self.link(new).ok_or(MapError::NoTable)?;
        *self.entry(node, va, level)? = link;
        self.used = new.saturating_add(1);
        Ok(Node::Pool(new))
    }

    /// The descriptor that points to table `n` of the pool, if there is one.
    fn link(&self, n: usize) -> Option<u64> {
        self.pool.get(n)?;
        let offset = u64::try_from(n.checked_mul(size_of::<Table>())?).ok()?;
        let pa = self.pool_pa.raw().checked_add(offset)?;
        Some((pa & ADDRESS) | TABLE | VALID)
    }

    /// The entry for `va` in the table `node` of `level`.
    ///
    /// # Errors
    ///
    /// [`MapError::NoTable`] if there is no such table.
    fn entry(&mut self, node: Node, va: u64, level: u32) -> Result<&mut u64, MapError> {
        let table = match node {
            Node::Root => Some(&mut *self.root),
            Node::Pool(n) => self.pool.get_mut(n),
        };
        let index = usize::try_from(va >> shift(level)).map_err(|_| MapError::Occupied)?;
        table
            .and_then(|table| table.0.get_mut(index & INDEX))
            .ok_or(MapError::NoTable)
    }
}

/// log2 of the bytes that an entry of `level` covers.
const fn shift(level: u32) -> u32 {
    match level {
        1 => 30,
        2 => 21,
        _ => 12,
    }
}

/// The bits of an address inside what an entry of `level` covers.
const fn mask(level: u32) -> u64 {
    !(u64::MAX << shift(level))
}
