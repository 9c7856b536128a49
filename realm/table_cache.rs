// SPDX-License-Identifier: GPL-2.0

//! Granules that were tables.

use crate::rmi::{Delegated, GranuleRange};
use crate::sys::memory;

/// Delegated granules that were tables, and are kept for the next ones.
#[derive(Default)]
pub struct TableCache([Option<GranuleRange<Delegated>>; 8]);

impl TableCache {
    /// Keeps a granule, or gives it back where there are enough.
    pub fn keep(&mut self, granule: GranuleRange<Delegated>) -> Option<GranuleRange<Delegated>> {
        match self.0.iter_mut().find(|spare| spare.is_none()) {
            Some(spare) => {
                *spare = Some(granule);
                None
            }
            None => Some(granule),
        }
    }

    /// Takes one to use it again: not one of which the host has been told that it is bad. That stays here.
    pub fn take_good(&mut self) -> Option<GranuleRange<Delegated>> {
        let is_good = |granule: &GranuleRange<Delegated>| !memory::is_bad(granule.range().base());
        self.0
            .iter_mut()
            .find(|spare| spare.as_ref().is_some_and(is_good))?
            .take()
    }

    /// Takes any.
    pub fn take(&mut self) -> Option<GranuleRange<Delegated>> {
        self.0.iter_mut().find_map(Option::take)
    }
}
