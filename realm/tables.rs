// SPDX-License-Identifier: GPL-2.0

//! Making and removing a realm's tables.

use super::table_map::{above, MissingTable, TableMap};
use crate::rmi::cmd::realm::{Failed, RdName};
use crate::rmi::cmd::rtt;
use crate::rmi::{Conduit, Delegated, Error, GranuleRange, Rmi, RttLevel};

/// The tables of a realm, below its starting ones.
pub struct Tables<'a> {
    /// Those that there are.
    pub set: &'a TableMap,
    /// Level of the starting tables, which are always there.
    pub start: RttLevel,
}

impl Tables<'_> {
    /// The first table, from the top, that is missing on the way to entries at `level` for `ipa`.
    pub fn missing(&self, ipa: u64, level: RttLevel) -> Option<MissingTable> {
        // Where the last table is there, so are those above it.
        let last = above(level).and_then(|above| table_below(above, ipa))?;
        if level <= self.start || self.set.has(last) {
            return None;
        }
        let mut at = self.start;
        while at < level {
            let table = table_below(at, ipa)?;
            if !self.set.has(table) {
                return Some(table);
            }
            at = table.level;
        }
        None
    }

    /// The lowest level at which there are entries for `ipa`.
    pub fn depth(&self, ipa: u64) -> RttLevel {
        match self.missing(ipa, RttLevel::L3) {
            None => RttLevel::L3,
            Some(table) => above(table.level).unwrap_or(self.start),
        }
    }

    /// Makes a table of a delegated granule. Nobody else makes it meanwhile.
    ///
    /// # Errors
    ///
    /// The RMM refuses, or there is no memory to write the table down ([`Error::NoMemory`]).
    pub fn create<C: Conduit>(
        &self,
        rmi: &Rmi<C>,
        rd: RdName,
        table: MissingTable,
        granule: GranuleRange<Delegated>,
    ) -> Result<(), Failed<GranuleRange<Delegated>>> {
        // A table that is there and not in the set would never be removed.
        if !self.set.reserve(table) {
            return Err(Failed {
                granules: Some(granule),
                error: Error::NoMemory(crate::rmi::Fid::RTT_CREATE),
            });
        }
        rtt::create(rmi, rd, granule, table.ipa, table.level)?;
        self.set.insert(table);
        Ok(())
    }

    /// Folds the table, whose entries must all be the same, into the one above, and returns its
    /// granule. While this runs others take the table for missing. The caller keeps those away who map
    /// or unmap something there.
    ///
    /// # Errors
    ///
    /// The RMM refuses: the table stays.
    pub fn fold<C: Conduit>(
        &self,
        rmi: &Rmi<C>,
        rd: RdName,
        table: MissingTable,
    ) -> Result<GranuleRange<Delegated>, Error> {
        self.set.remove(table);
        match rtt::fold(rmi, rd, table.ipa, table.level) {
            Ok(granule) => Ok(granule),
            Err(error) => {
                self.set.insert(table);
                Err(error)
            }
        }
    }

    /// Removes the table, which must map nothing, and returns its granule.
    ///
    /// # Errors
    ///
    /// The RMM refuses: the table stays.
    pub fn destroy<C: Conduit>(
        &self,
        rmi: &Rmi<C>,
        rd: RdName,
        table: MissingTable,
    ) -> Result<GranuleRange<Delegated>, Error> {
        let granule = rtt::destroy(rmi, rd, table.ipa, table.level)?;
        self.set.remove(table);
        Ok(granule)
    }

    /// Strikes out a table that the RMM keeps.
    pub fn give_up(&self, table: MissingTable) {
        self.set.remove(table);
    }
}

/// The table below the entry at `level` for `ipa`, if there is such a level.
fn table_below(level: RttLevel, ipa: u64) -> Option<MissingTable> {
    level.below().map(|below| MissingTable {
        level: below,
        ipa: ipa & !level.block_size().wrapping_sub(1),
    })
}
