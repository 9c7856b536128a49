// SPDX-License-Identifier: GPL-2.0

//! The C that `rust/sys/helpers.c` adds to the kernel crate's bindings: the same list as
//! `rust/sys/helpers.h`.

#![allow(
    improper_ctypes,
    reason = "structures of the kernel are empty or not as the configuration has it; only pointers \
              to them cross"
)]

use super::kernel::{
    bindings,
    prelude::*, //
};
use core::sync::atomic::{AtomicU32, AtomicU8};

/// Prints a file's contents.
#[cfg(CONFIG_DEBUG_FS)]
pub(crate) type Show = unsafe extern "C" fn(*const kvm_rmi_file, *mut bindings::seq_file) -> c_int;

/// Takes the word that was written to a file.
#[cfg(CONFIG_DEBUG_FS)]
pub(crate) type Store = unsafe extern "C" fn(*const kvm_rmi_file, *const c_char) -> c_int;

/// `struct kvm_rmi_file`. To kCFI, which looks at the types of what C calls here, a structure is its name.
#[cfg(CONFIG_DEBUG_FS)]
#[allow(non_camel_case_types, reason = "the name is C's")]
#[repr(C)]
pub(crate) struct kvm_rmi_file {
    pub(crate) show: Option<Show>,
    pub(crate) store: Option<Store>,
}

// The declarations are those of `rust/sys/helpers.h`. What is marked safe may be called by
// anybody who may sleep.
unsafe extern "C" {
    /// Module parameter `enabled`. Written by the kernel while the module loads, never afterwards.
    pub(crate) static kvm_rmi_enabled: bool;

    /// Module parameter `cap`. Written by the kernel while the module loads, never afterwards.
    pub(crate) static kvm_rmi_cap: u32;

    /// Module parameter `force_cap`.
    pub(crate) static kvm_rmi_force_cap: bool;

    /// Module parameter `gmem_attributes_cap`.
    pub(crate) static kvm_rmi_gmem_attributes_cap: u32;

    /// Module parameter `vm_type_alias`.
    pub(crate) static kvm_rmi_vm_type_alias: bool;

    /// Module parameter `fault_around`, which may change at any time.
    pub(crate) static kvm_rmi_fault_around: AtomicU32;

    /// Module parameter `fault_adaptive`, which may change at any time.
    pub(crate) static kvm_rmi_fault_adaptive: AtomicU8;

    /// `page_to_phys()`.
    pub(crate) fn kvm_rmi_helper_page_to_phys(page: *mut bindings::page) -> bindings::phys_addr_t;

    /// `page_address()`: never null, since arm64 maps all its memory.
    pub(crate) fn kvm_rmi_helper_page_address(page: *mut bindings::page) -> *mut c_void;

    /// `PageHWPoison()`, or no page of memory that is online.
    pub(crate) fn kvm_rmi_helper_is_bad(phys: bindings::phys_addr_t) -> bool;

    /// The first address from `phys` on that is of memory which is online, or `end`.
    pub(crate) fn kvm_rmi_helper_next_online(
        phys: bindings::phys_addr_t,
        end: bindings::phys_addr_t,
    ) -> bindings::phys_addr_t;

    /// `put_page()` for pages that follow each other. Those of a file that keeps them are `dirty` from now
    /// on.
    pub(crate) fn kvm_rmi_helper_put_pages(phys: u64, pages: u64, dirty: bool);
    /// References to such pages. False if one is free, or is no page of the kernel's.
    pub(crate) fn kvm_rmi_helper_get_pages(phys: u64, pages: u64) -> bool;

    /// `signal_pending()`, of the current task.
    pub(crate) safe fn kvm_rmi_helper_signal_pending() -> bool;

    /// `cond_resched()`.
    pub(crate) safe fn kvm_rmi_helper_cond_resched();

    /// `ID_AA64PFR0_EL1.RME`, the lowest value of all CPUs.
    pub(crate) safe fn kvm_rmi_helper_id_aa64pfr0_rme() -> u64;

    /// `get_vmid_bits()` of `ID_AA64MMFR1_EL1`, the lowest value of all CPUs: 8 or 16.
    pub(crate) safe fn kvm_rmi_helper_vmid_bits() -> u32;

    /// `apei_claim_sea()`: true if firmware has told of an external abort and that was dealt with.
    /// Interrupts are on.
    pub(crate) safe fn kvm_rmi_helper_claim_sea() -> bool;

    /// `is_kdump_kernel()`.
    pub(crate) safe fn kvm_rmi_helper_is_kdump_kernel() -> bool;

    /// `is_kernel_in_hyp_mode()`.
    pub(crate) safe fn kvm_rmi_helper_is_kernel_in_hyp_mode() -> bool;

    /// `is_kvm_arm_initialised()`.
    pub(crate) safe fn kvm_rmi_helper_is_kvm_arm_initialised() -> bool;

    /// Where a crash kernel begins to look for realms: a physical address, or 0.
    pub(crate) safe fn kvm_rmi_helper_set_dump(list: bindings::phys_addr_t);

    /// `register_memory_notifier()`, for memory that is about to go online or offline, which what `coming` or
    /// `going` returns unless 0 keeps from doing so. Only one at a time.
    pub(crate) fn kvm_rmi_helper_watch_ram(
        arg: *mut c_void,
        coming: unsafe extern "C" fn(c_ulong, c_ulong, *mut c_void) -> c_int,
        going: unsafe extern "C" fn(c_ulong, c_ulong, *mut c_void) -> c_int,
    ) -> c_int;

    /// `unregister_memory_notifier()`.
    pub(crate) fn kvm_rmi_helper_unwatch_ram();

    /// `load_unaligned_zeropad()` of words that end behind `edge`: there they are to have zeroes, and before
    /// it what is there. Writes there.
    #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
    pub(crate) fn kvm_rmi_helper_loads_zeroes_from(edge: u64) -> bool;

    /// `add_memory()`, where there may be no other memory.
    #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
    pub(crate) safe fn kvm_rmi_helper_add_memory(base: u64, size: u64) -> c_int;

    /// `kvm_rmi_forbid_takeover()`.
    pub(crate) safe fn kvm_rmi_helper_forbid_takeover() -> c_int;

    /// `kvm_rmi_allow_takeover()`, after [`kvm_rmi_helper_forbid_takeover`] has returned 0.
    pub(crate) fn kvm_rmi_helper_allow_takeover();

    /// `__module_get()`, once and for ever, while something else has a reference.
    pub(crate) safe fn kvm_rmi_helper_stay_loaded();

    /// Makes a file in debugfs. It stays until its directory is removed, and `file` with it.
    #[cfg(CONFIG_DEBUG_FS)]
    pub(crate) fn kvm_rmi_helper_debugfs_create_file(
        file: *mut kvm_rmi_file,
        name: *const c_char,
        parent: *mut bindings::dentry,
    );

    // Of KVM, in the order of `rust/sys/kvm_helpers.c`. VMs and vCPUs are valid for as long as a call
    // takes.

    /// `read_lock(&kvm->mmu_lock)`.
    pub(crate) fn kvm_rmi_helper_mmu_read_lock(kvm: *mut bindings::kvm);

    /// `read_unlock(&kvm->mmu_lock)`.
    pub(crate) fn kvm_rmi_helper_mmu_read_unlock(kvm: *mut bindings::kvm);

    /// `write_lock(&kvm->mmu_lock)`.
    pub(crate) fn kvm_rmi_helper_mmu_write_lock(kvm: *mut bindings::kvm);

    /// `write_unlock(&kvm->mmu_lock)`.
    pub(crate) fn kvm_rmi_helper_mmu_write_unlock(kvm: *mut bindings::kvm);

    /// `lockdep_assert_held_read(&kvm->mmu_lock)`.
    pub(crate) fn kvm_rmi_helper_mmu_assert_read(kvm: *mut bindings::kvm);

    /// `lockdep_assert_held_write(&kvm->mmu_lock)`.
    pub(crate) fn kvm_rmi_helper_mmu_assert_write(kvm: *mut bindings::kvm);

    /// `kvm->mmu_invalidate_seq`, read before everything that follows.
    pub(crate) fn kvm_rmi_helper_mmu_invalidate_seq(kvm: *mut bindings::kvm) -> c_ulong;

    /// `mmu_invalidate_retry_gfn()` for a range, under `mmu_lock`.
    pub(crate) fn kvm_rmi_helper_mmu_invalidate_retry(
        kvm: *mut bindings::kvm,
        seq: c_ulong,
        start: u64,
        end: u64,
    ) -> bool;

    /// `kvm_mem_is_private()`.
    pub(crate) fn kvm_rmi_helper_mem_is_private(kvm: *mut bindings::kvm, gfn: u64) -> bool;

    /// `gfn_to_memslot()`, in a read section of `kvm->srcu`; may be null.
    pub(crate) fn kvm_rmi_helper_gfn_to_memslot(
        kvm: *mut bindings::kvm,
        gfn: u64,
    ) -> *mut bindings::kvm_memory_slot;

    /// The first slot with any of the granules from `start` to `end`, in a read section of
    /// `kvm->srcu`; may be null.
    pub(crate) fn kvm_rmi_helper_first_memslot(
        kvm: *mut bindings::kvm,
        start: u64,
        end: u64,
    ) -> *mut bindings::kvm_memory_slot;

    /// `get_user_pages_fast_only()`, which does not sleep: at most `wanted` pages of user space where a
    /// slot shares its granules from `gfn` on, which it has. Returns how many there are, each with a
    /// reference; they are in `pages`.
    pub(crate) fn kvm_rmi_helper_get_present_pages(
        slot: *const bindings::kvm_memory_slot,
        gfn: u64,
        wanted: c_int,
        writable: bool,
        pages: *mut *mut bindings::page,
    ) -> c_int;

    /// `kvm_release_page_dirty()` or `kvm_release_page_clean()`, under `mmu_lock`.
    pub(crate) fn kvm_rmi_helper_release_page(page: *mut bindings::page, dirty: bool);

    /// `kvm_for_each_memslot()`, under `slots_lock`. What `visit` returns unless 0 ends it.
    pub(crate) fn kvm_rmi_helper_walk_memslots(
        kvm: *mut bindings::kvm,
        arg: *mut c_void,
        visit: unsafe extern "C" fn(*mut bindings::kvm_memory_slot, *mut c_void) -> c_int,
    ) -> c_int;

    /// `mutex_lock_interruptible(&kvm->slots_lock)`.
    pub(crate) fn kvm_rmi_helper_lock_slots_interruptible(kvm: *mut bindings::kvm) -> c_int;

    /// `kvm_get_vcpu()`; null from the number of vCPUs on.
    pub(crate) fn kvm_rmi_helper_get_vcpu(
        kvm: *mut bindings::kvm,
        index: c_int,
    ) -> *mut bindings::kvm_vcpu;

    /// `kvm_get_vcpu_by_id()`; may be null.
    pub(crate) fn kvm_rmi_helper_get_vcpu_by_id(
        kvm: *mut bindings::kvm,
        id: c_int,
    ) -> *mut bindings::kvm_vcpu;

    /// `mutex_trylock_nest_lock(&vcpu->mutex)`, for who holds `nest`.
    pub(crate) fn kvm_rmi_helper_trylock_vcpu(
        vcpu: *mut bindings::kvm_vcpu,
        nest: *mut bindings::mutex,
    ) -> bool;

    /// `kvm_vcpu_initialized()`.
    pub(crate) fn kvm_rmi_helper_vcpu_is_initialized(vcpu: *mut bindings::kvm_vcpu) -> bool;

    /// `kvm_arm_vcpu_is_finalized()`.
    pub(crate) fn kvm_rmi_helper_vcpu_is_finalized(vcpu: *mut bindings::kvm_vcpu) -> bool;

    /// `vcpu_has_feature(KVM_ARM_VCPU_PSCI_0_2)`.
    pub(crate) fn kvm_rmi_helper_vcpu_has_psci_0_2(vcpu: *mut bindings::kvm_vcpu) -> bool;

    /// Longest SVE vector of the vCPU in quadwords, 0 without SVE.
    pub(crate) fn kvm_rmi_helper_vcpu_sve_vq(vcpu: *mut bindings::kvm_vcpu) -> u32;

    /// `sve_vq_available()`: true if the host has SVE vectors of `vq` quadwords, of which there are 1 to
    /// [`bindings::SVE_VQ_MAX`].
    pub(crate) fn kvm_rmi_helper_sve_vq_available(vq: u32) -> bool;

    /// `kvm_vcpu_has_pmu()`.
    pub(crate) fn kvm_rmi_helper_vcpu_has_pmu(vcpu: *mut bindings::kvm_vcpu) -> bool;

    /// Event counters of the PMU of a VM's vCPUs, as they stand now.
    pub(crate) fn kvm_rmi_helper_nr_pmu_counters(kvm: *mut bindings::kvm) -> u8;

    /// `kvm_vcpu_read_pmcr()`, of a vCPU without EL2.
    pub(crate) fn kvm_rmi_helper_vcpu_read_pmcr(vcpu: *mut bindings::kvm_vcpu) -> u64;

    /// `kvm_vcpu_get_mpidr_aff()`.
    pub(crate) fn kvm_rmi_helper_vcpu_mpidr_aff(vcpu: *mut bindings::kvm_vcpu) -> u64;

    /// `kvm_prepare_memory_fault_exit()`.
    pub(crate) fn kvm_rmi_helper_prepare_memory_fault_exit(
        vcpu: *mut bindings::kvm_vcpu,
        gpa: u64,
        size: u64,
        is_private: bool,
    );

    /// `kvm_vm_dead()`: no vCPU of the VM runs when this returns, and none will.
    pub(crate) fn kvm_rmi_helper_vm_dead(kvm: *mut bindings::kvm);
}
