// SPDX-License-Identifier: GPL-2.0

//! The realm descriptor (RD): what the RMM knows about a realm as a whole.
//!
//! It lives in a granule of its own ([`crate::granule::Rd`]) and is reached through [`Rd::view`] by
//! whoever holds that granule's lock. The references of the granule count the RECs of the realm.

use core::mem::offset_of;

use kvm_arm_rmi::rmi::PhysAddr;
use zerocopy::{transmute_mut, FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::donated::{self, Donated};
use crate::measurement::{Algorithm, Measurement, Rim, RIM, SLOTS};
use crate::platform::GranuleData;
use crate::rtt::Stage2;

/// Bytes of the Realm Personalization Value.
pub const RPV_BYTES: usize = 64;
/// Bytes of the instance id of a realm: a type and 32 random bytes (a UEID).
pub const INSTANCE_ID_BYTES: usize = 33;

/// What a realm is doing, `RmmRealmState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum State {
    /// The host fills it.
    New = 0,
    /// Its RECs may run.
    Active = 1,
    /// It has shut itself down.
    SystemOff = 2,
    /// The host has terminated it, and takes it apart.
    Terminated = 3,
}

/// The contents of an RD granule.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Rd {
    state: u64,
    /// RECs that are in REC_ENTER.
    pub running: u64,
    /// RECs that have been created so far: the number that the next one gets.
    pub recs: u64,
    /// The measurements: RIM and REMs.
    pub measurements: [Measurement; SLOTS],
    /// The Realm Personalization Value that the host has chosen.
    pub rpv: [u8; RPV_BYTES],
    /// A random number that tells this realm from all others.
    pub instance_id: [u8; INSTANCE_ID_BYTES],
    algorithm: u8,
    sve: u8,
    sve_vl: u8,
    pmu: u8,
    pmu_counters: u8,
    unused: [u8; 2],
    stage2: [u64; 6],
    rest: [u64; REST],
    /// What the host has donated for the realm.
    pub donated: Donated,
}

/// Words between what an RD has of its own, 62 of them, and the list at its end.
const REST: usize = donated::BEFORE - 62;
const _: () = assert!(offset_of!(Rd, donated) == donated::BEFORE * 8);

impl Rd {
    /// The RD in a granule.
    pub fn view(data: &mut GranuleData) -> &mut Self {
        transmute_mut!(data)
    }

    /// The state of the realm.
    pub fn state(&self) -> State {
        match self.state {
            0 => State::New,
            1 => State::Active,
            2 => State::SystemOff,
            _ => State::Terminated,
        }
    }

    /// Changes the state of the realm.
    pub fn set_state(&mut self, state: State) {
        self.state = state as u64;
    }

    /// How the realm is measured.
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::from_raw(self.algorithm).unwrap_or(Algorithm::Sha256)
    }

    /// Chooses how the realm is measured.
    pub fn set_algorithm(&mut self, algorithm: Algorithm) {
        self.algorithm = algorithm as u8;
    }

    /// The Realm Initial Measurement.
    pub fn rim(&mut self) -> Rim<'_> {
        let algorithm = self.algorithm();
        let [rim, ..] = &mut self.measurements;
        const { assert!(RIM == 0) };
        Rim {
            algorithm,
            value: rim,
        }
    }

    /// The vector length of the realm in quadwords minus 1; `None` if it has no SVE.
    pub fn sve_vl(&self) -> Option<u8> {
        (self.sve != 0).then_some(self.sve_vl)
    }

    /// Chooses the vector length of the realm, as [`Self::sve_vl`] returns it.
    pub fn set_sve_vl(&mut self, vl: Option<u8>) {
        self.sve = u8::from(vl.is_some());
        self.sve_vl = vl.unwrap_or(0);
    }

    /// The number of PMU counters of the realm; `None` if it has no PMU.
    pub fn pmu_counters(&self) -> Option<u8> {
        (self.pmu != 0).then_some(self.pmu_counters)
    }

    /// Chooses the number of PMU counters, as [`Self::pmu_counters`] returns it.
    pub fn set_pmu_counters(&mut self, counters: Option<u8>) {
        self.pmu = u8::from(counters.is_some());
        self.pmu_counters = counters.unwrap_or(0);
    }

    /// The stage 2 translation of the realm. It never changes.
    pub fn stage2(&self) -> Stage2 {
        let [root, roots, start_level, ipa_bits, lpa2, vmid] = self.stage2;
        let small = |word: u64| u8::try_from(word).unwrap_or(0);
        Stage2 {
            root: PhysAddr::new(root),
            roots: small(roots),
            start_level: i8::try_from(start_level as i64).unwrap_or(0),
            ipa_bits: small(ipa_bits),
            lpa2: lpa2 != 0,
            vmid: u16::try_from(vmid).unwrap_or(0),
        }
    }

    /// Sets the stage 2 translation of a new realm.
    pub fn set_stage2(&mut self, stage2: Stage2) {
        self.stage2 = [
            stage2.root.raw(),
            u64::from(stage2.roots),
            i64::from(stage2.start_level) as u64,
            u64::from(stage2.ipa_bits),
            u64::from(stage2.lpa2),
            u64::from(stage2.vmid),
        ];
    }
}
