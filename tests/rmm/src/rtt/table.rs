// SPDX-License-Identifier: GPL-2.0

//! The contents of a table.

use core::sync::atomic::{AtomicU64, Ordering};

use zerocopy::transmute_mut;

use super::{block_size, Entry};
use crate::platform::GranuleData;

/// Entries of a table.
pub const ENTRIES: usize = 512;
/// References to a table whose entries are all in use.
pub const FULL: u16 = 512;
const _: () = assert!(FULL as usize == ENTRIES);

/// A table at some level, and its entries.
///
/// Table walkers read the entries while the RMM writes them, each as a whole: that is why they are
/// atomic. The holder of the granule is the only one to write.
pub struct Table<'a> {
    cells: &'a [AtomicU64; ENTRIES],
    level: i8,
    lpa2: bool,
}

impl<'a> Table<'a> {
    /// The table at `level` in a granule, of stage 2 with FEAT_LPA2 or without.
    pub fn view(data: &'a mut GranuleData, level: i8, lpa2: bool) -> Self {
        Self {
            cells: transmute_mut!(data),
            level,
            lpa2,
        }
    }

    /// The level of the table.
    pub fn level(&self) -> i8 {
        self.level
    }

    /// Entry `index`.
    pub fn get(&self, index: usize) -> Entry {
        let raw = self
            .cells
            .get(index)
            .map_or(0, |c| c.load(Ordering::Relaxed));
        Entry::decode(raw, self.level, self.lpa2)
    }

    /// Replaces entry `index`.
    pub fn set(&self, index: usize, entry: Entry) {
        if let Some(cell) = self.cells.get(index) {
            cell.store(entry.encode(self.level, self.lpa2), Ordering::Relaxed);
        }
    }

    /// Makes entry `index` one that translates nothing, whatever it was.
    pub fn clear(&self, index: usize) {
        if let Some(cell) = self.cells.get(index) {
            cell.store(0, Ordering::Relaxed);
        }
    }

    /// Fills the table with what `parent`, an entry of the level above, stands for.
    pub fn unfold(&self, parent: Entry) {
        let mut bytes = 0u64;
        for index in 0..ENTRIES {
            self.set(index, parent.offset(bytes));
            bytes = bytes.saturating_add(block_size(self.level));
        }
    }

    /// The one entry of the level above that says the same as the whole table. `None` if there is
    /// none: the entries differ, their memory is not in one piece or not aligned, or they are tables.
    pub fn folded(&self) -> Option<Entry> {
        let first = self.get(0);
        if matches!(first, Entry::Table(_) | Entry::Pending(_)) {
            return None;
        }
        let mut bytes = 0u64;
        for index in 0..ENTRIES {
            if self.get(index) != first.offset(bytes) {
                return None;
            }
            bytes = bytes.saturating_add(block_size(self.level));
        }
        let aligned = first
            .memory()
            .is_none_or(|pa| pa.raw() & bytes.wrapping_sub(1) == 0);
        aligned.then_some(first)
    }
}
