// SPDX-License-Identifier: GPL-2.0

//! Events, which nobody listens to here.

use crate::rmi::ReturnCode;
use core::ops::Range;

/// A REC is about to be entered.
pub fn rec_enter(_vcpu: u32, _realm: impl FnOnce() -> u64) {}

/// Entering a REC has returned.
pub fn rec_exit(
    _vcpu: u32,
    _x0: ReturnCode,
    _realm: impl FnOnce() -> u64,
    _exit: impl FnOnce() -> (u32, u64),
) {
}

/// Granules have been mapped.
pub fn realm_map(_realm: impl FnOnce() -> u64, _private: bool, _gfns: &Range<u64>) {}

/// Granules have been unmapped.
pub fn realm_unmap(_realm: impl FnOnce() -> u64, _private: bool, _gfns: &Range<u64>, _pages: u64) {}
