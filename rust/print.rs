// SPDX-License-Identifier: GPL-2.0

//! The kernel's print macros format by a trait of their own; what the kernel-free folders can print
//! is told to it here.

use crate::{mmu, realm, rmi, sys::kernel::fmt};
use core::fmt::Display;

/// Lets the kernel print types that have `core`'s `Display`.
macro_rules! printable {
    ($($type:ty),* $(,)?) => {
        $(impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Display::fmt(self, f)
            }
        })*
    };
}

printable!(
    mmu::Kept,
    realm::Refused,
    rmi::cmd::rmm::Version,
    rmi::AddrRange,
    rmi::Decline,
    rmi::Error,
    rmi::Features,
);
