// SPDX-License-Identifier: GPL-2.0

//! The machine and its firmware, and the module's parameters.

use super::{machine::machine, prelude::*};
use crate::rmi::PhysAddr;

/// What a machine does not have, or does not let us do, without which there are no realms.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lacks {
    /// A parameter that lets us call the RMM.
    Consent,
    /// A first kernel: this one is there to dump another.
    FirstKernel,
    /// CPUs with the Realm Management Extension.
    Rme,
    /// A kernel at EL2, with VHE.
    Vhe,
    /// KVM.
    Kvm,
    /// Firmware that is called by SMC.
    Smc,
    /// A kernel that stays: another one is to take over.
    Stay,
}

/// Module parameter `enabled`.
pub fn is_enabled() -> bool {
    machine().lacks() != Some(Lacks::Consent)
}

/// True if this kernel is there to dump another one.
pub fn is_crash_kernel() -> bool {
    machine().lacks() == Some(Lacks::FirstKernel)
}

/// True if every CPU has the Realm Management Extension.
pub fn has_rme() -> bool {
    machine().lacks() != Some(Lacks::Rme)
}

/// Bits of a VMID.
pub fn vmid_bits() -> u32 {
    8
}

/// True if the kernel is at EL2, with VHE.
pub fn has_vhe() -> bool {
    machine().lacks() != Some(Lacks::Vhe)
}

/// True if KVM is there.
pub fn has_kvm() -> bool {
    machine().lacks() != Some(Lacks::Kvm)
}

/// Tells crash kernels where the list of realms begins, or with 0 that there is none.
pub fn set_dump(list: PhysAddr) {
    machine().set_dump(list.raw());
}

/// True if firmware has told of an external abort and that was dealt with.
pub fn claim_sea() -> bool {
    machine().claim_sea()
}

/// True if the host has SVE vectors of `vq` quadwords.
pub fn sve_vq_available(vq: u64) -> bool {
    [1, 2, 4].contains(&vq)
}

/// Module parameter `fault_around`.
pub fn fault_around() -> u32 {
    machine().fault_around()
}

/// Module parameter `fault_adaptive`.
pub fn fault_adaptive() -> bool {
    machine().fault_adaptive()
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

/// The component is not unloaded any more.
pub fn stay_loaded() {
    machine().stay_loaded();
}
