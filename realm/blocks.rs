// SPDX-License-Identifier: GPL-2.0

//! Blocks of private memory, and the tables that are set aside for them.
//!
//! A block that has to give up a part (a hole is punched, memory is converted, a slot goes) is split:
//! the RMM needs a table for that, and whoever takes the part out must not fail for want of memory. So
//! the table is delegated and set aside before a block is mapped, one for each, and there is room to
//! note it. The kernel deposits page tables with huge pages likewise.
//!
//! The rule: **while a block is mapped and noted, a table is set aside for it.** It is put here under
//! `mmu_lock` for reading, before the block is mapped. It leaves for the table that splits the block,
//! or when nothing of the block is mapped and noted any more. More may be set aside than there are
//! blocks: where another CPU makes the table at the very moment at which a block is mapped.

use super::chunk::{block_of, BLOCK};
use crate::{
    rmi::{Delegated, GranuleRange, Spare},
    sys::{
        prelude::*,
        sync::atomic::{AtomicBool, Ordering},
        xarray::XArray, //
    }, //
};

/// Blocks whose places lie together.
const TOGETHER: u64 = 64;

type Together = [Spare; TOGETHER as usize];

/// The tables that are set aside, each for a block.
pub struct Blocks {
    spares: XArray<Together>,
    refused: AtomicBool,
}

impl Blocks {
    /// There are none, and there is no room.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self {
            spares: XArray::new()?,
            refused: AtomicBool::new(false),
        })
    }

    /// The place for the block that granule `gfn` is in.
    fn place(&self, gfn: u64) -> Option<&Spare> {
        let block = block_of(gfn);
        let places = self.spares.get(block / TOGETHER)?;
        Some(&places[(block % TOGETHER) as usize])
    }

    /// Makes room for the block that `gfn` is in. False if there is no memory for that.
    pub fn reserve(&self, gfn: u64) -> bool {
        self.place(gfn).is_some()
            || self
                .spares
                // Another CPU may be faster.
                .insert(block_of(gfn) / TOGETHER, core::array::from_fn(|_| Spare::default()))
                .is_ok()
    }

    /// Sets a table aside for the block that `gfn` is in, for which there is room. It comes back if there
    /// is one.
    pub fn put(
        &self,
        gfn: u64,
        table: GranuleRange<Delegated>,
    ) -> Option<GranuleRange<Delegated>> {
        match self.place(gfn) {
            Some(place) => place.put(table),
            None => Some(table),
        }
    }

    /// Takes the table of the block that `gfn` is in.
    pub fn take(&self, gfn: u64) -> Option<GranuleRange<Delegated>> {
        self.place(gfn)?.take()
    }

    /// True if there is a table for the block that `gfn` is in.
    pub fn has(&self, gfn: u64) -> bool {
        self.place(gfn).is_some_and(Spare::is_there)
    }

    /// The places of all blocks for which there ever was room.
    fn places(&self) -> impl Iterator<Item = &Spare> {
        let mut from = 0;
        let together = core::iter::from_fn(move || {
            let (index, places) = self.spares.next(from..=u64::MAX / BLOCK / TOGETHER)?;
            from = index + 1;
            Some(places)
        });
        together.flatten()
    }

    /// Takes all tables.
    pub fn take_all(&self) -> impl Iterator<Item = GranuleRange<Delegated>> + '_ {
        self.places().filter_map(Spare::take)
    }

    /// How many tables there are.
    pub fn count(&self) -> usize {
        self.places().filter(|place| place.is_there()).count()
    }

    /// The RMM does not map blocks.
    pub fn refuse(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    /// True if the RMM does not map blocks: it has said so.
    pub fn are_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}
