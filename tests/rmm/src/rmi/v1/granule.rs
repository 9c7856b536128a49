// SPDX-License-Identifier: GPL-2.0

//! The commands that move a granule between the host and the RMM.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::super::{Reply, Rmm};
use crate::platform::Platform;

impl<P: Platform> Rmm<'_, P> {
    /// RMI_GRANULE_DELEGATE. x1: PA of a granule of the host's.
    ///
    /// ERROR_INPUT: it is not memory, not the host's, or not in the Non-secure address space.
    pub(super) fn granule_delegate(&self, regs: &Regs) -> Reply {
        let done = self.delegate(PhysAddr::new(regs.x(1)));
        Reply::new(done.err().unwrap_or(Status::Success))
    }

    /// RMI_GRANULE_UNDELEGATE. x1: PA of a delegated granule, whose contents are zeroes afterwards.
    ///
    /// ERROR_INPUT: it is not delegated, or in use.
    pub(super) fn granule_undelegate(&self, regs: &Regs) -> Reply {
        let done = self.undelegate(PhysAddr::new(regs.x(1)));
        Reply::new(done.err().unwrap_or(Status::Success))
    }
}
