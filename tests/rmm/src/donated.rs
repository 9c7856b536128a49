// SPDX-License-Identifier: GPL-2.0

//! The granules that the host has donated to an object, while the object is not whole: before it is
//! complete, and after it has been taken down.
//!
//! The list is kept in the granule of the object itself, which is in state
//! [`Partial`](crate::granule::Partial) meanwhile: at its end, before which an RD has everything else
//! from the beginning. An RD keeps the list for all its life.

use core::mem::size_of;

use kvm_arm_rmi::rmi::PhysAddr;
use zerocopy::{transmute_mut, FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::desc::RangeDesc;
use crate::platform::{GranuleData, GRANULE_WORDS};
use crate::rec::AUX_GRANULES;
use crate::rtt::LAST_LEVEL;

/// Most granules in the list: no object has more than a REC.
pub const MAX: usize = AUX_GRANULES;

/// A list of donated granules, and what of it the host has to be told when it gets them back.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Donated {
    granules: [u64; MAX],
    count: u64,
    returned: u64,
    /// Ranges of returned granules that the host does not know of yet.
    untold: [u64; MAX],
    untold_count: u64,
}

/// Words of a granule before its list.
pub const BEFORE: usize = GRANULE_WORDS - size_of::<Donated>() / 8;

/// A granule that ends with a list.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct InGranule {
    before: [u64; BEFORE],
    donated: Donated,
}

/// A number of entries as an index. It never exceeds [`MAX`].
fn index(count: u64) -> usize {
    usize::try_from(count).unwrap_or(MAX)
}

impl Donated {
    /// The list in a granule.
    pub fn view(data: &mut GranuleData) -> &mut Self {
        let granule: &mut InGranule = transmute_mut!(data);
        &mut granule.donated
    }

    /// Makes the list one of `granules`.
    pub fn set(&mut self, granules: &[PhysAddr]) {
        self.as_mut_bytes().fill(0);
        for pa in granules {
            self.push(*pa);
        }
    }

    /// Adds a granule. False if the list is full.
    pub fn push(&mut self, pa: PhysAddr) -> bool {
        let Some(entry) = self.granules.get_mut(index(self.count)) else {
            return false;
        };
        *entry = pa.raw();
        self.count = self.count.saturating_add(1);
        true
    }

    /// Number of granules that have been donated.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The granules that have been donated, and zeroes after them.
    pub fn all(&self) -> [PhysAddr; MAX] {
        self.granules.map(PhysAddr::new)
    }

    /// The granules that have been donated.
    pub fn granules(&self) -> impl Iterator<Item = PhysAddr> {
        self.all().into_iter().take(index(self.count))
    }

    /// The next granule to give back.
    pub fn next(&self) -> Option<PhysAddr> {
        let left = self.returned < self.count;
        let next = self.granules.get(index(self.returned)).filter(|_| left)?;
        Some(PhysAddr::new(*next))
    }

    /// Notes that the next granule is the host's again, so that it will be told.
    pub fn give_back(&mut self) {
        let Some(pa) = self.next() else { return };
        self.returned = self.returned.saturating_add(1);
        let block = RangeDesc::delegated(pa, LAST_LEVEL);
        let told = index(self.untold_count);
        for range in self.untold.iter_mut().take(told) {
            if let Some(joined) = RangeDesc::new(*range).join(block) {
                *range = joined.raw();
                return;
            }
        }
        if let Some(range) = self.untold.get_mut(told) {
            *range = block.raw();
            self.untold_count = self.untold_count.saturating_add(1);
        }
    }

    /// Notes that the next granule stays the RMM's, of which the host will not be told.
    #[cfg(feature = "fault-injection")]
    pub fn keep(&mut self) {
        self.returned = self.returned.saturating_add(1).min(self.count);
    }

    /// Has the host told that it has the granule at `pa` back, whatever that is.
    #[cfg(feature = "fault-injection")]
    pub fn name(&mut self, pa: PhysAddr) {
        if let Some(range) = self.untold.get_mut(index(self.untold_count)) {
            *range = RangeDesc::delegated(pa, LAST_LEVEL).raw();
            self.untold_count = self.untold_count.saturating_add(1);
        }
    }

    /// Descriptors of the granules that the host has not been told of.
    pub fn untold(&self) -> &[u64] {
        self.untold
            .get(..index(self.untold_count))
            .unwrap_or_default()
    }

    /// Notes that the host has been told of the first `count` of [`Self::untold`].
    pub fn told(&mut self, count: usize) {
        let left = self.untold().len().saturating_sub(count);
        self.untold.rotate_left(count.min(MAX));
        self.untold_count = u64::try_from(left).unwrap_or(0);
    }
}
