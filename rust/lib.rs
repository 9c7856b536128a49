// SPDX-License-Identifier: GPL-2.0

//! The kernel-free half of `kvm_arm_rmi`, as an ordinary library.
//!
//! The kernel builds the same files from `rust/main.rs`; this root exists so that host tests run
//! the product's own code. Nothing here knows of the kernel, and nothing here may.

#![no_std]

/// log2 of the granule size in bytes. The kernel build takes it from `PAGE_SHIFT`.
pub const GRANULE_SHIFT: u32 = 12;

#[path = "../rmi/mod.rs"]
pub mod rmi;

#[path = "../realm/mod.rs"]
pub mod realm;

#[path = "../rec/mod.rs"]
pub mod rec;

#[path = "../exit/mod.rs"]
pub mod exit;

#[path = "../mmu/mod.rs"]
pub mod mmu;

#[path = "../guest_memfd/mod.rs"]
pub mod guest_memfd;

#[path = "../uapi/mod.rs"]
pub mod uapi;
