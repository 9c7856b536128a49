// SPDX-License-Identifier: GPL-2.0

//! Which physical addresses are memory, as EL3 declares it.

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr, GRANULE_SIZE};

/// Most banks that a map holds.
pub const MAX_BANKS: usize = 8;

/// The banks of conventional memory, in ascending order and apart from each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RamMap {
    banks: [Option<AddrRange>; MAX_BANKS],
}

impl RamMap {
    /// The map of `banks`, or `None` if there are none, or if they are out of order or overlap.
    /// Entries that are `None` are left out.
    pub fn new(banks: [Option<AddrRange>; MAX_BANKS]) -> Option<Self> {
        let map = Self { banks };
        let mut end = None;
        for bank in map.banks() {
            if end.is_some_and(|end| bank.base() < end) {
                return None;
            }
            end = Some(bank.top());
        }
        end.map(|_| map)
    }

    /// The banks, lowest first.
    pub fn banks(&self) -> impl Iterator<Item = AddrRange> + '_ {
        self.banks.iter().flatten().copied()
    }

    /// Number of granules in all banks together.
    pub fn granules(&self) -> u64 {
        self.banks()
            .fold(0, |sum, bank| sum.saturating_add(bank.granules()))
    }

    /// The number of the granule that starts at `pa`, counted through the banks from 0.
    ///
    /// `None` if `pa` is not granule aligned or not in memory.
    pub fn index(&self, pa: PhysAddr) -> Option<usize> {
        if !pa.is_granule_aligned() {
            return None;
        }
        let mut below = 0u64;
        for bank in self.banks() {
            if bank.base() <= pa && pa < bank.top() {
                let inside = pa.raw().checked_sub(bank.base().raw())? / GRANULE_SIZE;
                return usize::try_from(below.checked_add(inside)?).ok();
            }
            below = below.checked_add(bank.granules())?;
        }
        None
    }
}
