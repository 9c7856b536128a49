// SPDX-License-Identifier: GPL-2.0

//! The commands that map memory of the host's in the unprotected half of a realm's IPA space, and unmap it.
//!
//! x1 is the PA of an RD in both, x2 an IPA and x3 the level of the entry for it: 1 to 3.

use kvm_arm_rmi::rmi::{Regs, Status};

use super::super::rtt::level;
use super::super::{Failure, Reply, Rmm};
use crate::granule::{Locked, Rd};
use crate::platform::Platform;
use crate::rtt::{block_size, Entry, Stage2, MIN_BLOCK_LEVEL};

impl<P: Platform> Rmm<'_, P> {
    /// RMI_RTT_MAP_UNPROTECTED. x4: a descriptor with the address, MemAttr and S2AP, and nothing else. The
    /// memory is any: the GPT decides about every access.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: there are no blocks at the level; there is no RD; the descriptor is not
    /// one; the IPA is not where such an entry can start, or protected. ERROR_RTT: the walk ends above the
    /// level, or the entry is not free.
    pub(super) fn map_unprotected(&self, regs: &Regs) -> Result<Reply, Failure> {
        let (ipa, level) = (regs.x(2), level(regs.x(3), MIN_BLOCK_LEVEL)?);
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let wanted = Entry::from_host(regs.x(4), level, stage2.lpa2);
        let wanted = wanted.ok_or(Status::ErrorInput)?;
        check(&stage2, ipa, level)?;

        let mut walk = self.walk_from(rd, &stage2, ipa, level);
        if walk.level != level {
            return Err(Failure::rtt(walk.level));
        }
        if self.entry(&mut walk) != Entry::UnassignedNs {
            return Err(Failure::rtt(level));
        }
        self.set_entry(&mut walk, wanted);
        Ok(Reply::new(Status::Success))
    }

    /// RMI_RTT_UNMAP_UNPROTECTED.
    ///
    /// Returns the next IPA at which something is mapped, as far as the table knows.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: there are no blocks at the level; there is no RD; the IPA is not where such an entry can
    /// start, or protected. ERROR_RTT, with the next IPA at which something is mapped: the walk ends above the
    /// level, or the entry maps nothing.
    pub(super) fn unmap_unprotected(&self, regs: &Regs) -> Result<Reply, Failure> {
        let (ipa, level) = (regs.x(2), level(regs.x(3), MIN_BLOCK_LEVEL)?);
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        check(&stage2, ipa, level)?;

        let mut walk = self.walk_from(rd, &stage2, ipa, level);
        let there = matches!(self.entry(&mut walk), Entry::AssignedNs(..));
        if walk.level != level || !there {
            let next = self.next_live(&mut walk, ipa);
            return Ok(Reply::failed(Failure::rtt(walk.level)).results([next]));
        }
        self.set_entry(&mut walk, Entry::UnassignedNs);
        self.invalidate(&stage2, ipa, block_size(level));
        let next = self.next_live(&mut walk, ipa);
        Ok(Reply::with(Status::Success, [next]))
    }

    /// Walks to the entry for `ipa` at `level`, and lets go of the RD.
    fn walk_from<'t>(
        &'t self,
        rd: Locked<'t, Rd>,
        stage2: &Stage2,
        ipa: u64,
        level: i8,
    ) -> crate::rtt::Walk<'t> {
        let root = self.lock_root(stage2, ipa);
        drop(rd);
        self.walk(stage2, root, ipa, level)
    }
}

/// # Errors
///
/// ERROR_INPUT if `ipa` is not where an entry at `level` can start, or protected.
fn check(stage2: &Stage2, ipa: u64, level: i8) -> Result<(), Failure> {
    if !stage2.is_block(ipa, level) || stage2.is_protected(ipa) {
        return Err(Status::ErrorInput.into());
    }
    Ok(())
}
