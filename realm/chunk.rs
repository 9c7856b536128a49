// SPDX-License-Identifier: GPL-2.0

//! A few neighbouring granules, and those that one block maps.

use crate::rmi::{RttLevel, GRANULE_SIZE};
use core::ops::Range;

/// Granules in a chunk, a power of two: the most single pages that are got at once.
pub const CHUNK: u64 = 32;

/// Granules in a block, a power of two: the most that is faulted in at once.
pub const BLOCK: u64 = RttLevel::L2.block_size() / GRANULE_SIZE;
const _: () = assert!(BLOCK % CHUNK == 0);

/// The number of the chunk that a granule is in.
pub fn chunk_of(gfn: u64) -> u64 {
    gfn / CHUNK
}

/// The number of the block that a granule is in.
pub fn block_of(gfn: u64) -> u64 {
    gfn / BLOCK
}

/// The granules of the block that granule `gfn` is in.
pub fn block_around(gfn: u64) -> Range<u64> {
    let start = gfn & !BLOCK.wrapping_sub(1);
    start..start.saturating_add(BLOCK)
}

/// Some granules of one chunk: bit `n` is the one at `n`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Bits(pub u32);

impl Bits {
    /// The granules of chunk `chunk` that are in `gfns`.
    pub fn of(chunk: u64, gfns: &Range<u64>) -> Self {
        let first = chunk.saturating_mul(CHUNK);
        let place = |gfn: u64| gfn.saturating_sub(first).min(CHUNK);
        let (from, to) = (place(gfns.start), place(gfns.end));
        let below = |n: u64| (1u64 << n).wrapping_sub(1);
        let bits = below(to) & !below(from);
        // `to` is at most 32.
        Self(u32::try_from(bits).unwrap_or(u32::MAX))
    }

    /// Those of `self` that are not in `other`.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Those in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// True if there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The first and the last of them, as places in the chunk.
    pub fn ends(self) -> Option<(u64, u64)> {
        let last = u32::BITS
            .checked_sub(self.0.leading_zeros())?
            .checked_sub(1)?;
        Some((self.0.trailing_zeros().into(), last.into()))
    }
}

/// What to fault in with granule `gfn`: at most `granules` (a power of two, at most [`BLOCK`]) around
/// it, aligned to their number, as far as `slot` has them.
pub fn window(gfn: u64, slot: &Range<u64>, granules: u64) -> Range<u64> {
    let size = granules.clamp(1, BLOCK);
    let start = gfn & !size.wrapping_sub(1);
    let end = start.saturating_add(size);
    start.max(slot.start)..end.min(slot.end)
}
