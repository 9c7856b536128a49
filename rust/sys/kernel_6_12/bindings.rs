// SPDX-License-Identifier: GPL-2.0

//! The bindings, with what newer kernels have in them. Inline functions come from `helpers.c` beside this
//! file, numbers of capabilities from the newest kernel, for they are handed out but once.

use super::ffi::c_int;
pub use kernel::bindings::*;

pub const KVM_CAP_GUEST_MEMFD_FLAGS: u32 = 244;
pub const KVM_CAP_S390_USER_OPEREXEC: u32 = 246;
pub const KVM_CAP_S390_KEYOP: u32 = 247;
pub const KVM_CAP_S390_VSIE_ESAMODE: u32 = 248;
pub const KVM_CAP_S390_HPAGE_2G: u32 = 249;
pub const KVM_CAP_PPC_COMPAT_CAPS: u32 = 250;
pub const KVM_CAP_ARM_PMU_V3_STRICT: u32 = 251;

pub const HCR_EL2_TWI_SHIFT: u32 = 13;
pub const HCR_EL2_TWE_SHIFT: u32 = 14;
pub const HPFAR_EL2_FIPA_SHIFT: u32 = 4;
pub const HPFAR_EL2_NS_SHIFT: u32 = 63;

/// No slot has it: files of guest_memfd cannot be mapped to user space.
pub const KVM_MEMSLOT_GMEM_ONLY: u32 = 1 << 17;

// C for Rust, under the names of what is wrapped.
#[allow(
    improper_ctypes,
    reason = "structures are empty or not as the configuration has it; only pointers to them cross"
)]
unsafe extern "C" {
    #[link_name = "kvm_rmi_6_12_srcu_read_lock"]
    pub fn srcu_read_lock(srcu: *mut srcu_struct) -> c_int;

    #[link_name = "kvm_rmi_6_12_srcu_read_unlock"]
    pub fn srcu_read_unlock(srcu: *mut srcu_struct, index: c_int);

    #[link_name = "kvm_rmi_6_12_xa_init_flags"]
    pub fn xa_init_flags(xa: *mut xarray, flags: gfp_t);

    #[link_name = "kvm_rmi_6_12_xa_lock"]
    pub fn xa_lock(xa: *mut xarray);

    #[link_name = "kvm_rmi_6_12_xa_unlock"]
    pub fn xa_unlock(xa: *mut xarray);
}

/// `kvm_gmem_get_pfn()`, which here does not say which page it is.
///
/// # Safety
///
/// As there.
pub unsafe fn kvm_gmem_get_pfn(
    kvm: *mut kvm,
    slot: *mut kvm_memory_slot,
    gfn: gfn_t,
    pfn: *mut kvm_pfn_t,
    _page: *mut *mut page,
    max_order: *mut c_int,
) -> c_int {
    // SAFETY: By the contract of this function.
    unsafe { kernel::bindings::kvm_gmem_get_pfn(kvm, slot, gfn, pfn, max_order) }
}

/// Reads an atomic variable.
///
/// # Safety
///
/// `v` is valid.
pub unsafe fn atomic_read(v: *const atomic_t) -> c_int {
    // SAFETY: By the contract of this function.
    unsafe { (&raw const (*v).counter).read_volatile() }
}
