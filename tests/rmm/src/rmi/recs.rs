// SPDX-License-Identifier: GPL-2.0

//! Which RECs a realm has, by their MPIDRs: a table in the granules that were donated for its RD, in
//! [`Dialect::Bet2`](super::Dialect::Bet2) alone. In the other dialect a REC's MPIDR follows from its
//! number, and a realm has no such granules.
//!
//! Who holds the RD may use the table.

use core::mem::size_of;

use kvm_arm_rmi::rmi::PhysAddr;
use zerocopy::{transmute_mut, FromBytes, Immutable, IntoBytes, KnownLayout};

use super::dialect::REALM_AUX;
use super::Rmm;
use crate::granule::{self, Aux, Locked, MAX_COUNT};
use crate::platform::{GranuleData, Platform};

/// A place in the table: free if it is all zeroes.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
struct Place {
    /// The REC's MPIDR as a number without gaps, [`crate::rec::Rec::index`].
    index: u64,
    /// Its PA, and [`TAKEN`].
    rec: u64,
}

const FREE: Place = Place { index: 0, rec: 0 };
const TAKEN: u64 = 1;

/// Places in a granule.
const PLACES: usize = size_of::<GranuleData>() / size_of::<Place>();
const _: () = assert!(PLACES as u64 * REALM_AUX >= MAX_COUNT as u64);

impl Place {
    fn has(self, index: u64) -> bool {
        self.index == index && self.rec & TAKEN != 0
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// The REC with this number in the realm of `rd`. It may have been taken down since, unless the
    /// caller knows better.
    pub(crate) fn find_rec(
        &self,
        rd: &mut Locked<'_, granule::Rd>,
        index: u64,
    ) -> Option<PhysAddr> {
        let place = self.find_place(rd, |place| place.has(index), |place| *place)?;
        Some(PhysAddr::new(place.rec & !TAKEN))
    }

    /// Writes a REC down. There is none with its number, and there is room: [`MAX_COUNT`].
    pub(super) fn add_rec(&self, rd: &mut Locked<'_, granule::Rd>, index: u64, rec: PhysAddr) {
        let rec = rec.raw() | TAKEN;
        let fill = |place: &mut Place| *place = Place { index, rec };
        self.find_place(rd, |place| place == FREE, fill);
    }

    /// Strikes a REC out.
    pub(super) fn remove_rec(&self, rd: &mut Locked<'_, granule::Rd>, index: u64) {
        let clear = |place: &mut Place| *place = FREE;
        self.find_place(rd, |place| place.has(index), clear);
    }

    /// Runs `f` on the first place that `is` picks. `None` if there is none.
    fn find_place<R>(
        &self,
        rd: &mut Locked<'_, granule::Rd>,
        is: impl Fn(Place) -> bool,
        f: impl Fn(&mut Place) -> R,
    ) -> Option<R> {
        let tables = self.with_rd(rd, |rd| rd.donated.granules());
        tables.into_iter().find_map(|pa| {
            let mut granule = self.granules.own::<Aux>(pa);
            self.platform.with(&mut granule, |data| {
                let places: &mut [Place; PLACES] = transmute_mut!(data);
                places.iter_mut().find(|place| is(**place)).map(&f)
            })
        })
    }
}
