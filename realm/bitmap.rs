// SPDX-License-Identifier: GPL-2.0

//! A sparse bitmap: what of a realm's granules is noted as mapped, and which tables it has.
//!
//! The words of chunks that follow each other lie together. One look into the array leads to all of
//! them, and to change one is an atomic operation. There is room for all or for none of them.

use super::{
    chunk::{Bits, CHUNK},
    notes::PageSet,
    tables::{table_size, MissingTable, TableSet}, //
};
use crate::{
    rmi::RttLevel,
    sys::{
        prelude::*,
        sync::atomic::{AtomicU32, Ordering},
        xarray::XArray, //
    }, //
};
use core::ops::Range;

/// Chunks whose words lie together.
const TOGETHER: u64 = 64;

type Together = [AtomicU32; TOGETHER as usize];

/// Words of chunks, most of which are not there.
pub struct Bitmap(XArray<Together>);

impl Bitmap {
    /// Nothing is noted, and there is no room.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        XArray::new().map(Self)
    }

    /// True if there is room to note something of each chunk.
    pub fn has_room(&self, chunks: &Range<u64>) -> bool {
        let mut together = chunks.start / TOGETHER..chunks.end.div_ceil(TOGETHER);
        together.all(|words| self.0.get(words).is_some())
    }

    /// The word of a chunk.
    fn word(&self, chunk: u64) -> Option<&AtomicU32> {
        let words = self.0.get(chunk / TOGETHER)?;
        Some(&words[(chunk % TOGETHER) as usize])
    }
}

impl PageSet for Bitmap {
    fn get(&self, chunk: u64) -> Bits {
        let word = self.word(chunk);
        Bits(word.map_or(0, |word| word.load(Ordering::Acquire)))
    }

    fn reserve(&self, chunk: u64) -> bool {
        if self.word(chunk).is_some() {
            return true;
        }
        let words = core::array::from_fn(|_| AtomicU32::new(0));
        // Another CPU may be faster.
        self.0.insert(chunk / TOGETHER, words).is_ok()
    }

    fn add(&self, chunk: u64, bits: Bits) {
        if let Some(word) = self.word(chunk) {
            word.fetch_or(bits.0, Ordering::AcqRel);
        }
    }

    fn remove(&self, chunk: u64, bits: Bits) -> Bits {
        let word = self.word(chunk);
        Bits(word.map_or(0, |word| word.fetch_and(!bits.0, Ordering::AcqRel))).and(bits)
    }

    fn next(&self, chunks: Range<u64>) -> Option<(u64, Bits)> {
        let mut chunk = chunks.start;
        while chunk < chunks.end {
            let (index, words) = self
                .0
                .next(chunk / TOGETHER..=(chunks.end - 1) / TOGETHER)?;
            let first = index * TOGETHER;
            let from = chunk.saturating_sub(first) as usize;
            for (word, chunk) in words[from..].iter().zip(first + from as u64..chunks.end) {
                match word.load(Ordering::Acquire) {
                    0 => {}
                    word => return Some((chunk, Bits(word))),
                }
            }
            chunk = first + TOGETHER;
        }
        None
    }
}

/// The tables that a realm has, each a bit by its number: see [`number`].
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
}

impl TableSet for TableMap {
    fn has(&self, table: MissingTable) -> bool {
        let (chunk, bit) = place(table);
        !self.0.get(chunk).and(bit).is_empty()
    }

    fn reserve(&self, table: MissingTable) -> bool {
        self.0.reserve(place(table).0)
    }

    fn insert(&self, table: MissingTable) {
        let (chunk, bit) = place(table);
        self.0.add(chunk, bit);
    }

    fn remove(&self, table: MissingTable) {
        let (chunk, bit) = place(table);
        let _ = self.0.remove(chunk, bit);
    }

    fn any(&self, level: RttLevel) -> Option<MissingTable> {
        self.next_table(level, 0)
    }
}
