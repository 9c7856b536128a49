// SPDX-License-Identifier: GPL-2.0

//! Arithmetic of addresses, levels and descriptors at its edges, compared with the same in numbers that
//! do not run over.

use kvm_arm_rmi::realm::{table_size, window, Bits, Layout, BLOCK, CHUNK};
use kvm_arm_rmi::rmi::{
    AddrRange, GranuleRange, IpaRange, IpaSpace, MemState, PhysAddr, RangeDesc, RttLevel,
    Undelegated, GRANULE_SIZE,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

const SIZE: u128 = GRANULE_SIZE as u128;
const LEVELS: [RttLevel; 4] = [RttLevel::L0, RttLevel::L1, RttLevel::L2, RttLevel::L3];

/// Numbers at and around the powers of two that `bits` name, 0 and the greatest.
fn edges(bits: impl Iterator<Item = u32>) -> Vec<u64> {
    let mut all = BTreeSet::from([0, 1, u64::MAX, u64::MAX - 1]);
    // The last granule that there can be, and where one before ends.
    all.extend([u64::MAX - GRANULE_SIZE + 1, u64::MAX - 2 * GRANULE_SIZE + 1]);
    for bit in bits {
        let at = 1u64 << bit;
        all.extend([at - 1, at, at + 1]);
        all.extend([at.wrapping_sub(GRANULE_SIZE), at.wrapping_add(GRANULE_SIZE)]);
    }
    all.into_iter().collect()
}

fn all_edges() -> Vec<u64> {
    edges(12..64)
}

fn is_aligned(raw: u64) -> bool {
    u128::from(raw) % SIZE == 0
}

fn range(base: u64, top: u64) -> Option<AddrRange> {
    AddrRange::new(PhysAddr::new(base), PhysAddr::new(top))
}

fn ends(range: AddrRange) -> (u64, u64) {
    (range.base().raw(), range.top().raw())
}

#[test]
fn ranges_of_memory() {
    for base in all_edges() {
        assert_eq!(PhysAddr::new(base).is_granule_aligned(), is_aligned(base));
        for top in all_edges() {
            let is = base < top && is_aligned(base) && is_aligned(top);
            let made = range(base, top);
            assert_eq!(made.map(ends), is.then_some((base, top)));
            let Some(made) = made else { continue };
            let bytes = u128::from(top) - u128::from(base);
            assert_eq!(u128::from(made.bytes()), bytes);
            assert_eq!(u128::from(made.granules()), bytes / SIZE);
            assert_eq!(ends(made.first()), (base, base + GRANULE_SIZE));
            assert_eq!(ends(made.last()), (top - GRANULE_SIZE, top));
        }
    }
}

#[test]
fn parts_of_ranges() {
    let few = edges([12, 13, 30, 52, 63].into_iter());
    for base in few.iter().copied().filter(|at| is_aligned(*at)) {
        for top in few.iter().copied().filter(|at| is_aligned(*at)) {
            let Some(whole) = range(base, top) else {
                continue;
            };
            for at in few.iter().copied() {
                let parts = whole.split(PhysAddr::new(at));
                let inside = base <= at && at <= top && is_aligned(at);
                let expected = inside.then(|| (range(base, at), range(at, top)));
                assert_eq!(parts, expected, "{whole} at {at:#x}");
            }
        }
    }
}

fn granules(range: AddrRange) -> GranuleRange<Undelegated> {
    // SAFETY: No such memory exists here, and nothing ever looks at it.
    unsafe { GranuleRange::new(range) }
}

#[test]
fn granules_come_apart_and_together() {
    let last = u64::MAX - GRANULE_SIZE + 1;
    for (base, top) in [
        (0, GRANULE_SIZE),
        (0, last),
        (1 << 52, 5 << 52),
        (last - GRANULE_SIZE, last),
    ] {
        let whole = range(base, top).unwrap();
        let count = whole.granules();
        for n in [
            0,
            1,
            count / 2,
            count - 1,
            count,
            count.saturating_add(1),
            1 << 52,
            u64::MAX,
        ] {
            let (first, rest) = granules(whole).split(n);
            let sizes =
                [&first, &rest].map(|part| part.as_ref().map_or(0, |part| part.range().granules()));
            assert_eq!(
                sizes,
                [n.min(count), count - n.min(count)],
                "{whole} at {n}"
            );
            let ranges = (
                first.as_ref().map(GranuleRange::range),
                rest.as_ref().map(GranuleRange::range),
            );
            let (Some(first), Some(rest)) = (first, rest) else {
                continue;
            };
            assert_eq!(ranges.0.unwrap().base(), whole.base());
            assert_eq!(ranges.0.unwrap().top(), ranges.1.unwrap().base());
            // Only the one after the other; either way round if that does not matter.
            let (rest, first) = rest.join(first).unwrap_err();
            let Ok(joined) = rest.merge(first) else {
                panic!("{whole} at {n}")
            };
            assert_eq!(joined.into_range(), whole);
        }
    }
    // What is apart, or the same, stays so.
    let [a, b] =
        [(0, 2), (3, 4)].map(|(base, top)| range(base * GRANULE_SIZE, top * GRANULE_SIZE).unwrap());
    for (one, other) in [(a, b), (b, a), (a, a)] {
        let (one, other) = granules(one).merge(granules(other)).unwrap_err();
        assert!([a, b].contains(&one.into_range()) && [a, b].contains(&other.into_range()));
    }
}

#[test]
fn levels() {
    for (n, level) in LEVELS.into_iter().enumerate() {
        let n = n as u64;
        assert_eq!((level.raw(), level.block_code()), (n, 3 - n));
        assert_eq!(RttLevel::from_raw(n), Some(level));
        assert_eq!(level.block_size(), GRANULE_SIZE * 512u64.pow(3 - n as u32));
        assert_eq!(level.below(), LEVELS.get(n as usize + 1).copied());
        // A table maps what an entry above would.
        assert_eq!(table_size(level), 512 * level.block_size());
    }
    for raw in all_edges().into_iter().chain(2..9) {
        assert_eq!(
            RttLevel::from_raw(raw),
            LEVELS.get(usize::try_from(raw).unwrap_or(9)).copied()
        );
        // Of a descriptor two bits count.
        assert_eq!(RttLevel::from_block_code(raw).block_code(), raw & 3);
    }
}

#[test]
fn halves_of_every_ipa_space() {
    for bits in (0..=130).chain([u32::MAX]) {
        let space = IpaSpace::new(bits);
        assert_eq!(space.is_some(), (32..=52).contains(&bits), "{bits}");
        let Some(space) = space else { continue };
        let half = 1u64 << (bits - 1);
        assert_eq!((space.bits(), space.unprotected_bit()), (bits, half));
        let near = edges([12, 31, bits - 2, bits - 1, bits, 63].into_iter());
        for base in near.iter().copied() {
            for top in near.iter().copied() {
                let is = base < top && top <= half && is_aligned(base) && is_aligned(top);
                let lower = space.protected(base, top);
                assert_eq!(
                    lower.map(|it| (it.base(), it.top())),
                    is.then_some((base, top))
                );
                let upper = space.unprotected(base, top);
                let there = is.then(|| (half + base, half + top));
                assert_eq!(upper.map(|it| (it.base(), it.top())), there, "{bits}");
                assert!(upper.is_none_or(|it| it.bytes() == top - base));
            }
        }
        let all = space.all_unprotected().unwrap();
        assert_eq!((all.base(), all.top()), (half, 2 * half));
        last_granules(space, half);
    }
}

/// The last granule of either half is in it, and there is none after it.
fn last_granules(space: IpaSpace, half: u64) {
    let last = half - GRANULE_SIZE;
    assert!(space.protected(last, half).is_some());
    assert!(space.unprotected(last, half).is_some());
    assert!(space.protected(half, half + GRANULE_SIZE).is_none());
    assert!(space.unprotected(half, half + GRANULE_SIZE).is_none());
}

fn check_parts<H>(whole: IpaRange<H>, cuts: &[u64]) {
    let (base, top) = (whole.base(), whole.top());
    let ends = |part: IpaRange<H>| (part.base(), part.top());
    for at in cuts.iter().copied() {
        let from = (base <= at && at < top && is_aligned(at)).then_some((at, top));
        assert_eq!(whole.from(at).map(ends), from, "{whole} from {at:#x}");
        let until = (base < at && at <= top && is_aligned(at)).then_some((base, at));
        assert_eq!(whole.until(at).map(ends), until, "{whole} until {at:#x}");
        for to in cuts.iter().copied() {
            let (first, end) = (base.max(at), top.min(to));
            let is = first < end && is_aligned(first) && is_aligned(end);
            let part = whole.clamp(at, to).map(ends);
            assert_eq!(
                part,
                is.then_some((first, end)),
                "{whole} in {at:#x}..{to:#x}"
            );
        }
    }
}

#[test]
fn parts_of_ipa_ranges() {
    for bits in [32, 39, 48, 52] {
        let space = IpaSpace::new(bits).unwrap();
        let half = space.unprotected_bit();
        let cuts = edges([12, 13, bits - 1, bits].into_iter());
        for (base, top) in [
            (0, half),
            (0, GRANULE_SIZE),
            (half - GRANULE_SIZE, half),
            (1 << 13, 1 << 20),
        ] {
            check_parts(space.protected(base, top).unwrap(), &cuts);
            check_parts(space.unprotected(base, top).unwrap(), &cuts);
        }
    }
}

/// Starting tables map all of the space, no more than they must, and one level less would not do.
#[test]
fn starting_tables_of_every_ipa_space() {
    for bits in 32..=52 {
        let Layout { start, order } = Layout::of(IpaSpace::new(bits).unwrap());
        let mapped = u128::from(table_size(start)) << order;
        assert!(
            mapped >= 1 << bits && (mapped == 1 << bits || order == 0),
            "{bits}"
        );
        assert!(order <= 4, "{bits}");
        if let Some(below) = start.below().filter(|below| *below != RttLevel::L3) {
            assert!(u128::from(table_size(below)) << 4 < 1 << bits, "{bits}");
        }
    }
}

/// As much of a range as one descriptor can name, in blocks of each size.
#[test]
fn descriptors() {
    const MOST: u128 = 1023;
    for level in LEVELS {
        let block = u128::from(level.block_size());
        for base in all_edges().into_iter().filter(|at| is_aligned(*at)) {
            for blocks in [0, 1, 2, 511, 512, 1022, 1023, 1024, 5000] {
                for more in [0, SIZE, block - SIZE] {
                    let top = u128::from(base) + blocks * block + more;
                    let Some(whole) = u64::try_from(top).ok().and_then(|top| range(base, top))
                    else {
                        continue;
                    };
                    let count = (u128::from(whole.bytes()) / block).min(MOST);
                    let is = u128::from(base) % block == 0 && base < 1 << 52 && count != 0;
                    let made = RangeDesc::new(whole, level);
                    assert_eq!(made.is_some(), is, "{whole} {level:?}");
                    let Some((desc, part)) = made else { continue };
                    let end = u128::from(base) + count * block;
                    assert_eq!(
                        (part.base(), u128::from(part.top().raw())),
                        (whole.base(), end)
                    );
                    assert_eq!(desc.decode(), Some((part, MemState::Delegated)));
                    assert_eq!(RangeDesc::from_raw(desc.raw()), desc);
                    assert_eq!(desc.raw() & 3, level.block_code());
                }
            }
        }
    }
}

proptest! {
    /// Whatever the RMM says, what it is taken for is some blocks of one size.
    #[test]
    fn descriptors_of_the_rmm(raw: u64) {
        let block = u128::from(RttLevel::from_block_code(raw).block_size());
        let (count, state) = ((raw >> 2) & 1023, raw >> 62);
        let decoded = RangeDesc::from_raw(raw).decode();
        prop_assert_eq!(decoded.is_some(), count != 0 && state != 3);
        if let Some((range, whose)) = decoded {
            prop_assert_eq!(range.base().raw(), raw & 0xf_ffff_ffff_f000);
            prop_assert_eq!(u128::from(range.bytes()), u128::from(count) * block);
            prop_assert_eq!(whose == MemState::Delegated, state == 0);
        }
    }
}

/// Granules of a chunk that are in a range, one by one.
#[test]
fn bits_of_a_chunk() {
    let last = u64::MAX / CHUNK;
    for chunk in [0, 1, 2, (1 << 40) / CHUNK, last - 1, last] {
        let first = chunk * CHUNK;
        let around =
            (first.saturating_sub(2)..=first.saturating_add(CHUNK + 2)).chain([0, u64::MAX]);
        let around: Vec<u64> = around.collect();
        for start in around.iter().copied() {
            for end in around.iter().copied() {
                let one_by_one = (0..CHUNK).filter(|n| (start..end).contains(&(first + n)));
                let expected = one_by_one.fold(0, |bits, n| bits | 1 << n);
                // The last granule that a number can name is never one of a realm's.
                assert_eq!(
                    Bits::of(chunk, &(start..end)),
                    Bits(expected),
                    "{start}..{end}"
                );
            }
        }
    }
}

/// The first and the last of some granules.
#[test]
fn ends_of_bits() {
    assert_eq!(Bits(0).ends(), None);
    for low in 0..32u64 {
        for high in low..32 {
            for between in [0, u32::MAX] {
                let all = (u64::from(between) & ((1 << high) - (1 << low))) as u32;
                let bits = all | 1 << low | 1 << high;
                assert_eq!(Bits(bits).ends(), Some((low, high)), "{bits:#x}");
            }
        }
    }
}

/// A window has its granule, lies in its slot and in one block, and is no larger than was asked for.
#[test]
fn windows_around_a_fault() {
    let high = u64::MAX - 1;
    for base in [0, 1 << 20, (1 << 40) - 40, high - 200] {
        for (before, after) in [(0, 0), (1, 0), (0, 1), (5, 70), (70, 5), (100, 100)] {
            for gfn in base..base + 80 {
                let slot = gfn.saturating_sub(before)..gfn.saturating_add(after + 1);
                for granules in [0, 1, 2, 4, 16, 32, 64, 512, 1 << 63] {
                    let around = window(gfn, &slot, granules);
                    assert!(
                        around.contains(&gfn)
                            && around.end - around.start <= granules.clamp(1, BLOCK)
                    );
                    assert!(slot.start <= around.start && around.end <= slot.end);
                    assert_eq!(around.start / BLOCK, (around.end - 1) / BLOCK);
                    // As much as there is.
                    let size = granules.clamp(1, BLOCK);
                    let start = gfn / size * size;
                    let end = (u128::from(start) + u128::from(size)).min(slot.end.into());
                    assert_eq!(around.start, start.max(slot.start));
                    assert_eq!(u128::from(around.end), end);
                }
            }
        }
    }
}
