// SPDX-License-Identifier: GPL-2.0

//! The kernel crate, as the newest kernel that we are built for has it. What an older one lacks of it is
//! under the same names in a folder of its own: `kernel_6_12/`.

pub use ::kernel::*;
