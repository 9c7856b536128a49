// SPDX-License-Identifier: GPL-2.0

//! Which granules of a realm are mapped.

use super::chunk::{chunk_of, Bits, CHUNK};
use crate::rmi::{RttLevel, GRANULE_SIZE};
use core::ops::Range;

/// The granules that are mapped, by chunks. What is said of one chunk is said by one CPU at a time.
pub trait PageSet {
    /// Those of a chunk.
    fn get(&self, chunk: u64) -> Bits;

    /// Makes room to say something about a chunk. False if there is no memory for that.
    fn reserve(&self, chunk: u64) -> bool;

    /// Says which granules of a chunk are mapped. For those that were [reserved](Self::reserve)
    /// once it cannot fail.
    fn set(&self, chunk: u64, bits: Bits);

    /// The first of `chunks` of which something is mapped.
    fn next(&self, chunks: Range<u64>) -> Option<(u64, Bits)>;
}

/// Granules that the tables of the lowest level map each.
const PER_TABLE: u64 = RttLevel::L2.block_size() / GRANULE_SIZE;

/// The first granules of `gfns` that one command can unmap: they begin and end with one that is
/// mapped, and are in one table. `None` if nothing of the range is mapped.
pub fn next_span(set: &impl PageSet, gfns: &Range<u64>) -> Option<Range<u64>> {
    let mut span: Option<Range<u64>> = None;
    let mut chunk = chunk_of(gfns.start);
    let mut end = gfns.end;
    while let Some((found, bits)) = set.next(chunk..end.div_ceil(CHUNK)) {
        let first = found.saturating_mul(CHUNK);
        let bits = bits.and(Bits::of(found, &(gfns.start..end)));
        if let Some((low, high)) = bits.ends() {
            let start = first.saturating_add(low);
            let top = first.saturating_add(high).saturating_add(1);
            match &mut span {
                Some(span) => span.end = top,
                None => {
                    span = Some(start..top);
                    // The table that the first one is in is all there is to this span.
                    let table = (start | PER_TABLE.wrapping_sub(1)).saturating_add(1);
                    end = end.min(table);
                }
            }
        }
        chunk = found.saturating_add(1);
    }
    span
}

/// How many granules of `gfns` are mapped.
pub fn count(set: &impl PageSet, gfns: &Range<u64>) -> u64 {
    let mut mapped = 0u64;
    let mut chunk = chunk_of(gfns.start);
    while let Some((found, bits)) = set.next(chunk..gfns.end.div_ceil(CHUNK)) {
        let bits = bits.and(Bits::of(found, gfns));
        mapped = mapped.saturating_add(bits.0.count_ones().into());
        chunk = found.saturating_add(1);
    }
    mapped
}

/// Notes that nothing of `gfns` is mapped any more.
pub fn forget(set: &impl PageSet, gfns: &Range<u64>) {
    let mut chunk = chunk_of(gfns.start);
    while let Some((found, bits)) = set.next(chunk..gfns.end.div_ceil(CHUNK)) {
        set.set(found, bits.without(Bits::of(found, gfns)));
        chunk = found.saturating_add(1);
    }
}
