// SPDX-License-Identifier: GPL-2.0

//! The way from the root to an entry.

use kvm_arm_rmi::rmi::PhysAddr;

use super::{block_shift, Entry, Stage2, Table, ENTRIES};
use crate::granule::{Locked, Rtt};
use crate::platform::Platform;
use crate::rmi::Rmm;

/// Where a walk has ended: a table that is held, and the entry in it.
pub struct Walk<'t> {
    /// The table.
    pub table: Locked<'t, Rtt>,
    /// Its level.
    pub level: i8,
    /// It is one of FEAT_LPA2's.
    pub lpa2: bool,
    /// The entry for the IPA that was looked up.
    pub index: usize,
}

/// The entry for `ipa` in a table at `level`.
fn index(ipa: u64, level: i8) -> usize {
    usize::try_from(ipa >> block_shift(level)).unwrap_or(0) % ENTRIES
}

impl<P: Platform> Rmm<'_, P> {
    /// Takes the root table for `ipa`. Once it is held, [`Self::walk`] needs the RD no more: a realm
    /// cannot go while somebody holds one of its tables.
    pub(crate) fn lock_root(&self, stage2: &Stage2, ipa: u64) -> Locked<'_, Rtt> {
        self.granules().own(stage2.root_for(ipa))
    }

    /// Walks down from `root`, the root table for `ipa`, to level `level`, or to the table that has
    /// no table for `ipa` below it. On the way, a table is let go once the next one is held.
    pub(crate) fn walk<'t>(
        &'t self,
        stage2: &Stage2,
        root: Locked<'t, Rtt>,
        ipa: u64,
        level: i8,
    ) -> Walk<'t> {
        let mut walk = Walk {
            table: root,
            level: stage2.start_level,
            lpa2: stage2.lpa2,
            index: index(ipa, stage2.start_level),
        };
        while walk.level < level {
            let Entry::Table(next) = self.entry(&mut walk) else {
                break;
            };
            walk.table = self.granules().own(next);
            walk.level = walk.level.saturating_add(1);
            walk.index = index(ipa, walk.level);
        }
        walk
    }

    /// The entry at the end of a walk.
    pub(crate) fn entry(&self, walk: &mut Walk<'_>) -> Entry {
        let index = walk.index;
        self.with_table(walk, |table| table.get(index))
    }

    /// Replaces the entry at the end of a walk.
    pub(crate) fn set_entry(&self, walk: &mut Walk<'_>, entry: Entry) {
        let index = walk.index;
        self.with_table(walk, |table| table.set(index, entry));
    }

    /// Runs `f` on the table at the end of a walk.
    pub(crate) fn with_table<R>(&self, walk: &mut Walk<'_>, f: impl FnOnce(&Table<'_>) -> R) -> R {
        let (level, lpa2) = (walk.level, walk.lpa2);
        self.platform()
            .with(&mut walk.table, |data| f(&Table::view(data, level, lpa2)))
    }

    /// Takes a table that an entry of another one, which is held, leads to.
    pub(crate) fn child(&self, pa: PhysAddr) -> Locked<'_, Rtt> {
        self.granules().own(pa)
    }
}
