// SPDX-License-Identifier: GPL-2.0

//! Which RMI this RMM speaks: 1.0, or 2.0, of which there are drafts, and RMMs that differ.
//!
//! RMI 1.0 has a command table of its own ([`super::v1`]), over the same objects. Where one of its
//! commands is the same as in 2.0 but for a detail, the function that both share looks here. Of the drafts
//! of 2.0:
//!
//! | | [`Dialect::Main`] | [`Dialect::Bet2`] |
//! |---|---|---|
//! | REALM_CREATE, REALM_DESTROY | one step | stateful: [`REALM_AUX`] granules are donated, and come back |
//! | MPIDR of a REC | that of its number | any that no other REC of the realm has |
//! | AFFINITY_INFO | exits, for PSCI_COMPLETE | answered here |
//! | PSCI_COMPLETE | calling REC, target REC, status | calling REC, status |
//! | UNPROT_MAP | does not look at a descriptor's state | bit 63 is set |
//! | a pending interrupt ends a map command | after the first block | before it as well: SUCCESS, nothing done |

use core::sync::atomic::{AtomicU8, Ordering};

use super::{Rmm, State};
use crate::desc::RangeDesc;
use crate::platform::Platform;

/// Granules that [`Dialect::Bet2`] asks for when a realm is made.
pub const REALM_AUX: u64 = 9;

/// Whose RMI the RMM speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Dialect {
    /// That of TF-RMM's main branch, as of July 2026.
    Main = 0,
    /// That of TF-RMM's topic branch for RMI 2.0 bet2.
    Bet2 = 1,
    /// RMI 1.0, as TF-RMM has it at its tag for that specification (rmm-spec-v1.0-rel0).
    V1 = 2,
}

impl Dialect {
    /// The version of RMI: major number in bits 30:16, minor number in bits 15:0.
    pub const fn version(self) -> u64 {
        match self {
            Self::V1 => 1 << 16,
            Self::Main | Self::Bet2 => 2 << 16,
        }
    }
}

/// How RTT_UNPROT_MAP wants to be told that memory is not delegated. RMMs differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Undelegated {
    /// It does not look, as TF-RMM of July 2026.
    Any = 0,
    /// Bit 63 is set, as in TF-RMM's branch for RMI 2.0.
    Bit = 1,
    /// Bits 63:62 are 1, as in newer drafts of the specification.
    Field = 2,
}

/// What was chosen, before the host makes its first realm.
pub(super) struct Choice {
    dialect: AtomicU8,
    undelegated: AtomicU8,
}

impl Choice {
    /// [`Dialect::Main`].
    pub(super) const fn new() -> Self {
        Self {
            dialect: AtomicU8::new(Dialect::Main as u8),
            undelegated: AtomicU8::new(Undelegated::Any as u8),
        }
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// From now on the RMM speaks `dialect`. The host has not called yet.
    ///
    /// An RMM that speaks RMI 1.0 is active from the beginning.
    pub fn speak(&self, dialect: Dialect) {
        let form = match dialect {
            Dialect::Main | Dialect::V1 => Undelegated::Any,
            Dialect::Bet2 => Undelegated::Bit,
        };
        if dialect == Dialect::V1 {
            self.state.store(State::Active as u8, Ordering::Release);
        }
        self.choice.dialect.store(dialect as u8, Ordering::Relaxed);
        self.want_undelegated(form);
    }

    /// What the RMM speaks.
    pub fn dialect(&self) -> Dialect {
        match self.choice.dialect.load(Ordering::Relaxed) {
            0 => Dialect::Main,
            1 => Dialect::Bet2,
            _ => Dialect::V1,
        }
    }

    /// True if that is RMI 1.0.
    pub(crate) fn is_v1(&self) -> bool {
        self.dialect() == Dialect::V1
    }

    /// From now on a descriptor of the host's memory has to say so in this way.
    pub fn want_undelegated(&self, form: Undelegated) {
        let choice = &self.choice.undelegated;
        choice.store(form as u8, Ordering::Relaxed);
    }

    /// True if a descriptor says that its memory is the host's.
    pub(super) fn is_undelegated(&self, descriptor: RangeDesc) -> bool {
        let state = descriptor.raw() >> 62;
        match self.choice.undelegated.load(Ordering::Relaxed) {
            form if form == Undelegated::Bit as u8 => state & 2 != 0,
            form if form == Undelegated::Field as u8 => state == 1,
            _ => true,
        }
    }
}
