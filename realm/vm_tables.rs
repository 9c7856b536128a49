// SPDX-License-Identifier: GPL-2.0

//! A VM's tables: making them, and splitting blocks.

use super::{
    chunk::block_around,
    dump::What,
    host::errno,
    next_span,
    smc::Pause,
    table_map::MissingTable,
    vm::Vm, //
};
use crate::{
    rmi::{
        cmd::realm::RdName,
        Delegated,
        Fid,
        GranuleRange,
        Pending,
        RttLevel,
        GRANULE_SIZE, //
    },
    sys::{
        kvm::MmuReadLock,
        memory,
        prelude::*,
        sched, //
    }, //
};
use core::ops::Range;

impl Vm {
    /// Makes a table. Another vCPU may have made it meanwhile, which is as good.
    ///
    /// A block of private memory in its place is split by that, for which a table was set aside: then
    /// this allocates nothing.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
    pub fn make_table(&self, table: MissingTable) -> Result {
        let name = self.name()?;
        let _making = self.lock_table(table);
        if self.tables.has(table) {
            return Ok(());
        }
        let gfn = table.ipa / GRANULE_SIZE;
        let aside = match table.level {
            RttLevel::L3 => self.blocks.take(gfn),
            _ => None,
        };
        let is_split = aside.is_some();
        let (granule, bad) = match aside {
            // The host has been told so since.
            Some(aside) if memory::is_bad(aside.range().base()) => {
                (self.granule_for_table(), Some(aside))
            }
            Some(aside) => (Ok(aside), None),
            None => (self.granule_for_table(), None),
        };
        let (left, result) = match granule {
            // What it takes is there before the lock is, under which nothing can be allocated.
            Ok(granule) if self.tables.reserve(table) => self.create_table(name, table, granule),
            Ok(granule) => (Some(granule), Err(ENOMEM)),
            Err(error) => (None, Err(error)),
        };
        // As long as it is not made there is a block.
        let left = left.and_then(|left| match is_split {
            true => self.blocks.put(gfn, left),
            false => Some(left),
        });
        left.into_iter().for_each(|left| self.keep_table(left));
        bad.into_iter().for_each(|bad| self.free(bad));
        result
    }

    /// Makes a table of `granule`, of which nobody else is at work. What is left of that comes back.
    fn create_table(
        &self,
        name: RdName,
        table: MissingTable,
        granule: GranuleRange<Delegated>,
    ) -> (Option<GranuleRange<Delegated>>, Result) {
        let rmi = self.rmi(Pause::Never);
        let at = granule.range().base();
        let mut left = Some(granule);
        for tries in 1.. {
            let Some(granule) = left.take() else { break };
            let lock = MmuReadLock::new(&self.kvm);
            let created = self.tables().create(&rmi, name, table, granule);
            drop(lock);
            match created {
                Ok(()) => {
                    self.made(at, What::Rtt(table.level, table.ipa));
                    return (None, Ok(()));
                }
                Err(failed) if failed.error.is_blocked() => left = failed.granules,
                Err(failed) => return (failed.granules, Err(errno(failed.error))),
            }
            if !self.may_try_again(Fid::RTT_CREATE, tries) {
                break;
            }
            sched::sleep_1ms();
        }
        (left, Err(EIO))
    }

    /// Makes all tables that entries at `level` for `ipa` need.
    ///
    /// # Errors
    ///
    /// As for [`Self::make_table`].
    pub fn make_tables(&self, ipa: u64, level: RttLevel) -> Result {
        while let Some(table) = self.tables().missing(ipa, level) {
            self.make_table(table)?;
        }
        Ok(())
    }

    /// A delegated granule to make a table of.
    ///
    /// # Errors
    ///
    /// As for [`Self::alloc_delegated`].
    fn granule_for_table(&self) -> Result<GranuleRange<Delegated>> {
        let spare = self.table_cache.lock().take_good();
        match spare {
            Some(spare) => Ok(spare),
            None => self.alloc_delegated(0),
        }
    }

    /// A table to set aside for the block that `gfn` is in, with room for it and to note it.
    ///
    /// # Errors
    ///
    /// As for [`Self::make_table`].
    pub fn table_to_set_aside(&self, gfn: u64) -> Result<GranuleRange<Delegated>> {
        let table = MissingTable {
            level: RttLevel::L3,
            ipa: block_around(gfn).start * GRANULE_SIZE,
        };
        if !self.blocks.reserve(gfn) || !self.tables.reserve(table) {
            return Err(ENOMEM);
        }
        self.granule_for_table()
    }

    /// Takes a granule back that is no table.
    pub fn keep_table(&self, granule: GranuleRange<Delegated>) {
        let left = self.keep(granule);
        left.into_iter().for_each(|left| self.free(left));
    }

    /// As [`Self::keep_table`], but that it comes back where there are enough.
    fn keep(&self, granule: GranuleRange<Delegated>) -> Option<GranuleRange<Delegated>> {
        self.table_cache.lock().keep(granule)
    }

    /// Of private memory `gfns` are no longer mapped, nor will they be before this returns. Takes the
    /// tables back that were set aside for blocks of which nothing is left.
    pub fn blocks_gone(&self, gfns: &Range<u64>) {
        let mut rest = Pending::new(|tables| self.free(tables));
        let mut from = gfns.start;
        while from < gfns.end {
            let block = block_around(from);
            if self.blocks.has(from) && next_span(&self.pages, &block).is_none() {
                let table = self.blocks.take(from);
                let left = table.and_then(|table| self.keep(table));
                left.into_iter().for_each(|table| rest.add(table));
            }
            from = block.end;
        }
    }
}
