// SPDX-License-Identifier: GPL-2.0

//! A RIPAS change in parts.

use crate::exit::{Ripas, RipasChange};
use crate::rmi::{IpaRange, Protected};

/// A RIPAS change that the host carries out.
///
/// The RMM remembers how far it has come, and tells the realm at the next entry. An entry before
/// all is done would be correct, but the realm would have to ask again for the rest, so the host
/// goes on until nothing is left, or it rejects the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RipasWork {
    rest: Option<IpaRange<Protected>>,
    ripas: Ripas,
    rejected: bool,
}

/// An IPA that is not in the part of a RIPAS change that is left, or no granule's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misplaced(pub u64);

impl RipasWork {
    pub(super) fn new(change: RipasChange) -> Self {
        Self {
            rest: Some(change.range),
            ripas: change.ripas,
            rejected: false,
        }
    }

    /// The range still to be changed; `None` if the vCPU can be entered.
    pub fn next(&self) -> Option<IpaRange<Protected>> {
        self.rest
    }

    /// What it is to become.
    pub fn ripas(&self) -> Ripas {
        self.ripas
    }

    /// Notes that the RMM has changed everything below `to`. The base itself is no progress, the top
    /// is the end.
    ///
    /// # Errors
    ///
    /// `to` is elsewhere: nothing has been noted.
    pub fn advance(&mut self, to: u64) -> Result<(), Misplaced> {
        let rest = self.rest.ok_or(Misplaced(to))?;
        self.rest = if to == rest.top() {
            None
        } else {
            Some(rest.from(to).ok_or(Misplaced(to))?)
        };
        Ok(())
    }

    /// Leaves the rest undone. Where the realm wants RAM it is told that the host refuses; a change
    /// to EMPTY cannot be refused, and the realm only sees how far it has come.
    pub fn reject(&mut self) {
        self.rejected = self.rest.take().is_some() || self.rejected;
    }

    /// True if the rest was left undone.
    pub fn is_rejected(&self) -> bool {
        self.rejected
    }
}
