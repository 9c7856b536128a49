// SPDX-License-Identifier: GPL-2.0

//! Which tables a realm has.

use super::{
    bitmap::Bitmap,
    chunk::{Bits, CHUNK}, //
};
use crate::{rmi::RttLevel, sys::prelude::*};
use core::ops::Range;

/// A table that is not there: the one at `level` for the block that begins at `ipa`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MissingTable {
    /// Level of the table's entries.
    pub level: RttLevel,
    /// First IPA that the table maps: a multiple of the block size of the level above.
    pub ipa: u64,
}

impl MissingTable {
    /// Its number among all tables that the realm may ever have.
    pub(super) fn number(self) -> u64 {
        number(self)
    }

    /// What the table maps.
    pub fn ipas(&self) -> Range<u64> {
        let size = above(self.level).map_or(u64::MAX, RttLevel::block_size);
        self.ipa..self.ipa.saturating_add(size)
    }
}

/// Bytes of IPA that a table at `level` maps.
pub fn table_size(level: RttLevel) -> u64 {
    level.block_size() << (crate::GRANULE_SHIFT - 3)
}

/// The level above.
pub(super) fn above(level: RttLevel) -> Option<RttLevel> {
    [RttLevel::L0, RttLevel::L1, RttLevel::L2]
        .into_iter()
        .find(|upper| upper.below() == Some(level))
}

/// The tables that a realm has, each a bit by its number: see [`number`]. Several CPUs use it at once.
pub struct TableMap(Bitmap);

/// Where the level of a table stands in its number, above the number that it has at that level. No
/// higher than it takes for the end of an IPA space of 52 bits: each bit costs every look into the
/// array.
const LEVEL_SHIFT: u32 = 53 - (2 * crate::GRANULE_SHIFT - 3);

/// The number of a table.
fn number(table: MissingTable) -> u64 {
    (table.level.raw() << LEVEL_SHIFT) | (table.ipa / table_size(table.level))
}

/// A number, as a chunk and the bit in it.
fn place(table: MissingTable) -> (u64, Bits) {
    let number = number(table);
    (number / CHUNK, Bits(1 << (number % CHUNK)))
}

impl TableMap {
    /// There are none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Bitmap::new().map(Self)
    }

    /// The first table at `level` for `ipa` or what follows it.
    pub fn next_table(&self, level: RttLevel, ipa: u64) -> Option<MissingTable> {
        let table = |number: u64| MissingTable {
            level,
            ipa: (number & ((1 << LEVEL_SHIFT) - 1)) * table_size(level),
        };
        let (from, end) = (
            number(MissingTable { level, ipa }),
            (level.raw() + 1) << LEVEL_SHIFT,
        );
        let mut chunk = from / CHUNK;
        while let Some((found, bits)) = self.0.next(chunk..end / CHUNK) {
            if let Some((first, _)) = bits.and(Bits::of(found, &(from..end))).ends() {
                return Some(table(found * CHUNK + first));
            }
            chunk = found + 1;
        }
        None
    }

    /// How many tables there are at `level`.
    pub fn tables_at(&self, level: RttLevel) -> u64 {
        let (mut tables, mut from) = (0, 0);
        while let Some(table) = self.next_table(level, from) {
            tables += 1;
            from = table.ipa + table_size(level);
        }
        tables
    }

    /// True if the table is in the set.
    pub fn has(&self, table: MissingTable) -> bool {
        let (chunk, bit) = place(table);
        !self.0.get(chunk).and(bit).is_empty()
    }

    /// Makes room for a table. False if there is no memory for that.
    pub fn reserve(&self, table: MissingTable) -> bool {
        self.0.reserve(place(table).0)
    }

    /// Adds a table, for which room was made.
    pub fn insert(&self, table: MissingTable) {
        let (chunk, bit) = place(table);
        self.0.add(chunk, bit);
    }

    /// Takes a table out. There still is room for it.
    pub fn remove(&self, table: MissingTable) {
        let (chunk, bit) = place(table);
        let _ = self.0.remove(chunk, bit);
    }

    /// Any table of that level.
    pub fn any(&self, level: RttLevel) -> Option<MissingTable> {
        self.next_table(level, 0)
    }
}
