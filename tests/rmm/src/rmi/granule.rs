// SPDX-License-Identifier: GPL-2.0

//! The commands that move granules between the host and the RMM.
//!
//! RANGE_DELEGATE and RANGE_UNDELEGATE answer with the first address that they have not dealt with,
//! and the host calls again from there. How much a call does is left to the RMM. TF-RMM does one
//! granule. This RMM goes on until the end of the range, the first granule that it must refuse,
//! [`MAX_GRANULES_PER_CALL`], or a pending interrupt. A refusal is an error only for the first
//! granule of a call: after that, the call reports success up to there, and the error is the answer
//! to the next call. To a host that loops, as it must on either, the two differ only in speed.

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr, Regs, Status, GRANULE_SIZE};

use super::{Reply, Rmm};
use crate::granule::{Delegated, Undelegated};
use crate::platform::Platform;

/// Most granules that one call delegates or undelegates: 2 MiB of memory.
pub const MAX_GRANULES_PER_CALL: u64 = 512;

/// Bytes that a level 0 entry of the GPT covers.
const L0GPT_SIZE: u64 = 1 << 30;

/// `RmiMemCategory`: conventional memory.
const CATEGORY_CONVENTIONAL: u64 = 0;
/// `RmiTrackingRegionState`: the RMM knows nothing of the region.
const TRACKING_NONE: u64 = 1;
/// `RmiTrackingRegionState`: the RMM tracks the region granule by granule.
const TRACKING_FINE: u64 = 2;

impl<P: Platform> Rmm<'_, P> {
    /// RMI_GRANULE_RANGE_DELEGATE. x1, x2: base and top PA of granules of the host's.
    ///
    /// Returns the top of what was delegated. ERROR_INPUT, with the base: the range is empty, turned
    /// over or not made of granules; or its first granule is not memory, not the host's, or not in
    /// the Non-secure address space.
    pub(super) fn range_delegate(&self, regs: &Regs) -> Reply {
        self.for_range(regs, |pa| self.delegate(pa))
    }

    /// RMI_GRANULE_RANGE_UNDELEGATE. x1, x2: base and top PA of delegated granules.
    ///
    /// Returns the top of what was undelegated; its contents are zeroes. ERROR_INPUT, with the base:
    /// the range is empty, turned over or not made of granules; or its first granule is not
    /// delegated, or in use.
    pub(super) fn range_undelegate(&self, regs: &Regs) -> Reply {
        self.for_range(regs, |pa| self.undelegate(pa))
    }

    /// RMI_GRANULE_TRACKING_GET. x1, x2: base and top PA of a range.
    ///
    /// Returns the category of the memory at the base, how it is tracked, and up to where that
    /// holds: the top, since memory and the rest of the address space are not told apart within a
    /// range. ERROR_INPUT: the range is empty, turned over, not made of granules, or beyond the
    /// physical address space.
    pub(super) fn tracking_get(&self, regs: &Regs) -> Reply {
        let (base, top) = (PhysAddr::new(regs.x(1)), PhysAddr::new(regs.x(2)));
        let bits = u32::try_from(self.platform.cpu_id().pa_bits()).unwrap_or(u32::MAX);
        let last = 1u64
            .checked_shl(bits)
            .map_or(u64::MAX, |end| end.wrapping_sub(1));
        if AddrRange::new(base, top).is_none() || top.raw() > last {
            return Reply::new(Status::ErrorInput);
        }

        let tracking = if self.granules.tracks(base) {
            TRACKING_FINE
        } else {
            TRACKING_NONE
        };
        Reply::with(
            Status::Success,
            [CATEGORY_CONVENTIONAL, tracking, top.raw()],
        )
    }

    /// RMI_GPT_L1_CREATE. x1: PA of the region that the level 1 table would describe.
    ///
    /// EL3 builds all level 1 tables at boot, so there is never one to create. ERROR_INPUT: the
    /// address is not aligned to what a table describes. ERROR_GPT: otherwise.
    pub(super) fn gpt_l1_create(&self, regs: &Regs) -> Reply {
        if regs.x(1) & L0GPT_SIZE.wrapping_sub(1) != 0 {
            return Reply::new(Status::ErrorInput);
        }
        Reply::new(Status::ErrorGpt)
    }

    /// Runs `step` on the granules of the range in `regs`, as the module says.
    fn for_range(&self, regs: &Regs, step: impl Fn(PhysAddr) -> Result<(), Status>) -> Reply {
        let (base, top) = (PhysAddr::new(regs.x(1)), PhysAddr::new(regs.x(2)));
        let Some(range) = AddrRange::new(base, top) else {
            return Reply::with(Status::ErrorInput, [base.raw()]);
        };

        let mut done = base;
        for _ in 0..range.granules().min(MAX_GRANULES_PER_CALL) {
            match step(done) {
                Ok(()) => done = PhysAddr::new(done.raw().saturating_add(GRANULE_SIZE)),
                Err(status) if done == base => return Reply::with(status, [base.raw()]),
                Err(_) => break,
            }
            if self.platform.interrupt_pending() {
                break;
            }
        }
        Reply::with(Status::Success, [done.raw()])
    }

    /// Delegates one granule. What it holds stays: it is cleared when it is put to use.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorInput`] if it is not the host's, or EL3 refuses.
    pub(super) fn delegate(&self, pa: PhysAddr) -> Result<(), Status> {
        let granule = self
            .granules
            .lock::<Undelegated>(pa)
            .ok_or(Status::ErrorInput)?;
        self.platform
            .gpt_delegate(&granule)
            .map_err(|_| Status::ErrorInput)?;
        drop(granule.change::<Delegated>());
        Ok(())
    }

    /// Clears one granule and undelegates it.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorInput`] if it is not delegated, or is in use.
    ///
    /// # Panics
    ///
    /// If EL3 refuses. It has then taken a Realm granule away behind the RMM's back, and nothing
    /// that the RMM knows about memory can be relied on.
    #[allow(clippy::panic, reason = "there is no safe way on, see above")]
    pub(super) fn undelegate(&self, pa: PhysAddr) -> Result<(), Status> {
        let granule = self
            .granules
            .lock::<Delegated>(pa)
            .ok_or(Status::ErrorInput)?;
        self.platform.scrub(&granule);
        if self.platform.gpt_undelegate(&granule).is_err() {
            panic!("EL3 refuses to undelegate {pa}");
        }
        drop(granule.change::<Undelegated>());
        Ok(())
    }
}
