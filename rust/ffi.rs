// SPDX-License-Identifier: GPL-2.0

//! The C that `rust/helpers.c` adds to the kernel crate's bindings: the same list as
//! `rust/helpers.h`.

#![allow(
    improper_ctypes,
    reason = "structures of the kernel are empty or not as the configuration has it; only pointers \
              to them cross"
)]

use kernel::{
    bindings,
    prelude::*, //
};

/// Prints a file's contents.
pub(crate) type Show = unsafe extern "C" fn(*const File, *mut bindings::seq_file) -> c_int;

/// Takes the word that was written to a file.
pub(crate) type Store = unsafe extern "C" fn(*const File, *const c_char) -> c_int;

/// `struct kvm_rmi_file`.
#[repr(C)]
pub(crate) struct File {
    pub(crate) show: Option<Show>,
    pub(crate) store: Option<Store>,
}

// The declarations are those of `rust/helpers.h`. What is marked safe may be called by
// anybody who may sleep.
unsafe extern "C" {
    /// Module parameter `cap`. Written by the kernel while the module loads, never afterwards.
    pub(crate) static kvm_rmi_cap: u32;

    /// `page_to_phys()`.
    pub(crate) fn kvm_rmi_helper_page_to_phys(page: *mut bindings::page) -> bindings::phys_addr_t;

    /// `phys_to_page()`.
    pub(crate) fn kvm_rmi_helper_phys_to_page(phys: bindings::phys_addr_t) -> *mut bindings::page;

    /// `cond_resched()`.
    pub(crate) safe fn kvm_rmi_helper_cond_resched();

    /// `ID_AA64PFR0_EL1.RME`, the lowest value of all CPUs.
    pub(crate) safe fn kvm_rmi_helper_id_aa64pfr0_rme() -> u64;

    /// Makes a file in debugfs. It stays until its directory is removed, and `file` with it.
    pub(crate) fn kvm_rmi_helper_debugfs_create_file(
        file: *mut File,
        name: *const c_char,
        parent: *mut bindings::dentry,
    );
}
