// SPDX-License-Identifier: GPL-2.0

//! Which private memory is mapped, compared with a plain set of granules.

use crate::alone::alone;
use kvm_arm_rmi::realm::bitmap::Bitmap;
use kvm_arm_rmi::realm::{
    block_around, chunk_of, count, forget, next_span, note, window, BLOCK, CHUNK,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn map(set: &Bitmap, gfn: u64) {
    set.reserve(chunk_of(gfn));
    note(set, &(gfn..gfn + 1));
}

#[test]
fn a_window_is_aligned_and_stays_in_its_slot_and_block() {
    assert_eq!(window(17, &(0..100), 16), 16..32);
    assert_eq!(window(17, &(17..100), 16), 17..32);
    assert_eq!(window(17, &(0..18), 16), 16..18);
    assert_eq!(window(17, &(0..100), 1), 17..18);
    assert_eq!(
        window(600, &(0..2000), 1 << 20),
        512..1024,
        "not past a block"
    );
}

proptest! {
    /// A window has the granule, nothing of what is outside of the slot, and all of an aligned piece that
    /// is inside; a block is one only where the slot has all of it.
    #[test]
    fn windows_are_aligned_pieces_of_slots(
        (start, size) in (0u64..4096, 1u64..4096),
        place in 0u64..4096,
        order in 0u32..12,
    ) {
        let slot = start..start + size;
        let gfn = start + place % size;
        let granules = 1 << order;
        let window = window(gfn, &slot, granules);
        let piece = granules.min(BLOCK);
        let first = gfn / piece * piece;
        prop_assert!(window.contains(&gfn));
        prop_assert_eq!(window.start, first.max(slot.start));
        prop_assert_eq!(window.end, (first + piece).min(slot.end));
        prop_assert_eq!(window.start / BLOCK, (window.end - 1) / BLOCK);
        let is_block = window.end - window.start == BLOCK;
        prop_assert_eq!(is_block && window != block_around(gfn), false);
    }

    /// Spans cover exactly what is mapped in a range, each in one table, and forgetting them one by
    /// one comes to an end with nothing left.
    #[test]
    fn spans_cover_what_is_mapped(
        mapped in prop::collection::btree_set(0u64..4096, 0..200),
        start in 0u64..4096,
        length in 1u64..4096,
    ) {
        alone(move || {
            let set = Bitmap::new().unwrap();
            for gfn in &mapped {
                map(&set, *gfn);
            }
            let range = start..start + length;
            let mut left: BTreeSet<u64> = mapped.range(range.clone()).copied().collect();
            assert_eq!(count(&set, &range), left.len() as u64);
            let mut from = range.start;
            while let Some(span) = next_span(&set, &(from..range.end)) {
                assert!(span.start >= from && span.end <= range.end && span.start < span.end);
                assert_eq!(span.start / 512, (span.end - 1) / 512, "one table");
                assert!(left.contains(&span.start) && left.contains(&(span.end - 1)));
                let before: Vec<_> = left.range(..span.start).collect();
                assert!(before.is_empty(), "skipped {before:?}");
                let inside = left.range(span.clone()).count();
                assert_eq!(count(&set, &span), inside as u64);
                left.retain(|gfn| !span.contains(gfn));
                assert_eq!(forget(&set, &span), inside as u64);
                assert_eq!(count(&set, &span), 0);
                from = span.end;
            }
            assert!(left.is_empty());
            let outside: BTreeSet<u64> =
                mapped.iter().copied().filter(|gfn| !range.contains(gfn)).collect();
            let still: BTreeSet<u64> = (0..8192)
                .filter(|gfn| {
                    let bits = set.get(chunk_of(*gfn));
                    bits.0 & 1 << (gfn % CHUNK) != 0
                })
                .collect();
            assert_eq!(still, outside);
        });
    }
}
