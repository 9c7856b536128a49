// SPDX-License-Identifier: GPL-2.0

//! A sparse bitmap: what of a realm's granules is noted as mapped, and which tables it has.
//!
//! The words of chunks that follow each other lie together. One look into the array leads to all of
//! them, and to change one is an atomic operation. There is room for all or for none of them.

use super::chunk::Bits;
use crate::sys::{
    prelude::*,
    sync::atomic::{AtomicU32, Ordering},
    xarray::XArray, //
};
use core::ops::Range;

/// Chunks whose words lie together.
const TOGETHER: u64 = 64;

type Together = [AtomicU32; TOGETHER as usize];

/// Words of chunks, most of which are not there. Several CPUs may change them at once, also in the same
/// chunk.
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

    /// The word of a chunk.
    fn word(&self, chunk: u64) -> Option<&AtomicU32> {
        let words = self.0.get(chunk / TOGETHER)?;
        Some(&words[(chunk % TOGETHER) as usize])
    }

    /// What is noted of a chunk.
    pub fn get(&self, chunk: u64) -> Bits {
        let word = self.word(chunk);
        Bits(word.map_or(0, |word| word.load(Ordering::Acquire)))
    }

    /// Makes room to note something of a chunk. False if there is no memory for that.
    pub fn reserve(&self, chunk: u64) -> bool {
        if self.word(chunk).is_some() {
            return true;
        }
        let words = core::array::from_fn(|_| AtomicU32::new(0));
        // Another CPU may be faster.
        self.0.insert(chunk / TOGETHER, words).is_ok()
    }

    /// Notes something of a chunk. False if there is no room, which for those that were
    /// [reserved](Self::reserve) once there always is.
    pub fn add(&self, chunk: u64, bits: Bits) -> bool {
        let word = self.word(chunk);
        word.map(|word| word.fetch_or(bits.0, Ordering::AcqRel)).is_some()
    }

    /// Strikes out something of a chunk; returns what of that was noted.
    pub fn remove(&self, chunk: u64, bits: Bits) -> Bits {
        let word = self.word(chunk);
        Bits(word.map_or(0, |word| word.fetch_and(!bits.0, Ordering::AcqRel))).and(bits)
    }

    /// The first of `chunks` of which something is noted.
    pub fn next(&self, chunks: Range<u64>) -> Option<(u64, Bits)> {
        let mut chunk = chunks.start;
        while chunk < chunks.end {
            let (from, last) = (chunk / TOGETHER, (chunks.end - 1) / TOGETHER);
            let (index, words) = match from == last {
                // Which is cheaper.
                true => (from, self.0.get(from)?),
                false => self.0.next(from..=last)?,
            };
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
