// SPDX-License-Identifier: GPL-2.0

//! The kernel crate: whatever is here for another kernel than the newest has its names from there.

pub use ::kernel::*;
