// SPDX-License-Identifier: GPL-2.0

//! Which tables a realm has, and what is noted, up to the ends of the largest IPA space.

use crate::alone::alone;
use kvm_arm_rmi::realm::bitmap::Bitmap;
use kvm_arm_rmi::realm::table_map::TableMap;
use kvm_arm_rmi::realm::{
    count, forget, next_span, note, table_size, Layout, MissingTable, Tables, CHUNK,
};
use kvm_arm_rmi::rmi::{IpaSpace, RttLevel, GRANULE_SIZE};
use std::collections::BTreeSet;

/// The end of the largest IPA space.
const END: u64 = 1 << 52;
/// Levels of tables that are not starting ones.
const BELOW: [RttLevel; 3] = [RttLevel::L1, RttLevel::L2, RttLevel::L3];

fn table(level: RttLevel, n: u64) -> MissingTable {
    let ipa = n * table_size(level);
    MissingTable { level, ipa }
}

/// Tables at the ends of the space and around powers of two, at every level.
fn some_tables() -> BTreeSet<MissingTable> {
    let mut tables = BTreeSet::new();
    for level in BELOW {
        let all = END / table_size(level);
        let powers = (0..all.ilog2()).map(|bit| 1u64 << bit);
        let around = powers
            .flat_map(|n| [n - 1, n, n + 1])
            .chain([0, all - 2, all - 1]);
        tables.extend(around.filter(|n| *n < all).map(|n| table(level, n)));
    }
    tables
}

/// No two tables are taken for each other, and they are found in order.
#[test]
fn every_table_has_its_place() {
    alone(|| {
        let (map, tables) = (TableMap::new().unwrap(), some_tables());
        for this in &tables {
            assert!(!map.has(*this), "{this:?}");
            assert!(map.reserve(*this) && !map.has(*this));
            map.insert(*this);
            assert!(map.has(*this));
        }
        for level in BELOW {
            let there: Vec<_> = tables.iter().filter(|table| table.level == level).collect();
            assert_eq!(map.tables_at(level), there.len() as u64);
            assert_eq!(map.any(level).as_ref(), there.first().copied());
            let mut from = 0;
            for this in there {
                assert_eq!(map.next_table(level, from), Some(*this), "from {from:#x}");
                // One that begins before it and reaches into it is not looked for.
                assert_eq!(map.next_table(level, this.ipa), Some(*this));
                assert_eq!(this.ipas(), this.ipa..this.ipa + table_size(level));
                from = this.ipa + table_size(level);
            }
            assert_eq!(map.next_table(level, from), None, "after the last");
        }
        for this in &tables {
            map.remove(*this);
            assert!(!map.has(*this), "{this:?}");
        }
        assert!(BELOW.iter().all(|level| map.any(*level).is_none()));
    });
}

/// The tables on the way to an entry, from the top, of every IPA space.
#[test]
fn the_way_to_an_entry() {
    alone(|| {
        for bits in 32..=52 {
            let start = Layout::of(IpaSpace::new(bits).unwrap()).start;
            let end = 1u64 << bits;
            for ipa in [
                0,
                GRANULE_SIZE,
                end / 2 - GRANULE_SIZE,
                end / 2,
                end - GRANULE_SIZE,
            ] {
                way(bits, start, ipa);
            }
        }
    });
}

fn way(bits: u32, start: RttLevel, ipa: u64) {
    let what = format!("{bits} bits, {ipa:#x}");
    let map = TableMap::new().unwrap();
    let tables = Tables { set: &map, start };
    assert_eq!(tables.missing(ipa, start), None, "{what}");
    assert_eq!(tables.missing(ipa, RttLevel::L0), None, "{what}");
    let mut at = start;
    while let Some(below) = at.below() {
        assert_eq!(tables.depth(ipa), at, "{what}");
        let next = tables.missing(ipa, RttLevel::L3).expect("one more");
        let size = table_size(below);
        assert_eq!((next.level, next.ipa), (below, ipa / size * size), "{what}");
        assert_eq!(tables.missing(ipa, below), Some(next));
        assert!(map.reserve(next));
        map.insert(next);
        assert_eq!(tables.missing(ipa, below), None);
        at = below;
    }
    assert_eq!(tables.missing(ipa, RttLevel::L3), None, "{what}");
    assert_eq!(tables.depth(ipa), RttLevel::L3, "{what}");
    // Its neighbour has another one.
    if let Some(below) = ipa.checked_sub(table_size(RttLevel::L3)) {
        assert!(tables.missing(below, RttLevel::L3).is_some(), "{what}");
    }
}

/// Granules up to the last one of the largest space, and beyond.
#[test]
fn notes_at_the_ends() {
    alone(|| {
        let last = END / GRANULE_SIZE - 1;
        let beyond = u64::MAX / CHUNK * CHUNK - CHUNK;
        let gfns = [0, 1, 31, 32, 511, 512, 2047, 2048, last - 1, last, beyond];
        let set = Bitmap::new().unwrap();
        let all = 0..u64::MAX;
        assert_eq!((count(&set, &all), next_span(&set, &all)), (0, None));
        for gfn in gfns {
            let this = gfn..gfn + 1;
            // Without room nothing is noted.
            if !note(&set, &this) {
                assert_eq!(count(&set, &this), 0, "{gfn:#x}");
            }
            assert!(set.reserve(gfn / CHUNK));
            assert!(note(&set, &this));
            assert_eq!(count(&set, &this), 1, "{gfn:#x}");
        }
        assert_eq!(count(&set, &all), gfns.len() as u64);
        assert_eq!(count(&set, &(0..last)), gfns.len() as u64 - 2);
        assert_eq!(count(&set, &(last..last)), 0);
        assert_eq!(next_span(&set, &all), Some(0..512));
        assert_eq!(next_span(&set, &(512..u64::MAX)), Some(512..513));
        assert_eq!(next_span(&set, &(2048..last)), Some(2048..2049));
        assert_eq!(next_span(&set, &(2049..last + 1)), Some(last - 1..last + 1));
        assert_eq!(
            next_span(&set, &(last + 1..u64::MAX)),
            Some(beyond..beyond + 1)
        );
        assert_eq!(forget(&set, &(31..last)), 7);
        assert_eq!(forget(&set, &all), 4);
        assert_eq!(next_span(&set, &all), None);
    });
}

/// What nothing is noted of any more is not found, though there is room for it.
#[test]
fn the_first_chunk_of_which_something_is_noted() {
    alone(|| {
        let set = Bitmap::new().unwrap();
        assert!(set.reserve(5) && set.reserve(70));
        assert_eq!(set.next(0..200), None);
        note(&set, &(5 * CHUNK..5 * CHUNK + 1));
        note(&set, &(70 * CHUNK..70 * CHUNK + 1));
        let next = |chunks| set.next(chunks).map(|(chunk, _)| chunk);
        assert_eq!(
            [next(0..200), next(5..6), next(6..71)],
            [Some(5), Some(5), Some(70)]
        );
        assert_eq!([next(0..5), next(6..70), next(71..200)], [None; 3]);
        assert_eq!(forget(&set, &(0..6 * CHUNK)), 1);
        assert_eq!(next(0..200), Some(70));
    });
}
