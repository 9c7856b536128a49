// SPDX-License-Identifier: GPL-2.0

//! Where the tables of a realm start.

use crate::rmi::{IpaSpace, RttLevel};

/// Up to 16 starting tables stand side by side where that saves a level.
const MOST_SIDE_BY_SIDE: u32 = 4;

/// The starting tables.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layout {
    /// Their level.
    pub start: RttLevel,
    /// log2 of their number.
    pub order: u32,
}

impl Layout {
    /// The starting tables for an IPA space: as few levels as it takes. Level -1 is never needed: 52 bits,
    /// which take LPA2, are 16 tables at level 0.
    pub fn of(space: IpaSpace) -> Self {
        let order = |start: RttLevel| {
            // A table maps what an entry of the level above would.
            let bits = start.block_size().trailing_zeros().saturating_add(STRIDE);
            space.bits().saturating_sub(bits)
        };
        let start = [RttLevel::L2, RttLevel::L1, RttLevel::L0]
            .into_iter()
            .find(|start| order(*start) <= MOST_SIDE_BY_SIDE)
            .unwrap_or(RttLevel::L0);
        Self {
            start,
            order: order(start),
        }
    }
}

/// Bits of an address that one level of tables resolves.
const STRIDE: u32 = crate::GRANULE_SHIFT.wrapping_sub(3);
