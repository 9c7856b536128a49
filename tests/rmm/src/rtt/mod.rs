// SPDX-License-Identifier: GPL-2.0

//! Stage 2 of a realm: the realm translation tables (RTTs).
//!
//! The lower half of the IPA space is protected: what is there belongs to the realm. The upper half
//! is unprotected, and maps memory of the host's. The host provides every table, and decides which
//! tables there are; the RMM decides what is in them.
//!
//! A table is a granule in state [`Rtt`](crate::granule::Rtt). Its references count its entries
//! that hold on to something of the realm's: tables, memory of the realm's, and entries that a
//! stateful operation has reserved. Memory of the host's is not counted, because the granule
//! protection table keeps the realm from it once the host has delegated it.

mod entry;
mod ipa;
mod table;
mod walk;

use core::ops::Range;

use kvm_arm_rmi::rmi::{PhysAddr, GRANULE_SIZE};

pub use entry::{Entry, Hipas, NsAttributes, Ripas};
pub use ipa::Absent;
pub use table::{Table, ENTRIES, FULL};
pub use walk::Walk;

/// Level of the tables whose entries map granules.
pub const LAST_LEVEL: i8 = 3;
/// Lowest level at which an entry can map memory: blocks of 1 GiB.
pub const MIN_BLOCK_LEVEL: i8 = 1;
/// Lowest level that tables can start at, with FEAT_LPA2.
pub const MIN_START_LEVEL: i8 = -1;
/// Binary logarithm of [`ENTRIES`].
const TABLE_SHIFT: u32 = 9;

/// Bytes that an entry of a table at `level`, -1 to 3, stands for.
pub fn block_size(level: i8) -> u64 {
    1 << block_shift(level)
}

/// Binary logarithm of [`block_size`].
fn block_shift(level: i8) -> u32 {
    let below = u32::from(LAST_LEVEL.abs_diff(level));
    GRANULE_SIZE
        .trailing_zeros()
        .saturating_add(below.saturating_mul(TABLE_SHIFT))
}

/// The stage 2 translation of a realm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stage2 {
    /// The first root table. The others follow it.
    pub root: PhysAddr,
    /// Number of root tables, at most 16.
    pub roots: u8,
    /// Level of the root tables.
    pub start_level: i8,
    /// Bits of an IPA.
    pub ipa_bits: u8,
    /// The tables are those of FEAT_LPA2: addresses in them have 52 bits.
    pub lpa2: bool,
    /// The VMID that the TLBs know the realm by.
    pub vmid: u16,
}

impl Stage2 {
    /// Bytes of the IPA space.
    pub fn ipa_size(&self) -> u64 {
        1u64.checked_shl(u32::from(self.ipa_bits)).unwrap_or(0)
    }

    /// Bytes of the protected half of the IPA space, which is the lower one.
    pub fn protected_size(&self) -> u64 {
        self.ipa_size() >> 1
    }

    /// First address after those that its tables can hold.
    pub fn pa_limit(&self) -> u64 {
        1 << if self.lpa2 { 52 } else { 48 }
    }

    /// True if `ipa` is in the protected half of the IPA space.
    pub fn is_protected(&self, ipa: u64) -> bool {
        ipa < self.protected_size()
    }

    /// True if `ipa` is in the IPA space and where an entry of a table at `level` can start.
    pub fn is_block(&self, ipa: u64, level: i8) -> bool {
        ipa < self.ipa_size() && ipa & block_size(level).wrapping_sub(1) == 0
    }

    /// The root tables.
    pub fn root_tables(&self) -> impl Iterator<Item = PhysAddr> {
        tables(self.root, u64::from(self.roots))
    }

    /// The root table with the entry for `ipa`.
    fn root_for(&self, ipa: u64) -> PhysAddr {
        let table = ipa >> block_shift(self.start_level) >> TABLE_SHIFT;
        PhysAddr::new(
            self.root
                .raw()
                .saturating_add(table.saturating_mul(GRANULE_SIZE)),
        )
    }
}

/// What covers both ranges of IPA.
pub(crate) fn span(one: Option<Range<u64>>, other: Range<u64>) -> Range<u64> {
    one.map_or(other.clone(), |one| {
        one.start.min(other.start)..one.end.max(other.end)
    })
}

/// `count` granules from `first` on.
pub fn tables(first: PhysAddr, count: u64) -> impl Iterator<Item = PhysAddr> {
    (0..count)
        .map(move |n| PhysAddr::new(first.raw().saturating_add(n.saturating_mul(GRANULE_SIZE))))
}
