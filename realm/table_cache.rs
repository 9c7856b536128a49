// SPDX-License-Identifier: GPL-2.0

//! Granules that were tables.

use crate::rmi::{Delegated, GranuleRange};

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

    /// Takes one.
    pub fn take(&mut self) -> Option<GranuleRange<Delegated>> {
        self.0.iter_mut().find_map(Option::take)
    }
}
