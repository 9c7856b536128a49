// SPDX-License-Identifier: GPL-2.0

//! What the host owes a REC for its last exit.

use super::ripas::RipasWork;
use crate::exit::PsciCall;

/// An access at an unprotected IPA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// It can be emulated, and it can end in an external abort.
    Emulatable,
    /// It can end in an external abort.
    Opaque,
}

/// What the host owes a REC for its last exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owed {
    /// Nothing.
    Nothing,
    /// Something to access, or what would have come of it.
    Access(Access),
    /// The value of a system register.
    SysregRead,
    /// The end of a PSCI call.
    Psci(PsciCall),
    /// A RIPAS change.
    Ripas(RipasWork),
    /// The results of a host call.
    HostCall,
    /// Nobody knows: the exit made no sense. The realm is dead then; and should the REC be entered all
    /// the same, it may have asked for a RIPAS change, to which this is no consent.
    Unknown,
}
