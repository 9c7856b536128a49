// SPDX-License-Identifier: GPL-2.0

//! Physical addresses and ranges of whole granules.

use core::fmt;

/// Size of a granule in bytes: the host's page size, which the RMM is configured to use.
pub const GRANULE_SIZE: u64 = 1 << crate::GRANULE_SHIFT;

/// A physical address. Not an IPA and not a pointer: only the RMM and the page allocator know what
/// is there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct PhysAddr(u64);

impl PhysAddr {
    /// Wraps a raw physical address in bytes.
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The address as the RMM takes it in a register.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// True if the address is the first byte of a granule.
    pub const fn is_granule_aligned(self) -> bool {
        self.0 & (GRANULE_SIZE - 1) == 0
    }
}

impl fmt::Display for PhysAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// A half-open, non-empty range of whole granules: `base..top`.
///
/// # Invariants
///
/// `base < top`, and both are granule aligned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddrRange {
    base: PhysAddr,
    top: PhysAddr,
}

impl AddrRange {
    /// The range `base..top`, or `None` if it is empty, turned over or not made of whole granules.
    pub fn new(base: PhysAddr, top: PhysAddr) -> Option<Self> {
        // INVARIANT: what the type promises is what is tested here.
        (base < top && base.is_granule_aligned() && top.is_granule_aligned())
            .then_some(Self { base, top })
    }

    /// First byte of the range.
    pub fn base(&self) -> PhysAddr {
        self.base
    }

    /// First byte after the range.
    pub fn top(&self) -> PhysAddr {
        self.top
    }

    /// Size in bytes, a multiple of the granule size.
    pub fn bytes(&self) -> u64 {
        self.top.0.wrapping_sub(self.base.0)
    }

    /// Number of granules in the range, at least 1.
    pub fn granules(&self) -> u64 {
        self.bytes() >> crate::GRANULE_SHIFT
    }

    /// The addresses of its granules, in order.
    pub fn addresses(&self) -> impl Iterator<Item = PhysAddr> {
        let base = self.base.0;
        let at = move |n: u64| base.saturating_add(n.saturating_mul(GRANULE_SIZE));
        (0..self.granules()).map(move |n| PhysAddr(at(n)))
    }

    /// Its first granule.
    pub fn first(&self) -> Self {
        // INVARIANT: A range has at least one granule, so that this does not run over.
        Self {
            base: self.base,
            top: PhysAddr(self.base.0.saturating_add(GRANULE_SIZE)),
        }
    }

    /// Its last granule, which may be the first.
    pub fn last(&self) -> Self {
        // INVARIANT: As above.
        Self {
            base: PhysAddr(self.top.0.saturating_sub(GRANULE_SIZE)),
            top: self.top,
        }
    }

    /// Cuts the range at `at`: what lies below and what lies above, either of which may be nothing.
    ///
    /// Returns `None` if `at` is not a granule boundary of the range (its ends included).
    pub fn split(&self, at: PhysAddr) -> Option<(Option<Self>, Option<Self>)> {
        let inside = self.base <= at && at <= self.top && at.is_granule_aligned();
        inside.then(|| (Self::new(self.base, at), Self::new(at, self.top)))
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.base, self.top)
    }
}
