// SPDX-License-Identifier: GPL-2.0

//! Measurements: what a realm was made of, and what it adds later.
//!
//! Slot 0 of a realm's measurements is the Realm Initial Measurement (RIM). It starts as the hash of
//! the parameters of the realm, and the RMM extends it with each REC and each granule of initial
//! data. Which IPAs start as RAM is measured in RMI 1.0 alone, as in TF-RMM. The other slots are the Realm
//! Extensible Measurements (REMs), zeroes until the realm extends them.

use core::ops::Range;

use sha2::{Digest, Sha256, Sha384, Sha512};
use zerocopy::{Immutable, IntoBytes};

use crate::platform::GranuleData;

/// Bytes of the longest measurement.
pub const MAX_BYTES: usize = 64;

/// A measurement, with zeroes after the end of a short one.
pub type Measurement = [u8; MAX_BYTES];

/// Measurements of a realm: the RIM and the REMs.
pub const SLOTS: usize = 5;

/// Slot of the Realm Initial Measurement.
pub const RIM: usize = 0;

/// `RmiHashAlgorithm`: how a realm is measured.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Algorithm {
    /// SHA-256, 32 bytes.
    Sha256 = 0,
    /// SHA-512, 64 bytes.
    Sha512 = 1,
    /// SHA-384, 48 bytes.
    Sha384 = 2,
}

impl Algorithm {
    /// The algorithm that has number `raw` in the parameters of a realm.
    pub fn from_raw(raw: u8) -> Option<Self> {
        [Self::Sha256, Self::Sha512, Self::Sha384]
            .into_iter()
            .find(|algorithm| *algorithm as u8 == raw)
    }

    /// Bytes of a measurement.
    pub fn bytes(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
            Self::Sha384 => 48,
        }
    }

    /// The hash of `parts`, one after the other.
    pub fn hash(self, parts: &[&[u8]]) -> Measurement {
        match self {
            Self::Sha256 => digest::<Sha256>(parts),
            Self::Sha512 => digest::<Sha512>(parts),
            Self::Sha384 => digest::<Sha384>(parts),
        }
    }

    /// The measurement `old` extended by `value`: the hash of one after the other.
    pub fn extend(self, old: &Measurement, value: &[u8]) -> Measurement {
        let (old, _) = old.split_at(self.bytes());
        self.hash(&[old, value])
    }
}

fn digest<D: Digest>(parts: &[&[u8]]) -> Measurement {
    let mut hash = D::new();
    for part in parts {
        hash.update(part);
    }
    let mut measurement = [0; MAX_BYTES];
    for (to, from) in measurement.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    measurement
}

/// Bytes of each of the descriptors that follow.
const DESCRIPTOR_BYTES: usize = 256;

/// `RmmMeasurementDescriptorData`: a granule of initial data.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct DataDescriptor {
    kind: u64,
    len: u64,
    rim: Measurement,
    ipa: u64,
    flags: u64,
    content: Measurement,
    zeroes: [u8; 96],
}
const _: () = assert!(size_of::<DataDescriptor>() == DESCRIPTOR_BYTES);

/// `RmmMeasurementDescriptorRec`: a REC.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RecDescriptor {
    kind: u64,
    len: u64,
    rim: Measurement,
    content: Measurement,
    zeroes: [u8; 112],
}
const _: () = assert!(size_of::<RecDescriptor>() == DESCRIPTOR_BYTES);

/// `RmmMeasurementDescriptorRipas`: IPAs that start as RAM.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct RipasDescriptor {
    kind: u64,
    len: u64,
    rim: Measurement,
    base: u64,
    top: u64,
    zeroes: [u8; 160],
}
const _: () = assert!(size_of::<RipasDescriptor>() == DESCRIPTOR_BYTES);

/// The first field of the descriptors, which says what they describe.
const KIND_DATA: u64 = 0;
const KIND_REC: u64 = 1;
const KIND_RIPAS: u64 = 2;

/// A RIM, and how it is extended.
pub struct Rim<'a> {
    /// The algorithm of the realm.
    pub algorithm: Algorithm,
    /// The measurement as it stands.
    pub value: &'a mut Measurement,
}

impl Rim<'_> {
    /// Starts the RIM from the parameters of the realm: a granule with the measured ones, and zeroes.
    pub fn start(&mut self, params: &GranuleData) {
        *self.value = self.algorithm.hash(&[params.as_bytes()]);
    }

    /// Adds a granule of initial data at `ipa`, with `content` if that is measured.
    pub fn add_data(&mut self, ipa: u64, flags: u64, content: Option<&GranuleData>) {
        let content = content.map_or([0; MAX_BYTES], |data| {
            self.algorithm.hash(&[data.as_bytes()])
        });
        let descriptor = DataDescriptor {
            kind: KIND_DATA,
            len: DESCRIPTOR_BYTES as u64,
            rim: *self.value,
            ipa,
            flags,
            content,
            zeroes: [0; 96],
        };
        *self.value = self.algorithm.hash(&[descriptor.as_bytes()]);
    }

    /// Adds a range of IPAs that start as RAM.
    pub fn add_ripas(&mut self, ipas: Range<u64>) {
        let descriptor = RipasDescriptor {
            kind: KIND_RIPAS,
            len: DESCRIPTOR_BYTES as u64,
            rim: *self.value,
            base: ipas.start,
            top: ipas.end,
            zeroes: [0; 160],
        };
        *self.value = self.algorithm.hash(&[descriptor.as_bytes()]);
    }

    /// Adds a REC: a granule with the measured ones of its parameters, and zeroes.
    pub fn add_rec(&mut self, params: &GranuleData) {
        let descriptor = RecDescriptor {
            kind: KIND_REC,
            len: DESCRIPTOR_BYTES as u64,
            rim: *self.value,
            content: self.algorithm.hash(&[params.as_bytes()]),
            zeroes: [0; 112],
        };
        *self.value = self.algorithm.hash(&[descriptor.as_bytes()]);
    }
}
