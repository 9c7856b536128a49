// SPDX-License-Identifier: GPL-2.0

//! The commands about the tables of a realm.
//!
//! x1 is the PA of an RD in all of them, and ERROR_INPUT if it is none.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::{Failure, Reply, Rmm};
use crate::granule::{Delegated, Rtt, State};
use crate::platform::Platform;
use crate::rtt::{
    block_size, Entry, Ripas, Stage2, Table, Walk, ENTRIES, FULL, LAST_LEVEL, MIN_BLOCK_LEVEL,
};

impl<P: Platform> Rmm<'_, P> {
    /// RMI_RTT_CREATE. x2: PA of a delegated granule, which becomes the table. x3, x4: the IPA that it
    /// starts at, and its level. Its entries say what the entry above said.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: the granule is not delegated; the level is not below the root, or
    /// the IPA is not one where such a table can start. ERROR_RTT: the walk ends above the entry that
    /// is to lead to the table, or there is a table. BUSY: a stateful operation has the entry.
    pub(super) fn rtt_create(&self, regs: &Regs) -> Result<Reply, Failure> {
        let rtt = PhysAddr::new(regs.x(2));
        if self.granules.state(rtt) != Some(State::Delegated) {
            return Err(Status::ErrorInput.into());
        }
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let (ipa, level) = table_at(&stage2, regs.x(3), regs.x(4))?;
        if rtt.raw() >= stage2.pa_limit() {
            return Err(Status::ErrorInput.into());
        }

        let above = level.saturating_sub(1);
        let root = self.lock_root(&stage2, ipa);
        let mut walk = self.walk(&stage2, root, ipa, above);
        if walk.level < above {
            return Err(Failure::rtt(walk.level));
        }
        let parent = self.entry(&mut walk);
        match parent {
            Entry::Table(_) => return Err(Failure::rtt(above)),
            Entry::Pending(_) => return Err(Status::Busy.into()),
            _ => {}
        }
        let granule = self
            .granules
            .lock::<Delegated>(rtt)
            .ok_or(Status::ErrorInput)?;

        if parent.is_valid_leaf() {
            self.break_entry(&stage2, &mut walk, ipa, block_size(above));
        }
        let mut granule = granule.change::<Rtt>();
        self.platform.with(&mut granule, |data| {
            Table::view(data, level, stage2.lpa2).unfold(parent);
        });
        match parent {
            // The block had a reference to the parent: now the table has it, and each entry has one
            // to the table.
            Entry::Assigned(..) => granule.get(FULL),
            _ => walk.table.get(1),
        }
        self.set_entry(&mut walk, Entry::Table(rtt));
        Ok(Reply::new(Status::Success))
    }

    /// RMI_RTT_DESTROY. x2, x3: the IPA that the table starts at, and its level.
    ///
    /// Returns the PA of the table, which is delegated, and the next IPA at which something is mapped,
    /// as far as the table above knows. What was RAM below is destroyed.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: the level is not below the root, or the IPA is not one where such a table can
    /// start. ERROR_RTT, with the next IPA at which something is mapped: there is no such table, or
    /// it is in use.
    pub(super) fn rtt_destroy(&self, regs: &Regs) -> Result<Reply, Failure> {
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let (ipa, level) = table_at(&stage2, regs.x(2), regs.x(3))?;

        let above = level.saturating_sub(1);
        let root = self.lock_root(&stage2, ipa);
        let mut walk = self.walk(&stage2, root, ipa, above);
        let rtt = match self.entry(&mut walk) {
            Entry::Table(rtt) if walk.level == above => rtt,
            _ => {
                let next = self.next_live(&mut walk, ipa);
                return Ok(Reply::failed(Failure::rtt(walk.level)).results([0, next]));
            }
        };
        let granule = self.child(rtt);
        if granule.count() != 0 {
            return Ok(Reply::failed(Failure::rtt(level)).results([0, ipa]));
        }

        // All entries of a protected table are invalid, so that only the way to them is cached.
        let (entry, cached) = if stage2.is_protected(ipa) {
            (Entry::Unassigned(Ripas::Destroyed), block_size(LAST_LEVEL))
        } else {
            (Entry::UnassignedNs, block_size(above))
        };
        self.break_entry(&stage2, &mut walk, ipa, cached);
        self.set_entry(&mut walk, entry);
        walk.table.put(1);
        drop(granule.change::<Delegated>());
        let next = self.next_live(&mut walk, ipa);
        Ok(Reply::with(Status::Success, [rtt.raw(), next]))
    }

    /// RMI_RTT_FOLD. x2, x3: the IPA that the table starts at, and its level.
    ///
    /// Returns the PA of the table, which is delegated: one entry above says the same.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: the level is not below the root, or the IPA is not one where such a table can
    /// start. ERROR_RTT with the level above: there is no such table, or it would become a block
    /// larger than there are. ERROR_RTT with the level of the table: no single entry says the same.
    pub(super) fn rtt_fold(&self, regs: &Regs) -> Result<Reply, Failure> {
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let (ipa, level) = table_at(&stage2, regs.x(2), regs.x(3))?;

        let above = level.saturating_sub(1);
        let root = self.lock_root(&stage2, ipa);
        let mut walk = self.walk(&stage2, root, ipa, above);
        let rtt = match self.entry(&mut walk) {
            Entry::Table(rtt) if walk.level == above => rtt,
            _ => return Err(Failure::rtt(walk.level)),
        };
        let mut granule = self.child(rtt);
        let full = match granule.count() {
            0 => false,
            FULL => true,
            _ => return Err(Failure::rtt(level)),
        };
        if full && above < MIN_BLOCK_LEVEL {
            return Err(Failure::rtt(above));
        }
        let entry = self
            .platform
            .with(&mut granule, |data| {
                Table::view(data, level, stage2.lpa2).folded()
            })
            .ok_or(Failure::rtt(level))?;
        if entry.memory().is_some() && above < MIN_BLOCK_LEVEL {
            return Err(Failure::rtt(above));
        }

        let cached = if entry.is_valid_leaf() {
            block_size(above)
        } else {
            block_size(LAST_LEVEL)
        };
        self.break_entry(&stage2, &mut walk, ipa, cached);
        self.set_entry(&mut walk, entry);
        if full {
            granule.put(FULL);
        } else {
            walk.table.put(1);
        }
        drop(granule.change::<Delegated>());
        Ok(Reply::with(Status::Success, [rtt.raw()]))
    }

    /// RMI_RTT_READ_ENTRY. x2, x3: an IPA and a level.
    ///
    /// Returns the level at which the walk ends, and HIPAS, descriptor and RIPAS of the entry there.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: the level is above the root, or the IPA is not one where such an entry can start.
    pub(super) fn rtt_read_entry(&self, regs: &Regs) -> Result<Reply, Failure> {
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let ipa = regs.x(2);
        let level = level(regs.x(3), stage2.start_level)?;
        if !stage2.is_block(ipa, level) {
            return Err(Status::ErrorInput.into());
        }

        let root = self.lock_root(&stage2, ipa);
        drop(rd);
        let mut walk = self.walk(&stage2, root, ipa, level);
        let entry = self.entry(&mut walk);
        let (hipas, mut descriptor, ripas) = entry.report();
        if self.is_v1() {
            descriptor = entry.v1_descriptor(stage2.lpa2);
        }
        Ok(Reply::with(
            Status::Success,
            [
                // Sign-extended: level -1 has all bits set.
                i64::from(walk.level) as u64,
                hipas as u64,
                descriptor,
                ripas as u64,
            ],
        ))
    }

    /// Makes the entry at the end of a walk one that translates nothing, and the TLBs forget `size`
    /// bytes of IPA that it led to: only then may it become another valid one (break before make).
    fn break_entry(&self, stage2: &Stage2, walk: &mut Walk<'_>, ipa: u64, size: u64) {
        let index = walk.index;
        self.with_table(walk, |table| table.clear(index));
        self.invalidate(stage2, ipa, size);
    }

    /// Makes the TLBs forget `size` bytes of IPA.
    pub(super) fn invalidate(&self, stage2: &Stage2, ipa: u64, size: u64) {
        let end = ipa.saturating_add(size);
        self.platform.invalidate_stage2(stage2.vmid, ipa..end);
    }

    /// The first IPA from `ipa`, where the walk has ended, that has a live entry in the same table, or
    /// the IPA after the table.
    pub(super) fn next_live(&self, walk: &mut Walk<'_>, ipa: u64) -> u64 {
        let (first, size) = (walk.index, block_size(walk.level));
        self.with_table(walk, |table| {
            if table.get(first).is_live() {
                return ipa;
            }
            let mut next = ipa & !size.wrapping_sub(1);
            for index in first..ENTRIES {
                if table.get(index).is_live() {
                    break;
                }
                next = next.saturating_add(size);
            }
            next
        })
    }
}

/// The level in a register.
///
/// # Errors
///
/// ERROR_INPUT if it is above `lowest`, or below the last.
pub(super) fn level(raw: u64, lowest: i8) -> Result<i8, Failure> {
    i8::try_from(raw as i64)
        .ok()
        .filter(|level| (lowest..=LAST_LEVEL).contains(level))
        .ok_or_else(|| Status::ErrorInput.into())
}

/// An IPA and a level in registers.
///
/// # Errors
///
/// ERROR_INPUT if no table but a root table can start there.
fn table_at(stage2: &Stage2, ipa: u64, raw_level: u64) -> Result<(u64, i8), Failure> {
    let level = level(raw_level, stage2.start_level.saturating_add(1))?;
    if !stage2.is_block(ipa, level.saturating_sub(1)) {
        return Err(Status::ErrorInput.into());
    }
    Ok((ipa, level))
}
