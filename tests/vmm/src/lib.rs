// SPDX-License-Identifier: GPL-2.0

//! A small virtual machine monitor that boots Linux in a realm: the worked example for those who
//! teach another one to.
//!
//! What knows of KVM compiles for arm64 only; the devices, the layout and the device tree compile
//! everywhere, so that their tests run on the machine that builds.

pub mod bus;
pub mod virtio;
