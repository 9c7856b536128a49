// SPDX-License-Identifier: GPL-2.0

//! Memory that was donated to the RMM for the sake of one object, and that comes back with it.
//!
//! The RMM gives memory back by naming it. What it names is believed only as far as it is written
//! down here: a descriptor of memory that was never lent, or that has come back already, frees
//! nothing.

use super::{AddrRange, Delegated, GranuleRange, PhysAddr};

/// Granules in one entry: as many as the word that tells which are out has bits.
const PER_ENTRY: u64 = 64;

/// Entries, each of one allocation.
const ENTRIES: usize = 16;

/// The largest donation at once, as an order.
pub(super) const MAX_ORDER: u32 = 6;

/// One allocation, and which of its granules the RMM has.
#[derive(Clone, Copy, Debug)]
struct Entry {
    range: AddrRange,
    out: u64,
}

/// What the RMM has of ours for one object.
#[derive(Debug, Default)]
pub struct Loans {
    entries: [Option<Entry>; ENTRIES],
}

/// Where that was at some time.
#[derive(Clone, Copy, Debug)]
pub struct Lent([Option<Entry>; ENTRIES]);

impl Lent {
    /// Its granules.
    pub fn granules(&self) -> impl Iterator<Item = PhysAddr> + '_ {
        self.0.iter().flatten().flat_map(Entry::lent)
    }
}

impl Loans {
    /// Nothing lent.
    pub const fn new() -> Self {
        Self {
            entries: [None; ENTRIES],
        }
    }

    /// Number of granules that are lent.
    pub fn granules(&self) -> u64 {
        self.entries
            .iter()
            .flatten()
            .map(|entry| u64::from(entry.out.count_ones()))
            .fold(0, u64::saturating_add)
    }

    /// What is lent now.
    pub fn lent(&self) -> Lent {
        Lent(self.entries)
    }

    /// True if another donation can be written down.
    pub(super) fn has_room(&self) -> bool {
        self.entries.iter().any(Option::is_none)
    }

    /// Writes down that the RMM has taken `granules`, at most `1 << MAX_ORDER` of them.
    ///
    /// # Errors
    ///
    /// There is no room: the granules come back, for the caller to leak.
    pub(super) fn lend(
        &mut self,
        granules: GranuleRange<Delegated>,
    ) -> Result<(), GranuleRange<Delegated>> {
        let range = granules.range();
        let mask = mask(0, range.granules());
        match (self.entries.iter_mut().find(|entry| entry.is_none()), mask) {
            (Some(entry), Some(out)) => {
                // The range is the RMM's until it names it again: see `settle`.
                *entry = Some(Entry { range, out });
                Ok(())
            }
            _ => Err(granules),
        }
    }

    /// Strikes out memory that the RMM says it gives back, and returns it.
    ///
    /// `None` if any of it was never lent, or is back already: then nothing is struck out.
    pub(super) fn settle(&mut self, range: AddrRange) -> Option<GranuleRange<Delegated>> {
        // The RMM merges neighbours, so one descriptor may cover several of our allocations.
        let mut found = 0;
        for entry in self.entries.iter().flatten() {
            let back = entry.part(range);
            if entry.out & back != back {
                return None;
            }
            found = u64::saturating_add(found, back.count_ones().into());
        }
        if found != range.granules() {
            return None;
        }
        for slot in &mut self.entries {
            if let Some(entry) = slot {
                entry.out &= !entry.part(range);
                if entry.out == 0 {
                    *slot = None;
                }
            }
        }
        Some(GranuleRange::of(range))
    }

    /// Strikes out a piece of what is lent, and returns it: the RMM has given everything back at once.
    pub(super) fn take(&mut self) -> Option<GranuleRange<Delegated>> {
        let entry = self.entries.iter().flatten().next()?;
        let first = u64::from(entry.out.trailing_zeros());
        let count = u64::from(
            entry
                .out
                .checked_shr(entry.out.trailing_zeros())?
                .trailing_ones(),
        );
        let range = AddrRange::new(entry.at(first), entry.at(first.saturating_add(count)))?;
        self.settle(range)
    }

    /// Gives up on what is still out, and returns how many granules that are.
    pub(super) fn write_off(&mut self) -> u64 {
        core::mem::take(self).granules()
    }
}

impl Entry {
    /// Where its granule `n` is.
    fn at(&self, n: u64) -> PhysAddr {
        let bytes = n.saturating_mul(super::GRANULE_SIZE);
        PhysAddr::new(self.range.base().raw().saturating_add(bytes))
    }

    /// The granules that are out.
    fn lent(&self) -> impl Iterator<Item = PhysAddr> + '_ {
        let out = |n: &u64| mask(*n, n.saturating_add(1)).is_some_and(|bit| self.out & bit != 0);
        (0..PER_ENTRY).filter(out).map(|n| self.at(n))
    }

    /// The granules of this entry that are in `range`, whether they are out or back.
    fn part(&self, range: AddrRange) -> u64 {
        let index = |pa: PhysAddr| {
            let bytes = pa.raw().saturating_sub(self.range.base().raw());
            (bytes >> crate::GRANULE_SHIFT).min(self.range.granules())
        };
        mask(index(range.base()), index(range.top())).unwrap_or(0)
    }
}

/// The bits `from..to`; `None` if these are none, or more than a word has.
fn mask(from: u64, to: u64) -> Option<u64> {
    let bits = to
        .checked_sub(from)
        .filter(|bits| (1..=PER_ENTRY).contains(bits))?;
    let ones = u64::MAX >> PER_ENTRY.saturating_sub(bits);
    ones.checked_shl(u32::try_from(from).ok()?)
}
