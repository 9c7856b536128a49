// SPDX-License-Identifier: GPL-2.0

//! A place for one delegated granule.

use super::{AddrRange, Delegated, GranuleRange, PhysAddr, GRANULE_SIZE};
use core::sync::atomic::{AtomicU64, Ordering};

/// A place where a delegated granule waits for its use, or none. Several CPUs may put one in and take it
/// out at once: whoever takes it has it alone.
///
/// Dropping one frees nothing.
#[derive(Debug, Default)]
pub struct Spare(
    /// Its address; 0 for none.
    AtomicU64,
);

impl Spare {
    /// Puts a granule here. It comes back where there is one already; so does what is not a single one,
    /// or is at address 0.
    pub fn put(&self, granule: GranuleRange<Delegated>) -> Option<GranuleRange<Delegated>> {
        let range = granule.range();
        let pa = range.base().raw();
        if range.bytes() != GRANULE_SIZE || pa == 0 {
            return Some(granule);
        }
        let put = self
            .0
            .compare_exchange(0, pa, Ordering::AcqRel, Ordering::Relaxed);
        put.is_err().then_some(granule)
    }

    /// Takes the granule.
    pub fn take(&self) -> Option<GranuleRange<Delegated>> {
        let pa = match self.0.swap(0, Ordering::AcqRel) {
            0 => return None,
            pa => PhysAddr::new(pa),
        };
        // Whoever has put it here had it alone, and the exchange has let nobody else take it.
        AddrRange::new(pa, PhysAddr::new(pa.raw().saturating_add(GRANULE_SIZE)))
            .map(GranuleRange::of)
    }

    /// True if there is one, which others may take at any time.
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Acquire) != 0
    }
}
