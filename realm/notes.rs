// SPDX-License-Identifier: GPL-2.0

//! Which granules of a realm are mapped: notes.
//!
//! The rule: **whenever `mmu_lock` can be had, what the RMM has mapped is noted.** A granule is noted
//! before it is mapped and struck out after it is unmapped, so that more may be noted than is mapped,
//! never less. Whoever takes memory away looks at the notes alone: what is not noted is the caller's
//! again at once. Several CPUs note and strike out at once; what keeps them from doing so to the same
//! granule is said where they do it.
//!
//! A note of private memory lasts until its page is undelegated. So a page of a granule that is not
//! noted is not delegated either, and nobody delegates what the realm world may still have.

use super::bitmap::Bitmap;
use super::chunk::{block_around, chunk_of, Bits, CHUNK};
use core::ops::Range;

/// The first granules of `gfns` that one command can unmap: they begin and end with one that is
/// noted, and are in one table. `None` if nothing of the range is noted.
pub fn next_span(set: &Bitmap, gfns: &Range<u64>) -> Option<Range<u64>> {
    if gfns.is_empty() {
        return None;
    }
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
                    end = end.min(block_around(start).end);
                }
            }
        }
        chunk = found.saturating_add(1);
    }
    span
}

/// Notes granules that are about to be mapped. False if there is no room for all of them, which has to be
/// [made](Bitmap::reserve) before: then some of them may be noted.
pub fn note(set: &Bitmap, gfns: &Range<u64>) -> bool {
    (chunk_of(gfns.start)..gfns.end.div_ceil(CHUNK))
        .all(|chunk| set.add(chunk, Bits::of(chunk, gfns)))
}

/// Strikes out `gfns`: nothing of them is mapped any more, and their pages are the host's. Returns how
/// many were noted.
pub fn forget(set: &Bitmap, gfns: &Range<u64>) -> u64 {
    let mut noted = 0u64;
    let mut chunk = chunk_of(gfns.start);
    while let Some((found, _)) = set.next(chunk..gfns.end.div_ceil(CHUNK)) {
        let bits = set.remove(found, Bits::of(found, gfns));
        noted = noted.saturating_add(bits.0.count_ones().into());
        chunk = found.saturating_add(1);
    }
    noted
}

/// How many granules of `gfns` are noted.
pub fn count(set: &Bitmap, gfns: &Range<u64>) -> u64 {
    let mut noted = 0u64;
    let mut chunk = chunk_of(gfns.start);
    while let Some((found, bits)) = set.next(chunk..gfns.end.div_ceil(CHUNK)) {
        let bits = bits.and(Bits::of(found, gfns));
        noted = noted.saturating_add(bits.0.count_ones().into());
        chunk = found.saturating_add(1);
    }
    noted
}

/// The first granule of `gfns` that is not noted, or their end.
pub fn first_missing(set: &Bitmap, gfns: &Range<u64>) -> u64 {
    let missing = |chunk: u64| Bits::of(chunk, gfns).without(set.get(chunk)).ends();
    let mut chunks = chunk_of(gfns.start)..gfns.end.div_ceil(CHUNK);
    let first = chunks.find_map(|chunk| missing(chunk).map(|(place, _)| (chunk, place)));
    first.map_or(gfns.end, |(chunk, place)| {
        chunk.saturating_mul(CHUNK).saturating_add(place)
    })
}
