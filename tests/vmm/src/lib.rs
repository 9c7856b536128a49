// SPDX-License-Identifier: GPL-2.0

//! A small virtual machine monitor that boots Linux in a realm: the worked example for those who
//! teach another one to.
//!
//! What knows of KVM compiles for arm64 only; the devices, the layout and the device tree compile
//! everywhere, so that their tests run on the machine that builds.

pub mod args;
pub mod bus;
pub mod cli;
pub mod console;
pub mod end;
pub mod error;
pub mod fdt;
pub mod forks;
pub mod gate;
pub mod image;
#[cfg(target_arch = "aarch64")]
pub mod kvm;
pub mod layout;
pub mod load;
pub mod machine;
pub mod measure;
pub mod memory;
pub mod panic;
pub mod pci;
pub mod progress;
pub mod serial;
pub mod stats;
pub mod terminal;
pub mod verify;
pub mod virtio;
