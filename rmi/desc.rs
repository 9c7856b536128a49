// SPDX-License-Identifier: GPL-2.0

//! `RmiAddrRangeDesc`: a range of memory in one register, as map, unmap, donate and reclaim use it.
//!
//! | bits | field |
//! |---|---|
//! | 1:0 | size of a block: 0 is a granule, each step up is the next RTT level's block |
//! | `GRANULE_SHIFT-1`:2 | number of blocks |
//! | 51:`GRANULE_SHIFT` | address |
//! | 63:62 | state: 0 delegated, 1 undelegated |

use super::{AddrRange, PhysAddr, RttLevel, GRANULE_SIZE};

const COUNT_LOW: u32 = 2;
const COUNT_MAX: u64 = (GRANULE_SIZE >> COUNT_LOW).wrapping_sub(1);
const ADDRESS: u64 = ((1 << 52) - 1) & !(GRANULE_SIZE - 1);
const STATE_LOW: u32 = 62;

/// Whose memory a descriptor names, `RmiMemState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemState {
    /// It belongs to the realm world.
    Delegated,
    /// It is the host's.
    Undelegated,
}

impl MemState {
    fn from_raw(raw: u64) -> Option<Self> {
        match raw & 3 {
            0 => Some(Self::Delegated),
            1 => Some(Self::Undelegated),
            _ => None,
        }
    }

    fn raw(self) -> u64 {
        match self {
            Self::Delegated => 0,
            Self::Undelegated => 1,
        }
    }
}

/// A descriptor as it stands in a register or in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeDesc(u64);

impl RangeDesc {
    /// Describes as much of `range`, from its base on, as one descriptor of blocks at `level` can.
    ///
    /// Returns the descriptor and the part that it describes, or `None` if the base is not on a
    /// block or the range is smaller than one.
    pub fn new(range: AddrRange, level: RttLevel, state: MemState) -> Option<(Self, AddrRange)> {
        let block = level.block_size();
        let base = range.base().raw();
        let blocks = range.bytes().checked_div(block)?.min(COUNT_MAX);
        if base & block.wrapping_sub(1) != 0 || base & !ADDRESS != 0 {
            return None;
        }
        let top = base.checked_add(blocks.checked_mul(block)?)?;
        let part = AddrRange::new(range.base(), PhysAddr::new(top))?;
        let word = level.block_code() | (blocks << COUNT_LOW) | base | (state.raw() << STATE_LOW);
        Some((Self(word), part))
    }

    /// A descriptor that came from the RMM.
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The word for a register or a list.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// What the descriptor describes, or `None` if that is nothing or cannot be.
    pub fn decode(self) -> Option<(AddrRange, MemState)> {
        let block = RttLevel::from_block_code(self.0 & 3).block_size();
        let blocks = (self.0 >> COUNT_LOW) & COUNT_MAX;
        let base = self.0 & ADDRESS;
        let top = base.checked_add(blocks.checked_mul(block)?)?;
        let range = AddrRange::new(PhysAddr::new(base), PhysAddr::new(top))?;
        Some((range, MemState::from_raw(self.0 >> STATE_LOW)?))
    }
}
