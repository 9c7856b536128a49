// SPDX-License-Identifier: GPL-2.0

//! The component as an ordinary library: the kernel builds the same files from `rust/main.rs`.
//!
//! What the host, the RMM and user space agree upon is always there, and needs nothing of a kernel:
//! our RMM and the test programs use it. With the feature `model` there is the rest, over a model of
//! KVM in place of `rust/sys/`: so tests run the product's own code, its concurrency included.

#![cfg_attr(not(feature = "model"), no_std)]

/// log2 of the granule size in bytes. The kernel build takes it from `PAGE_SHIFT`.
pub const GRANULE_SHIFT: u32 = 12;

#[path = "../rmi/mod.rs"]
pub mod rmi;

#[path = "../exit/mod.rs"]
pub mod exit;

#[path = "../uapi/mod.rs"]
pub mod uapi;

#[cfg(feature = "model")]
#[path = "../tests/model/mod.rs"]
pub mod sys;

#[cfg(feature = "model")]
#[path = "../realm/mod.rs"]
pub mod realm;

#[cfg(feature = "model")]
#[path = "../mmu/mod.rs"]
pub mod mmu;

#[cfg(feature = "model")]
#[path = "../guest_memfd/mod.rs"]
pub mod guest_memfd;

#[cfg(feature = "model")]
#[path = "../rec/mod.rs"]
pub mod rec;

#[cfg(feature = "model")]
pub mod kvm;
