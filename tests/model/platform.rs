// SPDX-License-Identifier: GPL-2.0

//! The machine and its firmware, and the module's parameters.

use super::{machine::machine, prelude::*};

/// What a machine does not have, or does not let us do, without which there are no realms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lacks {
    /// One of these, of which there is no more than that it is told.
    Base(Obstacle),
    /// Firmware that is called by SMC.
    Smc,
    /// A kernel that stays: another one is to take over.
    Stay,
}

/// Why there can be no realms, whatever the RMM is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Obstacle {
    /// Module parameter `enabled` is 0.
    Disabled,
    /// This kernel is there to dump another one.
    CrashKernel,
    /// Not every CPU has the Realm Management Extension.
    Rme,
    /// The kernel is not at EL2 with VHE.
    Vhe,
}

/// The first that there is.
pub fn obstacle() -> Option<Obstacle> {
    match machine().lacks() {
        Some(Lacks::Base(obstacle)) => Some(obstacle),
        _ => None,
    }
}

/// True if firmware has told of an external abort.
pub fn claim_sea() -> bool {
    false
}

/// True if the host has SVE vectors of `vq` quadwords.
pub fn sve_vq_available(vq: u64) -> bool {
    [1, 2, 4].contains(&vq)
}

/// Module parameter `fault_around`.
pub fn fault_around() -> u32 {
    machine().fault_around()
}

/// No other kernel takes over.
#[derive(Debug)]
pub struct NoTakeover(());

impl NoTakeover {
    /// Forbids it.
    ///
    /// # Errors
    ///
    /// `EBUSY`.
    pub fn new() -> Result<Self> {
        match machine().lacks() {
            Some(Lacks::Stay) => Err(EBUSY),
            _ => Ok(Self(())),
        }
    }

    /// Forbids it for ever.
    pub fn keep(self) {
        machine().keep();
    }
}
