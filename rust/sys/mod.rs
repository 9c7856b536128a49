// SPDX-License-Identifier: GPL-2.0

//! What the kernel gives us, and all of our `unsafe` code.
//!
//! The domain folders are compiled twice: into the kernel with this, and on the test machine with
//! `tests/model/`, which has the same names over a model of KVM. So whatever they need of a kernel is
//! here, as types with lifetimes and invariants, and they can be wrong only in ways that a test shows.
//!
//! C and its declarations: `helpers.h`, [`ffi`].

pub mod all_vcpus;
#[cfg_attr(not(CONFIG_DEBUG_FS), path = "no_debugfs.rs")]
pub mod debugfs;
mod ffi;
#[cfg_attr(linux_6_12, path = "kernel_6_12/mod.rs")]
pub(crate) mod kernel;
pub mod kvm;
pub mod memory;
mod operations;
pub mod ops;
pub mod platform;
pub mod ram_watch;
mod registration;
pub mod sched;
pub mod slots;
pub mod smc;
pub mod sync;
pub mod trace;
pub mod user;
pub mod vcpu;
mod vm_operations;
pub mod xarray;

pub use registration::Registration;

/// What nearly every file wants.
pub mod prelude {
    pub use super::kernel::{
        fmt,
        pr_err_once,
        prelude::{
            fmt, pr_err, pr_info, CStr, Error, KBox, KVVec, KVec, Result, EAGAIN, EBUSY, EEXIST,
            EFAULT, EHWPOISON, EINTR, EINVAL, EIO, ENODEV, ENOENT, ENOEXEC, ENOMEM, ENOSPC, ENXIO,
            EOPNOTSUPP, EPERM, ESHUTDOWN, GFP_KERNEL, GFP_KERNEL_ACCOUNT,
        }, //
    };
    pub use super::sync::{mutex, Arc, Mutex, SetOnce};
}
