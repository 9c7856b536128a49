// SPDX-License-Identifier: GPL-2.0

//! The address space of a realm, and the levels of its tables.
//!
//! The top bit of an IPA tells its halves apart: without it an address is *protected*, memory that
//! only the realm sees; with it, *unprotected*, what the host lets the realm share.

use super::GRANULE_SIZE;
use core::fmt;
use core::marker::PhantomData;

/// Bits of an address that one level of tables resolves.
const STRIDE: u32 = crate::GRANULE_SHIFT.wrapping_sub(3);

/// A level of the realm translation tables (RTTs). Level 3 maps granules, the ones above it blocks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum RttLevel {
    /// The top level that has blocks at all, with 52-bit addresses.
    L0,
    /// Blocks of 1 GiB with granules of 4 KiB.
    L1,
    /// Blocks of 2 MiB with granules of 4 KiB.
    L2,
    /// Granules.
    L3,
}

impl RttLevel {
    /// The level's number, as commands take it.
    pub const fn raw(self) -> u64 {
        match self {
            Self::L0 => 0,
            Self::L1 => 1,
            Self::L2 => 2,
            Self::L3 => 3,
        }
    }

    /// The level of that number.
    pub fn from_raw(raw: u64) -> Option<Self> {
        [Self::L0, Self::L1, Self::L2, Self::L3]
            .into_iter()
            .find(|level| level.raw() == raw)
    }

    /// Bytes that one entry at this level maps.
    pub const fn block_size(self) -> u64 {
        let strides = match self {
            Self::L0 => 3,
            Self::L1 => 2,
            Self::L2 => 1,
            Self::L3 => 0u32,
        };
        GRANULE_SIZE << strides.wrapping_mul(STRIDE)
    }

    /// The level's number in range descriptors, which count from the bottom.
    pub const fn block_code(self) -> u64 {
        match self {
            Self::L0 => 3,
            Self::L1 => 2,
            Self::L2 => 1,
            Self::L3 => 0,
        }
    }

    /// The level with that number in range descriptors (of which the low two bits count).
    pub const fn from_block_code(code: u64) -> Self {
        match code & 3 {
            0 => Self::L3,
            1 => Self::L2,
            2 => Self::L1,
            _ => Self::L0,
        }
    }

    /// The next level down, where tables of this level's entries are.
    pub const fn below(self) -> Option<Self> {
        match self {
            Self::L0 => Some(Self::L1),
            Self::L1 => Some(Self::L2),
            Self::L2 => Some(Self::L3),
            Self::L3 => None,
        }
    }
}

/// The protected half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protected {}

/// The unprotected half.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unprotected {}

/// A half-open, non-empty range of whole granules of IPA, all in half `H`.
///
/// # Invariants
///
/// `base < top`, both on granules, both in half `H` (where `top` may be the half's end) of the
/// address space that the range was made in.
#[derive(PartialEq, Eq, Debug)]
pub struct IpaRange<H> {
    base: u64,
    top: u64,
    half: PhantomData<H>,
}

impl<H> Clone for IpaRange<H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for IpaRange<H> {}

impl<H> IpaRange<H> {
    fn make(base: u64, top: u64) -> Option<Self> {
        let aligned = (base | top) & (GRANULE_SIZE - 1) == 0;
        (base < top && aligned).then_some(Self {
            base,
            top,
            half: PhantomData,
        })
    }

    /// First address.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// First address after the range.
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Size in bytes, a multiple of the granule size.
    pub fn bytes(&self) -> u64 {
        self.top.wrapping_sub(self.base)
    }

    /// The part from `at` on; `None` if nothing is left, or `at` is no granule of the range.
    pub fn from(&self, at: u64) -> Option<Self> {
        // INVARIANT: A part of a range is in the same half.
        (self.base <= at)
            .then(|| Self::make(at, self.top))
            .flatten()
    }

    /// The part below `at`; `None` if that is nothing, or `at` is no granule of the range.
    pub fn until(&self, at: u64) -> Option<Self> {
        // INVARIANT: As above.
        (at <= self.top)
            .then(|| Self::make(self.base, at))
            .flatten()
    }

    /// The part that is also in `base..top`, which need not be aligned.
    pub fn clamp(&self, base: u64, top: u64) -> Option<Self> {
        // INVARIANT: As above.
        Self::make(self.base.max(base), self.top.min(top))
    }
}

impl<H> fmt::Display for IpaRange<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}..{:#x}", self.base, self.top)
    }
}

/// The IPA space of a realm.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IpaSpace {
    bits: u32,
}

impl IpaSpace {
    /// A space of `bits` bits, 32 to 52.
    pub fn new(bits: u32) -> Option<Self> {
        (32..=52).contains(&bits).then_some(Self { bits })
    }

    /// Number of bits.
    pub fn bits(&self) -> u32 {
        self.bits
    }

    /// The bit that is set in unprotected addresses: also the size of each half.
    pub fn unprotected_bit(&self) -> u64 {
        1u64 << self.bits.wrapping_sub(1)
    }

    /// The range `base..top` of protected addresses; `None` if it is no such range.
    pub fn protected(&self, base: u64, top: u64) -> Option<IpaRange<Protected>> {
        (top <= self.unprotected_bit())
            .then(|| IpaRange::make(base, top))
            .flatten()
    }

    /// The range of unprotected addresses that shares with the realm what `base..top` is at
    /// protected ones; `None` if it is no such range. Addresses come without the top bit.
    pub fn unprotected(&self, base: u64, top: u64) -> Option<IpaRange<Unprotected>> {
        let bit = self.unprotected_bit();
        (base < bit && top <= bit)
            .then(|| IpaRange::make(base | bit, top.wrapping_add(bit)))
            .flatten()
    }

    /// All unprotected addresses.
    pub fn all_unprotected(&self) -> Option<IpaRange<Unprotected>> {
        self.unprotected(0, self.unprotected_bit())
    }
}
