// SPDX-License-Identifier: GPL-2.0

//! The realm translation tables (RTTs) and what they map.
//!
//! Nothing here allocates: what needs a table says so ([`Step::NeedTable`]) and does not lose its
//! place, so that the caller can leave its locks, find a granule, make the table with
//! [`Tables::create`](crate::realm::Tables::create), and go on.
//!
//! Which tables there are is written down ([`TableMap`](crate::realm::table_map::TableMap)), so that no
//! command is tried just to learn that it cannot work.
//!
//! What maps and unmaps here may be called under a lock that spins: it is over after [`COMMANDS`], and
//! says how far it came.

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

use crate::realm::small_numbers;

mod parting;
mod protected;
mod ripas;
mod unprotected;
small_numbers! {
    pub mod fold;
    pub mod shared;
    pub mod unmap;
}

pub use parting::{Kept, Part, Parting, BATCH, MERGED};
pub use protected::{map_protected, unmap_protected};
pub use ripas::{init_ripas, set_ripas};
pub use unprotected::{map_unprotected, map_unprotected_granules, unmap_unprotected};

use crate::realm::{MissingTable, Tables};
use crate::rmi::{Conduit, Error, IpaRange, Rmi, RttLevel};

/// The most commands that are made on end: an RMM that does one entry of a table at a time gets through
/// a table, and whoever waits for a lock that is held meanwhile does not wait for longer than that.
pub const COMMANDS: u32 = 1 << (crate::GRANULE_SHIFT - 3);

/// How far an operation on a range has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// To the end.
    Done,
    /// To this IPA, which may be where it began; it may go on from there after a while.
    Until(u64),
    /// To this IPA, where a table has to be made first.
    NeedTable(u64, MissingTable),
    /// To this IPA, where the RMM refused to go on.
    Failed(u64, Error),
}

impl Step {
    /// Up to where `range`, which the operation was for, is done.
    pub fn reached<H>(&self, range: &IpaRange<H>) -> u64 {
        match self {
            Self::Done => range.top(),
            Self::Until(at) | Self::NeedTable(at, _) | Self::Failed(at, _) => *at,
        }
    }
}

/// Maps a range in blocks of `level`, by commands each of which says how far it has come: the next one goes
/// on from there. It makes at most [`COMMANDS`].
fn by_commands<C: Conduit, H: Copy>(
    rmi: &Rmi<C>,
    tables: &Tables<'_>,
    range: IpaRange<H>,
    level: RttLevel,
    mut command: impl FnMut(IpaRange<H>) -> Result<u64, Error>,
) -> Step {
    let mut left = range;
    for _ in 0..COMMANDS {
        let at = left.base();
        if let Some(table) = tables.missing(at, level) {
            return Step::NeedTable(at, table);
        }
        match command(left) {
            Ok(top) => match left.from(top) {
                Some(rest) => left = rest,
                None => return Step::Done,
            },
            Err(error) => return Step::Failed(at, error),
        }
        rmi.pause();
    }
    Step::Until(left.base())
}
