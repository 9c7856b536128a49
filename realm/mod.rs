// SPDX-License-Identifier: GPL-2.0

//! The life of a realm, as the host sees it.
//!
//! ```text
//!   None ──create──> New ──activate──> Active
//!                     │                  │
//!                     └────terminate─────┴──> Dying ──destroy──> Dead
//! ```
//!
//! *None*: a VM that is to become a realm; the RMM does not know it. *New*: it can be populated, and
//! what it is made of is measured. *Active*: its RECs run. *Dying*: no REC will run again, and its
//! memory is taken back piece by piece. *Dead*: nothing is left.
//!
//! A step that fails half way leaves the realm where it can only be torn down. One that the RMM does
//! not activate is Dying, though it is still to be terminated.

// A fault here is a fault in the host kernel: what could panic, wrap or break a rule is refused.
#![deny(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_safety_doc,
    clippy::panic,
    clippy::unwrap_used
)]

// Numbers of granules and of bits, all of which are far below what a word holds; the compiler has to be
// shown that where memory is unsafe, which it is nowhere here.
macro_rules! small_numbers {
    ($($(#[$attribute:meta])* $visibility:vis mod $name:ident;)*) => {$(
        #[allow(
            clippy::arithmetic_side_effects,
            clippy::cast_possible_truncation,
            clippy::indexing_slicing,
            reason = "numbers of granules and chunks are far below what a word holds"
        )]
        $(#[$attribute])*
        $visibility mod $name;
    )*};
}
pub(crate) use small_numbers;

small_numbers! {
    mod attributes;
    pub mod bad;
    pub mod bitmap;
    mod blocks;
    pub mod create;
    pub mod dump;
    mod lock_set;
    mod shape;
    pub mod table_map;
    pub mod vm;
    mod vm_bad;
    mod vm_status;
    mod vm_tables;
    mod vmids;
}
mod chunk;
mod halves;
pub mod host;
mod layout;
mod notes;
pub mod smc;
pub mod status;
mod table_cache;
mod tables;
mod teardown;

pub use attributes::attribute;
pub use chunk::{block_around, block_of, chunk_of, window, Bits, BLOCK, CHUNK};
pub use layout::Layout;
pub use notes::{count, first_missing, forget, next_span, note};
pub use shape::{pmu_can_have, Shape};
pub use table_map::{table_size, MissingTable};
pub use tables::Tables;
pub use teardown::destroy_tables;
pub use vm_status::show as show_vm;

use crate::rmi::cmd::realm::{self as cmd, Failed, Params, Rd, RdName, RealmGranules};
use crate::rmi::{Conduit, Error, Loans, Pages, Rmi, SharedPage};
use core::fmt;

/// A realm.
#[derive(Debug)]
pub enum Realm {
    /// The RMM does not know it yet.
    None,
    /// It can be populated.
    New(Rd),
    /// It runs.
    Active(Rd),
    /// The RMM did not let it run, and is still to be told that it never will: it is Dying.
    Doomed(Rd),
    /// Its memory is taken back.
    Dying(Rd),
    /// It is no more.
    Dead,
}

/// The name of a realm's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// See [`Realm::None`].
    None,
    /// See [`Realm::New`].
    New,
    /// See [`Realm::Active`].
    Active,
    /// See [`Realm::Dying`].
    Dying,
    /// See [`Realm::Dead`].
    Dead,
}

/// Why a realm did not change its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It is in a state from which there is no such step.
    State(State),
    /// The RMM refuses.
    Rmm(Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => write!(f, "it is {state:?}"),
            Self::Rmm(error) => error.fmt(f),
        }
    }
}

impl Realm {
    /// The state's name.
    pub fn state(&self) -> State {
        match self {
            Self::None => State::None,
            Self::New(_) => State::New,
            Self::Active(_) => State::Active,
            Self::Doomed(_) | Self::Dying(_) => State::Dying,
            Self::Dead => State::Dead,
        }
    }

    /// The descriptor, in the states in which there is one.
    fn rd(&self) -> Option<&Rd> {
        match self {
            Self::New(rd) | Self::Active(rd) | Self::Doomed(rd) | Self::Dying(rd) => Some(rd),
            Self::None | Self::Dead => None,
        }
    }

    /// The realm's name to the RMM, in the states in which there is one.
    pub fn name(&self) -> Option<RdName> {
        self.rd().map(Rd::name)
    }

    /// What the RMM was lent for its descriptor, in the same states.
    pub fn loans(&self) -> Option<&Loans> {
        self.rd().map(Rd::loans)
    }

    /// None becomes New.
    ///
    /// `page` must be zeroed; it and `list` are used while this runs.
    ///
    /// # Errors
    ///
    /// The granules come back, if the RMM does not leave unclear whose they are; the realm is None
    /// still, and it may be tried again.
    pub fn create<C: Conduit, P: Pages, L: SharedPage>(
        &mut self,
        rmi: &Rmi<C>,
        granules: RealmGranules,
        params: &Params,
        page: &mut impl SharedPage,
        (pages, list): (&P, &mut L),
    ) -> Result<(), (Refused, Option<RealmGranules>)> {
        let Self::None = self else {
            return Err((Refused::State(self.state()), Some(granules)));
        };
        match cmd::create(rmi, granules, params, page, pages, list) {
            Ok(rd) => {
                *self = Self::New(rd);
                Ok(())
            }
            Err(Failed { granules, error }) => Err((Refused::Rmm(error), granules)),
        }
    }

    /// New becomes Active, or Dying if the RMM refuses: what was populated cannot be taken back
    /// one by one.
    ///
    /// # Errors
    ///
    /// It is not New, or it is Dying now.
    pub fn activate<C: Conduit>(&mut self, rmi: &Rmi<C>) -> Result<(), Refused> {
        match core::mem::replace(self, Self::Dead) {
            Self::New(rd) => match cmd::activate(rmi, rd.name()) {
                Ok(()) => {
                    *self = Self::Active(rd);
                    Ok(())
                }
                Err(error) => {
                    *self = Self::Doomed(rd);
                    Err(Refused::Rmm(error))
                }
            },
            other => {
                *self = other;
                Err(Refused::State(self.state()))
            }
        }
    }

    /// New and Active become Dying; None becomes Dead at once. False if the RMM is not told, see
    /// [`cmd::terminate`].
    ///
    /// # Errors
    ///
    /// The RMM refuses, because a REC is running: nothing has changed, and it may be tried again.
    pub fn terminate<C: Conduit, P: Pages, L: SharedPage>(
        &mut self,
        rmi: &Rmi<C>,
        (pages, list): (&P, &mut L),
    ) -> Result<bool, Refused> {
        let told = match self {
            Self::New(rd) | Self::Active(rd) | Self::Doomed(rd) => {
                cmd::terminate(rmi, rd, pages, list).map_err(Refused::Rmm)?
            }
            Self::None => true,
            Self::Dying(_) | Self::Dead => return Ok(true),
        };
        *self = match core::mem::replace(self, Self::Dead) {
            Self::New(rd) | Self::Active(rd) | Self::Doomed(rd) => Self::Dying(rd),
            _ => Self::Dead,
        };
        Ok(told)
    }

    /// Dying becomes Dead: the last step, when its RECs, its memory and its tables are gone.
    /// Returns the granules it was made of.
    ///
    /// # Errors
    ///
    /// It is not Dying, or the RMM refuses because something of it is left: then it is Dying still.
    /// If the RMM leaves unclear whether there still is a realm it is Dead and its granules are
    /// leaked.
    pub fn destroy<C: Conduit, P: Pages, L: SharedPage>(
        &mut self,
        rmi: &Rmi<C>,
        (pages, list): (&P, &mut L),
    ) -> Result<Option<RealmGranules>, Refused> {
        let mut slot = match core::mem::replace(self, Self::Dead) {
            Self::Dying(rd) => Some(rd),
            other => {
                *self = other;
                return Err(Refused::State(self.state()));
            }
        };
        let result = cmd::destroy(rmi, &mut slot, pages, list);
        if let Some(rd) = slot {
            *self = Self::Dying(rd);
        }
        result.map_err(Refused::Rmm)
    }

    /// Gives up on a realm that cannot be destroyed: its memory is leaked.
    pub fn abandon<C: Conduit>(&mut self, rmi: &Rmi<C>) {
        match core::mem::replace(self, Self::Dead) {
            Self::New(rd) | Self::Active(rd) | Self::Doomed(rd) | Self::Dying(rd) => rd.leak(rmi),
            Self::None | Self::Dead => {}
        }
    }
}
