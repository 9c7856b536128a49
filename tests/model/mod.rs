// SPDX-License-Identifier: GPL-2.0

//! What `rust/sys/` is in the kernel, on the machine that runs tests: the same names over a scheduler
//! that explores interleavings (the crate `shuttle`), and a model of what KVM promises and demands.
//!
//! * [`machine`]: the host's memory, page by page, and the RMM at the other end of the SMC. A page that
//!   is freed while the realm world has it, or while a realm has it mapped, ends the test.
//! * [`mm`], [`gmem`]: an address space and a file of guest_memfd that give pages away and take them
//!   back, with MMU notifiers and invalidation.
//! * [`vm`]: KVM's half of a VM: slots, attributes, `mmu_lock`, the run loop of a vCPU. It calls the
//!   component through its operations, as C does.
//!
//! Whatever is shared is behind a lock or an atomic of `shuttle`'s, so this works only inside of
//! [`machine::on`], in a test that `shuttle` runs. What may not be done where a spinning lock is held is checked.

pub mod all_vcpus;
pub mod alloc;
pub mod debugfs;
mod error;
pub mod gmem;
pub mod guest;
pub mod kvm;
mod log;
pub mod machine;
pub mod memory;
pub mod mm;
#[path = "../../rust/sys/ops.rs"]
pub mod ops;
mod pages;
pub mod platform;
pub mod ram_watch;
pub mod sched;
pub mod slots;
pub mod smc;
pub mod sync;
pub mod trace;
pub mod user;
pub mod vcpu;
pub mod vm;
pub mod xarray;

/// What nearly every file wants.
pub mod prelude {
    pub use super::alloc::{KBox, KVVec, KVec, GFP_KERNEL, GFP_KERNEL_ACCOUNT};
    pub use super::error::*;
    pub use super::sync::{mutex, Arc, Mutex, SetOnce};
    pub use crate::{
        model_fmt as fmt, model_pr_err as pr_err, model_pr_err as pr_err_once,
        model_pr_info as pr_info,
    };
    pub use core::ffi::CStr;
    pub use core::fmt;
}
