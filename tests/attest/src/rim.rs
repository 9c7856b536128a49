// SPDX-License-Identifier: GPL-2.0

//! The Realm Initial Measurement, from what a VMM asks for.
//!
//! It begins as the hash of the realm's parameters, and is extended by each page that is populated and
//! each CPU that is on at first, in the order in which the RMM is told of them; and with RMM 1.0 by what
//! is RAM besides.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::hash::Hash;

/// Bytes of a page, and of a structure of parameters.
pub const PAGE: usize = 4096;

/// Bytes of a descriptor of what the measurement is extended by.
const DESCRIPTOR: usize = 256;
const KIND_DATA: u64 = 0;
const KIND_REC: u64 = 1;
const KIND_RIPAS: u64 = 2;
/// `RmiDataFlags`: the contents are measured.
const MEASURE: u64 = 1;
/// `RmiRecCreateFlags`: the CPU is on.
const RUNNABLE: u64 = 1;
/// `RmiRealmFlags0`.
const LPA2: u64 = 1 << 0;
const SVE: u64 = 1 << 1;
const PMU: u64 = 1 << 2;
/// The widest IPA space without LPA2, in bits.
const IPA_BITS_WITHOUT_LPA2: u32 = 48;

/// Where the measurement so far is in a descriptor.
const RIM_AT: usize = 0x10;
/// Where the hash of a CPU's parameters is in its descriptor, and that of a page's contents.
const REC_CONTENT_AT: usize = 0x50;
const DATA_CONTENT_AT: usize = 0x60;

/// What a realm is made with, as far as that is measured (`RmiRealmParams`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Params {
    /// Width of the IPA space in bits.
    pub ipa_bits: u32,
    /// Longest SVE vector in quadwords; 0 if there is no SVE.
    pub sve_quadwords: u64,
    /// How many breakpoints there are, at least 1.
    pub breakpoints: u64,
    /// How many watchpoints there are, at least 1.
    pub watchpoints: u64,
    /// How many event counters the PMU has, if there is one.
    pub pmu_counters: Option<u64>,
}

impl Params {
    /// Sizes of what an entry of a table stands for, from the starting tables down. Up to 16 of those stand
    /// side by side where that saves a level.
    fn blocks(&self) -> &'static [u64] {
        const PAGE: u64 = 1 << 12;
        match self.ipa_bits {
            ..=34 => &[PAGE << 9, PAGE],
            35..=43 => &[PAGE << 18, PAGE << 9, PAGE],
            _ => &[PAGE << 27, PAGE << 18, PAGE << 9, PAGE],
        }
    }
}

/// A measurement on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rim {
    hash: Hash,
    value: Vec<u8>,
    /// What was populated.
    pages: BTreeSet<u64>,
    blocks: &'static [u64],
}

impl Rim {
    /// That of a realm that is made so.
    pub fn new(hash: Hash, params: &Params) -> Self {
        let blocks = params.blocks();
        let mut flags = 0;
        if params.ipa_bits > IPA_BITS_WITHOUT_LPA2 {
            flags |= LPA2;
        }
        if params.sve_quadwords != 0 {
            flags |= SVE;
        }
        if params.pmu_counters.is_some() {
            flags |= PMU;
        }
        let params = structure::<PAGE>(&[
            (0x0, flags),
            (0x8, params.ipa_bits.into()),
            (0x10, params.sve_quadwords.saturating_sub(1)),
            (0x18, params.breakpoints.saturating_sub(1)),
            (0x20, params.watchpoints.saturating_sub(1)),
            (0x28, params.pmu_counters.unwrap_or(0)),
            (0x30, hash as u64),
        ]);
        Self {
            hash,
            value: hash.of(&params),
            pages: BTreeSet::new(),
            blocks,
        }
    }

    /// Adds a page at `ipa`, with `content` if that is measured (`RmmMeasurementDescriptorData`).
    pub fn page(&mut self, ipa: u64, content: Option<&[u8; PAGE]>) {
        let flags = if content.is_some() { MEASURE } else { 0 };
        let hash = content.map_or(vec![], |content| self.hash.of(content));
        let fields = [
            (0x0, KIND_DATA),
            (0x8, DESCRIPTOR as u64),
            (0x50, ipa),
            (0x58, flags),
        ];
        self.extend(&fields, DATA_CONTENT_AT, &hash);
        self.pages.insert(ipa);
    }

    /// Adds a CPU that is on and starts at `pc`, with `x0` in its first register and 0 in the others
    /// (`RmmMeasurementDescriptorRec`). CPUs that are off at first are not measured.
    pub fn rec(&mut self, pc: u64, x0: u64) {
        let params = structure::<PAGE>(&[(0x0, RUNNABLE), (0x200, pc), (0x300, x0)]);
        let fields = [(0x0, KIND_REC), (0x8, DESCRIPTOR as u64)];
        self.extend(&fields, REC_CONTENT_AT, &self.hash.of(&params));
    }

    /// Adds what RMM 1.0 measures when the host declares a slot of private memory to be RAM, as it does
    /// with one after the other, by address, when all pages and CPUs are there
    /// (`RmmMeasurementDescriptorRipas`): each entry of a table that has no page. Tables go no further down
    /// than the pages and the ends of slots take. Since RMM 2.0 nothing of that is measured.
    ///
    /// Both ends of `slot` are multiples of a page.
    pub fn ram(&mut self, slot: Range<u64>) {
        let mut at = slot.start;
        while at < slot.end {
            let is_one = |size: &u64| {
                at % size == 0
                    && slot.end - at >= *size
                    && self.pages.range(at..at + size).next().is_none()
            };
            let entry = self.blocks.iter().copied().find(is_one);
            let next = at + entry.unwrap_or(PAGE as u64);
            if entry.is_some() {
                let fields = [
                    (0x0, KIND_RIPAS),
                    (0x8, DESCRIPTOR as u64),
                    (0x50, at),
                    (0x58, next),
                ];
                self.extend(&fields, DATA_CONTENT_AT, &[]);
            }
            at = next;
        }
    }

    /// The measurement.
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// A hash may be shorter than its place, and zeroes follow.
    fn extend(&mut self, fields: &[(usize, u64)], at: usize, content: &[u8]) {
        let mut descriptor = structure::<DESCRIPTOR>(fields);
        descriptor[RIM_AT..RIM_AT + self.value.len()].copy_from_slice(&self.value);
        descriptor[at..at + content.len()].copy_from_slice(content);
        self.value = self.hash.of(&descriptor);
    }
}

/// Numbers where they stand in a structure.
fn structure<const N: usize>(fields: &[(usize, u64)]) -> [u8; N] {
    let mut bytes = [0; N];
    for (offset, value) in fields {
        bytes[*offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}
