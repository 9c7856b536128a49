// SPDX-License-Identifier: GPL-2.0

//! The commands that give a realm a granule of memory, and take it away. Blocks come about by RTT_FOLD.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::super::{Failure, Reply, Rmm};
use crate::granule::{Data, Delegated, State};
use crate::platform::Platform;
use crate::rtt::{block_size, Entry, Ripas, LAST_LEVEL};

impl<P: Platform> Rmm<'_, P> {
    /// RMI_DATA_CREATE_UNKNOWN. x1: PA of the RD. x2: PA of a delegated granule. x3: IPA, in the protected
    /// half, whose RIPAS stays what it is.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: the granule is not delegated, or there is no RD; the IPA is not aligned or
    /// not protected; the granule is out of reach. ERROR_RTT: the walk ends above the last level, or
    /// something is mapped.
    pub(super) fn data_create_unknown(&self, regs: &Regs) -> Result<Reply, Failure> {
        let (pa, ipa) = (PhysAddr::new(regs.x(2)), regs.x(3));
        if self.granules.state(pa) != Some(State::Delegated) {
            return Err(Status::ErrorInput.into());
        }
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let reachable = pa.raw() < stage2.pa_limit();
        if !stage2.is_protected(ipa) || !stage2.is_block(ipa, LAST_LEVEL) || !reachable {
            return Err(Status::ErrorInput.into());
        }

        let root = self.lock_root(&stage2, ipa);
        drop(rd);
        let mut walk = self.walk(&stage2, root, ipa, LAST_LEVEL);
        if walk.level != LAST_LEVEL {
            return Err(Failure::rtt(walk.level));
        }
        let Entry::Unassigned(ripas) = self.entry(&mut walk) else {
            return Err(Failure::rtt(LAST_LEVEL));
        };
        let granule = self.granules.lock::<Delegated>(pa);
        let granule = granule.ok_or(Status::ErrorInput)?;
        self.platform.scrub(&granule);
        drop(granule.change::<Data>());
        self.set_entry(&mut walk, Entry::Assigned(ripas, pa));
        walk.table.get(1);
        Ok(Reply::new(Status::Success))
    }

    /// RMI_DATA_DESTROY. x1: PA of the RD. x2: IPA, in the protected half.
    ///
    /// Returns the PA of the granule, which is delegated, and the next IPA at which something is mapped, as
    /// far as the table knows. What was RAM is destroyed.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: there is no RD; the IPA is not aligned or not protected. ERROR_RTT, with the next IPA at
    /// which something is mapped: the walk ends above the last level, or nothing is mapped.
    pub(super) fn data_destroy(&self, regs: &Regs) -> Result<Reply, Failure> {
        let ipa = regs.x(2);
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        if !stage2.is_protected(ipa) || !stage2.is_block(ipa, LAST_LEVEL) {
            return Err(Status::ErrorInput.into());
        }

        let root = self.lock_root(&stage2, ipa);
        drop(rd);
        let mut walk = self.walk(&stage2, root, ipa, LAST_LEVEL);
        let entry = self.entry(&mut walk);
        let (ripas, pa) = match entry {
            Entry::Assigned(ripas, pa) if walk.level == LAST_LEVEL => (ripas, pa),
            _ => {
                let next = self.next_live(&mut walk, ipa);
                return Ok(Reply::failed(Failure::rtt(walk.level)).results([0, next]));
            }
        };
        let left = match ripas {
            Ripas::Empty => Ripas::Empty,
            Ripas::Ram | Ripas::Destroyed => Ripas::Destroyed,
        };
        self.set_entry(&mut walk, Entry::Unassigned(left));
        if entry.is_valid_leaf() {
            self.invalidate(&stage2, ipa, block_size(LAST_LEVEL));
        }
        walk.table.put(1);
        drop(self.granules.own::<Data>(pa).change::<Delegated>());
        let next = self.next_live(&mut walk, ipa);
        Ok(Reply::with(Status::Success, [pa.raw(), next]))
    }
}
