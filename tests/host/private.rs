// SPDX-License-Identifier: GPL-2.0

//! Which private memory is mapped, compared with a plain set of granules.

use kvm_arm_rmi::realm::{chunk_of, count, forget, next_span, note, window, Bits, PageSet, CHUNK};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// A set that panics where the kernel's would have to allocate under a lock.
#[derive(Default)]
pub(crate) struct Set(RefCell<BTreeMap<u64, Bits>>);

impl PageSet for Set {
    fn get(&self, chunk: u64) -> Bits {
        self.0.borrow().get(&chunk).copied().unwrap_or_default()
    }

    fn reserve(&self, chunk: u64) -> bool {
        self.0.borrow_mut().entry(chunk).or_default();
        true
    }

    fn add(&self, chunk: u64, bits: Bits) {
        let mut all = self.0.borrow_mut();
        let noted = all.get_mut(&chunk).expect("reserved");
        *noted = noted.or(bits);
    }

    fn remove(&self, chunk: u64, bits: Bits) -> Bits {
        let mut all = self.0.borrow_mut();
        let noted = all.entry(chunk).or_default();
        let struck = noted.and(bits);
        *noted = noted.without(bits);
        struck
    }

    fn next(&self, chunks: Range<u64>) -> Option<(u64, Bits)> {
        let all = self.0.borrow();
        let mut rest = all
            .range(chunks.start..)
            .filter(|(_, bits)| !bits.is_empty());
        let (chunk, bits) = rest.next().map(|(chunk, bits)| (*chunk, *bits))?;
        (chunk < chunks.end).then_some((chunk, bits))
    }
}

fn map(set: &Set, gfn: u64) {
    set.reserve(chunk_of(gfn));
    note(set, &(gfn..gfn + 1));
}

#[test]
fn a_window_is_aligned_and_stays_in_its_slot_and_chunk() {
    assert_eq!(window(17, &(0..100), 16), 16..32);
    assert_eq!(window(17, &(17..100), 16), 17..32);
    assert_eq!(window(17, &(0..18), 16), 16..18);
    assert_eq!(window(17, &(0..100), 1), 17..18);
    assert_eq!(window(40, &(0..1000), 1 << 20), 32..64, "not past a chunk");
}

#[test]
fn runs_are_found_from_the_lowest_on() {
    assert_eq!(Bits(0).first_run(), None);
    assert_eq!(Bits(1).first_run(), Some(0..1));
    assert_eq!(Bits(0b1110_0110).first_run(), Some(1..3));
    assert_eq!(Bits(u32::MAX).first_run(), Some(0..32));
    assert_eq!(Bits(1 << 31).first_run(), Some(31..32));
}

proptest! {
    /// Spans cover exactly what is mapped in a range, each in one table, and forgetting them one by
    /// one comes to an end with nothing left.
    #[test]
    fn spans_cover_what_is_mapped(
        mapped in prop::collection::btree_set(0u64..4096, 0..200),
        start in 0u64..4096,
        length in 1u64..4096,
    ) {
        let set = Set::default();
        for gfn in &mapped {
            map(&set, *gfn);
        }
        let range = start..start + length;
        let mut left: BTreeSet<u64> = mapped.range(range.clone()).copied().collect();
        prop_assert_eq!(count(&set, &range), left.len() as u64);
        let mut from = range.start;
        while let Some(span) = next_span(&set, &(from..range.end)) {
            prop_assert!(span.start >= from && span.end <= range.end && span.start < span.end);
            prop_assert_eq!(span.start / 512, (span.end - 1) / 512, "one table");
            prop_assert!(left.contains(&span.start) && left.contains(&(span.end - 1)));
            let before: Vec<_> = left.range(..span.start).collect();
            prop_assert!(before.is_empty(), "skipped {before:?}");
            let inside = left.range(span.clone()).count();
            prop_assert_eq!(count(&set, &span), inside as u64);
            left.retain(|gfn| !span.contains(gfn));
            prop_assert_eq!(forget(&set, &span), inside as u64);
            prop_assert_eq!(count(&set, &span), 0);
            from = span.end;
        }
        prop_assert!(left.is_empty());
        let outside: BTreeSet<u64> =
            mapped.iter().copied().filter(|gfn| !range.contains(gfn)).collect();
        let still: BTreeSet<u64> = (0..8192)
            .filter(|gfn| {
                let bits = set.get(chunk_of(*gfn));
                bits.0 & 1 << (gfn % CHUNK) != 0
            })
            .collect();
        prop_assert_eq!(still, outside);
    }
}
