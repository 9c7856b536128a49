// SPDX-License-Identifier: GPL-2.0

//! Which tables a realm has, and making and removing them.

use crate::rmi::cmd::realm::{Failed, RdName};
use crate::rmi::cmd::rtt::{self, EntryState};
use crate::rmi::{Conduit, Delegated, Error, GranuleRange, Rmi, RttLevel, Status};
use core::ops::Range;

/// A table that is not there: the one at `level` for the block that begins at `ipa`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MissingTable {
    /// Level of the table's entries.
    pub level: RttLevel,
    /// First IPA that the table maps: a multiple of the block size of the level above.
    pub ipa: u64,
}

impl MissingTable {
    /// What the table maps.
    pub fn ipas(&self) -> Range<u64> {
        let size = above(self.level).map_or(u64::MAX, RttLevel::block_size);
        self.ipa..self.ipa.saturating_add(size)
    }
}

/// A set of tables, for one realm. Several CPUs use it at once.
pub trait TableSet {
    /// True if the table is in the set.
    fn has(&self, table: MissingTable) -> bool;

    /// Makes room for a table. False if there is no memory for that.
    fn reserve(&self, table: MissingTable) -> bool;

    /// Adds a table, for which room was made.
    fn insert(&self, table: MissingTable);

    /// Takes a table out. There still is room for it.
    fn remove(&self, table: MissingTable);

    /// Any table of that level.
    fn any(&self, level: RttLevel) -> Option<MissingTable>;
}

/// The tables of a realm, below its starting ones.
pub struct Tables<'a, S> {
    /// Those that there are.
    pub set: &'a S,
    /// Level of the starting tables, which are always there.
    pub start: RttLevel,
}

impl<S: TableSet> Tables<'_, S> {
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

    /// Makes a table of a delegated granule.
    ///
    /// If another CPU has made it meanwhile, that is as good, and the granule comes back unused.
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
    ) -> Result<Option<GranuleRange<Delegated>>, Failed<GranuleRange<Delegated>>> {
        // A table that is there and not in the set would never be removed.
        if !self.set.reserve(table) {
            return Err(Failed {
                granules: Some(granule),
                error: Error::NoMemory(crate::rmi::Fid::RTT_CREATE),
            });
        }
        let left = match rtt::create(rmi, rd, granule, table.ipa, table.level) {
            Ok(()) => None,
            Err(failed) if already_there(&failed.error, table.level) => {
                // What is noted here is relied upon until the realm's end.
                if !is_table(rmi, rd, table) {
                    return Err(failed);
                }
                failed.granules
            }
            Err(failed) => return Err(failed),
        };
        self.set.insert(table);
        Ok(left)
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

/// Bytes of IPA that a table at `level` maps.
pub fn table_size(level: RttLevel) -> u64 {
    level.block_size() << (crate::GRANULE_SHIFT - 3)
}

/// The table below the entry at `level` for `ipa`, if there is such a level.
fn table_below(level: RttLevel, ipa: u64) -> Option<MissingTable> {
    level.below().map(|below| MissingTable {
        level: below,
        ipa: ipa & !level.block_size().wrapping_sub(1),
    })
}

/// The level above.
fn above(level: RttLevel) -> Option<RttLevel> {
    [RttLevel::L0, RttLevel::L1, RttLevel::L2]
        .into_iter()
        .find(|upper| upper.below() == Some(level))
}

/// True if the entry that such a table would be at is one.
fn is_table<C: Conduit>(rmi: &Rmi<C>, rd: RdName, table: MissingTable) -> bool {
    let parent = above(table.level);
    let entry = parent.and_then(|level| rtt::read_entry(rmi, rd, table.ipa, level).ok());
    entry.is_some_and(|entry| entry.state == EntryState::Table)
}

/// RTT_CREATE's way to say that the table exists: the walk to its parent's entry ended there, and
/// the entry is a table.
fn already_there(error: &Error, level: RttLevel) -> bool {
    let Error::Refused(_, code) = error else {
        return false;
    };
    let parent = above(level).map(RttLevel::raw);
    code.status() == Status::ErrorRtt && Some(u64::from(code.index())) == parent
}
