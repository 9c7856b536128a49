// SPDX-License-Identifier: GPL-2.0

//! The machine and its firmware, and the module's parameters.

use super::ffi;
use super::kernel::{error::to_result, prelude::*};
use crate::rmi::PhysAddr;
use core::sync::atomic::Ordering;

/// Module parameter `enabled`: the RMM may be called.
pub fn is_enabled() -> bool {
    // SAFETY: A parameter of this module, which is set before it is initialised.
    unsafe { ffi::kvm_rmi_enabled }
}

/// `is_kdump_kernel()`: true if this kernel is there to dump another one.
pub fn is_crash_kernel() -> bool {
    ffi::kvm_rmi_helper_is_kdump_kernel()
}

/// True if every CPU has the Realm Management Extension.
pub fn has_rme() -> bool {
    ffi::kvm_rmi_helper_id_aa64pfr0_rme() != 0
}

/// Bits of a VMID, 8 or 16, on every CPU.
pub fn vmid_bits() -> u32 {
    ffi::kvm_rmi_helper_vmid_bits()
}

/// `is_kernel_in_hyp_mode()`: true if the kernel is at EL2, with VHE.
pub fn has_vhe() -> bool {
    ffi::kvm_rmi_helper_is_kernel_in_hyp_mode()
}

/// `is_kvm_arm_initialised()`: true if KVM is there.
pub fn has_kvm() -> bool {
    ffi::kvm_rmi_helper_is_kvm_arm_initialised()
}

/// Tells crash kernels where the list of realms begins, or with 0 that there is none.
pub fn set_dump(list: PhysAddr) {
    ffi::kvm_rmi_helper_set_dump(list.raw());
}

/// Adds memory to the host, as a new block of it would be.
///
/// # Errors
///
/// Those of `add_memory()`; `EOPNOTSUPP` where memory cannot be added.
#[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
pub fn add_memory(base: u64, size: u64) -> Result {
    to_result(ffi::kvm_rmi_helper_add_memory(base, size))
}

/// `apei_claim_sea()`: true if firmware has told of an external abort and that was dealt with.
pub fn claim_sea() -> bool {
    ffi::kvm_rmi_helper_claim_sea()
}

/// Most quadwords of an SVE vector, by the architecture.
pub const SVE_VQ_MAX: u64 = 16;

/// `sve_vq_available()`: true if the host has SVE vectors of `vq` quadwords.
pub fn sve_vq_available(vq: u64) -> bool {
    // SAFETY: The number is in the range that there are vectors of.
    (1..=SVE_VQ_MAX).contains(&vq) && unsafe { ffi::kvm_rmi_helper_sve_vq_available(vq as u32) }
}

/// Module parameter `fault_around`: bytes of private memory to map around a fault.
pub fn fault_around() -> u32 {
    // SAFETY: A parameter of this module, which is only read and written as a word.
    unsafe { &ffi::kvm_rmi_fault_around }.load(Ordering::Relaxed)
}

/// Module parameter `fault_adaptive`: less than that where the realm has not shown that it uses more.
pub fn fault_adaptive() -> bool {
    // SAFETY: A parameter of this module, which is only read and written as a byte.
    unsafe { &ffi::kvm_rmi_fault_adaptive }.load(Ordering::Relaxed) != 0
}

/// The numbers of the capabilities that KVM has none for, as the module's parameters have them.
pub struct CapNumbers {
    /// `cap`: that of `KVM_CAP_ARM_RMI`.
    pub rmi: u32,
    /// `gmem_attributes_cap`: that of `KVM_CAP_GUEST_MEMFD_MEMORY_ATTRIBUTES`.
    pub gmem_attributes: u32,
    /// `force_cap`: they may be those of another architecture.
    pub forced: bool,
}

impl CapNumbers {
    /// What the parameters say.
    pub fn get() -> Self {
        // SAFETY: Parameters of this module, which are set before it is initialised.
        unsafe {
            Self {
                rmi: ffi::kvm_rmi_cap,
                gmem_attributes: ffi::kvm_rmi_gmem_attributes_cap,
                forced: ffi::kvm_rmi_force_cap,
            }
        }
    }
}

/// While this is there no other kernel can take over this one's memory, whether started by kexec or
/// restored from disk.
///
/// # Invariants
///
/// `kvm_rmi_forbid_takeover()` has returned 0 for it.
pub struct NoTakeover(());

impl NoTakeover {
    /// Forbids it.
    ///
    /// # Errors
    ///
    /// `EBUSY` if one is about to.
    pub fn new() -> Result<Self> {
        // INVARIANT: Checked right here.
        to_result(ffi::kvm_rmi_helper_forbid_takeover()).map(|()| Self(()))
    }

    /// Forbids it for ever.
    pub fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for NoTakeover {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { ffi::kvm_rmi_helper_allow_takeover() };
    }
}

/// The component is not unloaded any more, for who runs in it on behalf of a VM, until the machine is reset.
pub fn stay_loaded() {
    ffi::kvm_rmi_helper_stay_loaded();
}
