// SPDX-License-Identifier: GPL-2.0

//! The calls to EL3.

use kvm_arm_rmi::rmi::Regs;
use rmm::el3::{fid, BootError};
use rmm::granule::{Delegated, Locked, Undelegated};
use rmm::platform::GptRefused;

use crate::arch::{self, SmcRegs};

/// PSCI_SYSTEM_OFF.
const SYSTEM_OFF: u64 = 0x8400_0008;

/// Tells EL3 how the boot of this CPU ended. Returns with the first command of the host, or never
/// if it failed.
pub(crate) fn boot_complete(result: Result<(), BootError>) -> SmcRegs {
    let code = result.map_or_else(BootError::raw, |()| 0);
    // SAFETY: the call runs the host, which cannot reach the RMM's memory.
    unsafe { arch::smc([fid::BOOT_COMPLETE, code, 0, 0, 0, 0, 0, 0]) }
}

/// Returns the results x0 to x4 of a command to the host, and comes back with its next command.
pub(crate) fn request_complete(results: &Regs) -> SmcRegs {
    let [x0, x1, x2, x3, x4, ..] = results.0;
    // SAFETY: the call runs the host, which cannot reach the RMM's memory.
    unsafe { arch::smc([fid::RMI_REQ_COMPLETE, x0, x1, x2, x3, x4, 0, 0]) }
}

/// Moves a granule to the Realm physical address space.
pub(crate) fn delegate(granule: &Locked<'_, Undelegated>) -> Result<(), GptRefused> {
    // SAFETY: the granule is memory of the host's. The RMM has no references into it.
    let [x0, ..] = unsafe { arch::smc([fid::GTSI_DELEGATE, granule.pa().raw(), 0, 0, 0, 0, 0, 0]) };
    accepted(x0)
}

/// Moves a granule to the Non-secure physical address space.
pub(crate) fn undelegate(granule: &Locked<'_, Delegated>) -> Result<(), GptRefused> {
    arch::complete_writes();
    // SAFETY: the granule is not in use: the token says so. The RMM has no references into it.
    let [x0, ..] =
        unsafe { arch::smc([fid::GTSI_UNDELEGATE, granule.pa().raw(), 0, 0, 0, 0, 0, 0]) };
    accepted(x0)
}

/// Turns the machine off. Returns if EL3 does not let the RMM do that.
pub(crate) fn system_off() {
    // SAFETY: nothing runs after it that could see memory.
    unsafe { arch::smc([SYSTEM_OFF, 0, 0, 0, 0, 0, 0, 0]) };
}

fn accepted(x0: u64) -> Result<(), GptRefused> {
    match x0 {
        0 => Ok(()),
        _ => Err(GptRefused),
    }
}
