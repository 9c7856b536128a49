// SPDX-License-Identifier: GPL-2.0

//! Events, which a test hears.

use super::machine::machine;
use crate::rmi::ReturnCode;
use core::ops::Range;

/// What has happened to a realm, which its RD names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A vCPU's REC is about to be entered.
    Enter(u32, u64),
    /// Entering it has returned: X0, the reason of the exit and its syndrome.
    Exit(u32, u64, u64, (u32, u64)),
    /// Granules have been mapped, private ones or not.
    Map(u64, bool, Range<u64>),
    /// So many granules of these have been unmapped.
    Unmap(u64, bool, Range<u64>, u64),
}

/// A REC is about to be entered.
pub fn rec_enter(vcpu: u32, realm: impl FnOnce() -> u64) {
    machine().hear(Event::Enter(vcpu, realm()));
}

/// Entering a REC has returned.
pub fn rec_exit(
    vcpu: u32,
    x0: ReturnCode,
    realm: impl FnOnce() -> u64,
    exit: impl FnOnce() -> (u32, u64),
) {
    machine().hear(Event::Exit(vcpu, x0.raw(), realm(), exit()));
}

/// Granules have been mapped.
pub fn realm_map(realm: impl FnOnce() -> u64, private: bool, gfns: &Range<u64>) {
    machine().hear(Event::Map(realm(), private, gfns.clone()));
}

/// Granules have been unmapped.
pub fn realm_unmap(realm: impl FnOnce() -> u64, private: bool, gfns: &Range<u64>, pages: u64) {
    machine().hear(Event::Unmap(realm(), private, gfns.clone(), pages));
}
