// SPDX-License-Identifier: GPL-2.0

//! The memory that the probe gives to the RMM, and what it knows of it.

use core::ptr;

use kvm_arm_rmi::rmi::GRANULE_SIZE;

use crate::layout::{POOL, POOL_PAGES};

/// Pages of a level 2 block.
pub(crate) const BLOCK_PAGES: u64 = 512;
/// Bytes of a level 2 block.
pub(crate) const BLOCK_SIZE: u64 = BLOCK_PAGES * GRANULE_SIZE;

/// Writes a word. `address` is aligned, in the pool, and not delegated.
pub(crate) fn write(address: u64, value: u64) {
    assert!(index(address).is_some() && address % 8 == 0);
    // SAFETY: it is memory, mapped, and no Rust object is there. If the RMM has the granule after
    // all, the CPU takes an exception, which ends the probe.
    unsafe { ptr::with_exposed_provenance_mut::<u64>(address as usize).write_volatile(value) }
}

/// Reads a word. `address` is aligned, in the pool or the payload's image, and not delegated.
pub(crate) fn read(address: u64) -> u64 {
    assert!(address % 8 == 0);
    // SAFETY: as in `write`; reading needs no more.
    unsafe { ptr::with_exposed_provenance::<u64>(address as usize).read_volatile() }
}

/// Fills a page with a word.
pub(crate) fn fill(page: u64, value: u64) {
    for offset in (0..GRANULE_SIZE).step_by(8) {
        write(page + offset, value);
    }
}

/// The pool's page that holds an address.
fn index(address: u64) -> Option<usize> {
    let page = address.checked_sub(POOL)? / GRANULE_SIZE;
    usize::try_from(page).ok().filter(|page| *page < POOL_PAGES)
}

/// The pool: handed out from its start on, and all at once taken back.
pub(crate) struct Pool {
    next: u64,
    delegated: [bool; POOL_PAGES],
    /// Granules that the RMM has taken since the probe began.
    pub(crate) given: u64,
    /// Granules that it has given back.
    pub(crate) returned: u64,
}

impl Pool {
    /// A pool of which nothing has been handed out.
    pub(crate) const fn new() -> Self {
        Self {
            next: POOL,
            delegated: [false; POOL_PAGES],
            given: 0,
            returned: 0,
        }
    }

    /// Hands out pages with an alignment in bytes.
    pub(crate) fn take(&mut self, pages: u64, align: u64) -> u64 {
        let base = self.next.next_multiple_of(align);
        self.next = base + pages * GRANULE_SIZE;
        assert!(self.next <= POOL + POOL_PAGES as u64 * GRANULE_SIZE);
        base
    }

    /// Takes everything back.
    pub(crate) fn reset(&mut self) {
        self.next = POOL;
    }

    /// Notes that the RMM has taken a granule.
    pub(crate) fn give(&mut self, page: u64) {
        self.given += 1;
        if let Some(index) = index(page) {
            self.delegated[index] = true;
        }
    }

    /// Notes that the RMM has given a granule back.
    pub(crate) fn take_back(&mut self, page: u64) {
        self.returned += 1;
        if let Some(index) = index(page) {
            self.delegated[index] = false;
        }
    }

    /// The pages handed out so far that the RMM has.
    pub(crate) fn outstanding(&self) -> impl Iterator<Item = u64> {
        let delegated = self.delegated;
        let used = (self.next - POOL) / GRANULE_SIZE;
        (0..used)
            .filter(move |page| delegated[*page as usize])
            .map(|page| POOL + page * GRANULE_SIZE)
    }
}
