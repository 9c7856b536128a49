// SPDX-License-Identifier: GPL-2.0

//! The machine and its firmware, and the module's parameters.

use super::{machine::machine, prelude::*};

/// True if every CPU has the Realm Management Extension.
pub fn has_rme() -> bool {
    true
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
    /// None here.
    pub fn new() -> Result<Self> {
        Ok(Self(()))
    }

    /// Forbids it for ever.
    pub fn keep(self) {}
}
