// SPDX-License-Identifier: GPL-2.0

//! Address range descriptors, `RmiAddrRangeDesc4KB`: how commands and lists in the host's memory
//! name blocks of memory.

use kvm_arm_rmi::rmi::{PhysAddr, GRANULE_SIZE};

/// Most blocks that a descriptor can name.
pub const MAX_BLOCKS: u64 = (1 << 10) - 1;
/// Descriptors in a granule, which a list in the host's memory does not cross.
pub const PER_GRANULE: u64 = GRANULE_SIZE / 8;

const COUNT_SHIFT: u32 = 2;
const ADDRESS: u64 = ((1 << 40) - 1) << 12;
const UNDELEGATED: u64 = 1 << 63;
/// Binary logarithm of the entries of a translation table.
const TABLE_SHIFT: u32 = 9;

/// Some blocks of the same size, one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeDesc(u64);

impl RangeDesc {
    /// The descriptor that is `raw` in the host's memory, or in a register.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// A delegated block that a table of level `level` maps, 0 to 3. `base` is aligned to it.
    pub fn delegated(base: PhysAddr, level: i8) -> Self {
        let size = u64::from(3i8.abs_diff(level));
        Self(base.raw() & ADDRESS | 1 << COUNT_SHIFT | size)
    }

    /// As [`Self::delegated`], for a block of the host's.
    pub fn undelegated(base: PhysAddr, level: i8) -> Self {
        Self(Self::delegated(base, level).0 | UNDELEGATED)
    }

    /// The first block, and the rest. `None` if there is no block.
    pub fn split_first(self) -> Option<(Self, Self)> {
        let rest = self.blocks().checked_sub(1)?;
        let one = Self(self.0 & !(MAX_BLOCKS << COUNT_SHIFT) | 1 << COUNT_SHIFT);
        let base = self.base().raw().saturating_add(self.block_size()) & ADDRESS;
        let kept = self.0 & !(ADDRESS | MAX_BLOCKS << COUNT_SHIFT);
        Some((one, Self(kept | base | rest << COUNT_SHIFT)))
    }

    /// The same without a statement about whether the memory is delegated.
    pub const fn without_state(self) -> Self {
        Self(self.0 & !UNDELEGATED)
    }

    /// The descriptor as it stands in memory, or in a register.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// First address.
    pub const fn base(self) -> PhysAddr {
        PhysAddr::new(self.0 & ADDRESS)
    }

    /// Number of blocks, at most [`MAX_BLOCKS`].
    pub const fn blocks(self) -> u64 {
        self.0 >> COUNT_SHIFT & MAX_BLOCKS
    }

    /// The level of the table that maps a block of this size: 0 to 3.
    pub fn level(self) -> i8 {
        match self.0 & 3 {
            0 => 3,
            1 => 2,
            2 => 1,
            _ => 0,
        }
    }

    /// Bytes of a block.
    pub fn block_size(self) -> u64 {
        let tables = u32::from(3i8.abs_diff(self.level()));
        GRANULE_SIZE << TABLE_SHIFT.saturating_mul(tables)
    }

    /// Bytes of all blocks.
    pub fn size(self) -> u64 {
        self.block_size().saturating_mul(self.blocks())
    }

    /// First address after the range.
    pub fn top(self) -> u64 {
        self.base().raw().saturating_add(self.size())
    }

    /// True if the base is aligned to the size of a block.
    pub fn is_aligned(self) -> bool {
        self.base().raw() & self.block_size().wrapping_sub(1) == 0
    }

    /// True if the memory is delegated.
    pub const fn is_delegated(self) -> bool {
        self.0 & UNDELEGATED == 0
    }

    /// The two ranges as one. `None` if `block`, a single block, is neither just below nor just above
    /// this range, or something else differs.
    pub fn join(self, block: Self) -> Option<Self> {
        let alike = (self.0 ^ block.0) & (UNDELEGATED | 3) == 0;
        if !alike || self.blocks() >= MAX_BLOCKS || block.blocks() != 1 {
            return None;
        }
        let base = if block.top() == self.base().raw() {
            block.base()
        } else if self.top() == block.base().raw() {
            self.base()
        } else {
            return None;
        };
        let one_more = self.0.wrapping_add(1 << COUNT_SHIFT);
        Some(Self(one_more & !ADDRESS | base.raw()))
    }
}
