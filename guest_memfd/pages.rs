// SPDX-License-Identifier: GPL-2.0

//! Pages of guest_memfd on their way into a realm, those of one chunk at a time.

use crate::{
    realm::{host::errno, smc::Pause, vm::Vm, CHUNK},
    rmi::{
        cmd::data::{Pieces, PIECES},
        Delegated,
        GranuleRange,
        Undelegated,
        GRANULE_SIZE, //
    },
    sys::{
        memory::{self, GmemPage},
        prelude::*,
        slots::Memslot, //
    }, //
};
use core::{num::NonZeroU64, ops::Range};

/// Granules of a chunk.
pub(super) const PER_CHUNK: usize = CHUNK as usize;
const _: () = assert!(PER_CHUNK <= PIECES);

/// Pages of one chunk, each with a reference.
pub(super) struct Pages {
    chunk: u64,
    places: [Option<GmemPage>; PER_CHUNK],
}

impl Pages {
    /// None yet.
    pub(super) fn new(chunk: u64) -> Self {
        Self {
            chunk,
            places: [const { None }; PER_CHUNK],
        }
    }

    /// Gets the page of granule `gfn`, which is in the chunk.
    ///
    /// # Errors
    ///
    /// What the file says: `ENOMEM`, `EHWPOISON`, `EFAULT` if it was closed.
    pub(super) fn get(&mut self, slot: &Memslot<'_>, gfn: u64) -> Result {
        self.places[(gfn % CHUNK) as usize] = Some(slot.get_page(gfn)?);
        Ok(())
    }

    /// Where they are.
    pub(super) fn pas(&self) -> [Option<NonZeroU64>; PER_CHUNK] {
        let pa = |page: &GmemPage| NonZeroU64::new(page.pa().raw());
        core::array::from_fn(|place| self.places[place].as_ref().and_then(pa))
    }

    /// Delegates all pages: in one piece what is next to each other in memory, in whatever order the
    /// realm will see it.
    ///
    /// # Errors
    ///
    /// What [`errno`] makes of the RMM's answer; the pages have been dropped.
    pub(super) fn delegate(mut self, vm: &Vm) -> Result<Granules> {
        let mut order = [(0, 0); PER_CHUNK];
        let mut count = 0;
        for (place, page) in self.places.iter().enumerate() {
            if let Some(page) = page {
                order[count] = (page.pa().raw(), place);
                count += 1;
            }
        }
        let order = &mut order[..count];
        order.sort_unstable();
        let mut granules = Granules {
            chunk: self.chunk,
            places: [const { None }; PER_CHUNK],
        };
        for run in order.chunk_by(|(a, _), (b, _)| a + GRANULE_SIZE == *b) {
            let pages = run.iter().filter_map(|(_, place)| self.places[*place].take());
            if let Some(pages) = GmemPage::join(pages) {
                if let Err(error) = granules.delegate_run(vm, run, pages) {
                    granules.put(vm);
                    return Err(error);
                }
            }
        }
        Ok(granules)
    }
}

/// Delegated pages of one chunk, each with a reference.
pub(super) struct Granules {
    chunk: u64,
    places: [Option<GranuleRange<Delegated>>; PER_CHUNK],
}

impl Granules {
    /// Delegates pages; `run` has the address and the place of each.
    ///
    /// That their place is locked and they are not noted as mapped means that no other part of the realm
    /// has them.
    ///
    /// # Errors
    ///
    /// What [`errno`] makes of the RMM's answer; the pages have been dropped, or are here.
    fn delegate_run(
        &mut self,
        vm: &Vm,
        run: &[(u64, usize)],
        pages: GranuleRange<Undelegated>,
    ) -> Result {
        let moved = pages.delegate(&vm.rmi(Pause::Resched));
        moved.rest.into_iter().for_each(memory::put);
        let mut left = moved.done;
        for (_, place) in run {
            let Some(granules) = left.take() else { break };
            let (one, rest) = granules.split(1);
            self.places[*place] = one;
            left = rest;
        }
        moved.error.map_or(Ok(()), |error| Err(errno(error)))
    }

    /// Takes away the first granules that follow each other where the realm will see them.
    pub(super) fn next_run(&mut self) -> Option<(Range<u64>, Pieces)> {
        let start = self.places.iter().position(Option::is_some)?;
        let gfn = self.chunk * CHUNK + start as u64;
        let mut pieces = Pieces::new();
        let mut last: Option<GranuleRange<Delegated>> = None;
        let mut pages = 0;
        for place in &mut self.places[start..] {
            let Some(granule) = place.take() else { break };
            pages += 1;
            last = match last.take() {
                None => Some(granule),
                Some(before) => match before.join(granule) {
                    Ok(joined) => Some(joined),
                    Err((before, granule)) => {
                        // There are no more pieces than places.
                        let _ = pieces.push(before);
                        Some(granule)
                    }
                },
            };
        }
        if let Some(last) = last {
            let _ = pieces.push(last);
        }
        Some((gfn..gfn + pages, pieces))
    }

    /// Undelegates what is left, and drops it.
    pub(super) fn put(&mut self, vm: &Vm) {
        while let Some((_, mut pieces)) = self.next_run() {
            vm.put_pieces(&mut pieces);
        }
    }
}

