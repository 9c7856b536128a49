// SPDX-License-Identifier: GPL-2.0

//! `RmiAddrRangeDesc`: a range of memory in one register, as map, unmap, donate and reclaim use it.
//!
//! | bits | field |
//! |---|---|
//! | 1:0 | size of a block: 0 is a granule, each step up is the next RTT level's block |
//! | `GRANULE_SHIFT-1`:2 | number of blocks |
//! | 51:`GRANULE_SHIFT` | address |
//! | 63:62 | state: 0 delegated; undelegated in either of two ways, see [`Dialect`] |

use super::{AddrRange, PhysAddr, RttLevel, GRANULE_SIZE};
use core::sync::atomic::{AtomicBool, AtomicU8, Ordering};

const COUNT_LOW: u32 = 2;
const COUNT_MAX: u64 = (GRANULE_SIZE >> COUNT_LOW).wrapping_sub(1);
const ADDRESS: u64 = ((1 << 52) - 1) & !(GRANULE_SIZE - 1);
const STATE_LOW: u32 = 62;
const STATE: u64 = 3 << STATE_LOW;

/// Whose memory a descriptor names, `RmiMemState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemState {
    /// It belongs to the realm world.
    Delegated,
    /// It is the host's.
    Undelegated,
}

impl MemState {
    /// Reads bits 63:62. What both dialects have is unambiguous: neither has both bits set, and the one
    /// with the wider field does not have its value 2 in what the RMM writes.
    fn from_raw(raw: u64) -> Option<Self> {
        match raw & 3 {
            0 => Some(Self::Delegated),
            1 | 2 => Some(Self::Undelegated),
            _ => None,
        }
    }
}

/// How the state *undelegated* is written in a descriptor. *Delegated* is 0 everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The state is bit 63: TF-RMM.
    Bit,
    /// The state is bits 63:62, of which the value is 1: newer drafts of the specification.
    Field,
}

impl Form {
    const fn undelegated(self) -> u64 {
        match self {
            Self::Bit => 1 << 63,
            Self::Field => 1 << 62,
        }
    }

    const fn other(self) -> Self {
        match self {
            Self::Bit => Self::Field,
            Self::Field => Self::Bit,
        }
    }
}

/// Which [`Form`] the RMM reads. It is found out by the first command with an undelegated descriptor:
/// an RMM of the other dialect takes it for delegated, or for nothing, and refuses with ERROR_INPUT,
/// which changes nothing.
///
/// This is a hint, shared by all CPUs without a lock. A CPU that has an old one, or none, has one call
/// refused and makes it again in the other form, and what it then writes here is what any other CPU
/// would: an RMM accepts one form, always the same, or does not look (and then either will do).
///
/// And whether the RMM speaks RMI 1.0, which is known from its first call on.
#[derive(Debug, Default)]
pub struct Dialect {
    form: AtomicU8,
    v1: AtomicBool,
}

impl Dialect {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self {
            form: AtomicU8::new(0),
            v1: AtomicBool::new(false),
        }
    }

    /// The RMM speaks RMI 1.0. Nobody else makes calls yet.
    pub(super) fn speak_v1(&self) {
        self.v1.store(true, Ordering::Relaxed);
    }

    /// True if the RMM speaks RMI 1.0, not 2.0.
    pub fn is_v1(&self) -> bool {
        self.v1.load(Ordering::Relaxed)
    }

    /// The form to try first, and the other one.
    pub(super) fn forms(&self) -> [Form; 2] {
        let first = match self.form.load(Ordering::Relaxed) {
            0 => Form::Bit,
            _ => Form::Field,
        };
        [first, first.other()]
    }

    /// The RMM has accepted `form`.
    pub(super) fn learn(&self, form: Form) {
        self.form
            .store((form == Form::Field).into(), Ordering::Relaxed);
    }
}

/// A descriptor as it stands in a register or in a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RangeDesc(u64);

impl RangeDesc {
    /// Describes as much of `range`, from its base on, as one descriptor of blocks at `level` can: as
    /// delegated.
    ///
    /// Returns the descriptor and the part that it describes, or `None` if the base is not on a
    /// block or the range is smaller than one.
    pub fn new(range: AddrRange, level: RttLevel) -> Option<(Self, AddrRange)> {
        let block = level.block_size();
        let base = range.base().raw();
        let blocks = range.bytes().checked_div(block)?.min(COUNT_MAX);
        if base & block.wrapping_sub(1) != 0 || base & !ADDRESS != 0 {
            return None;
        }
        let top = base.checked_add(blocks.checked_mul(block)?)?;
        let part = AddrRange::new(range.base(), PhysAddr::new(top))?;
        let word = level.block_code() | (blocks << COUNT_LOW) | base;
        Some((Self(word), part))
    }

    /// The same memory as undelegated.
    pub const fn undelegated(self, form: Form) -> Self {
        Self(self.0 & !STATE | form.undelegated())
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
