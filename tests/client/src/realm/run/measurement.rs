// SPDX-License-Identifier: GPL-2.0

//! The Realm Initial Measurement, computed as whoever deploys a realm would: from what the VMM has asked
//! for, by the RMM specification, and without the RMM's or the component's code.

use realm_guest::{Op, Order, BASE, IMAGE_SIZE, PAGE_SIZE};
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::{FIRST_CHUNK, X0};
use crate::realm::cpu::{Cpu, DFR0};
use crate::realm::memory::Mapping;
use crate::realm::vm::{guest_image, Vm};
use crate::realm::{ensure, Result};
use realm_guest::rsi;

/// A page that is populated, and of which only the address is measured: the last before what the CPUs
/// fill.
const UNMEASURED: u64 = FIRST_CHUNK - PAGE_SIZE;
const _: () = assert!(BASE + IMAGE_SIZE <= UNMEASURED);
/// What is in it.
const CONTENT: [u8; 8] = *b"anything";

/// Bytes of the parameters, and of a page.
const PAGE: usize = PAGE_SIZE as usize;
/// Bytes of a descriptor of what the measurement is extended by.
const DESCRIPTOR: usize = 256;
const KIND_DATA: u64 = 0;
const KIND_REC: u64 = 1;
/// `RmiDataFlags`: the contents are measured.
const MEASURE: u64 = 1;

/// Numbers where they stand in a structure.
fn structure<const N: usize>(fields: &[(usize, u64)]) -> [u8; N] {
    let mut bytes = [0; N];
    for (offset, value) in fields {
        bytes[*offset..offset + 8].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// How a realm is measured, `RmiHashAlgorithm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hash {
    Sha256 = 0,
    Sha512 = 1,
    Sha384 = 2,
}

impl Hash {
    pub(crate) const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Sha384];

    fn of(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// A measurement on its way.
struct Rim {
    hash: Hash,
    value: Vec<u8>,
}

impl Rim {
    /// A realm without SVE or a PMU, of as many IPA bits, and with the debug registers in the fields of
    /// an ID_AA64DFR0_EL1: `RmiRealmParams`, as far as they are measured.
    fn new(hash: Hash, ipa_bits: u64, dfr0: u64) -> Self {
        let (breakpoints, watchpoints) = (dfr0 >> 12 & 0xf, dfr0 >> 20 & 0xf);
        let params = structure::<PAGE>(&[
            (0x8, ipa_bits),
            (0x18, breakpoints),
            (0x20, watchpoints),
            (0x30, hash as u64),
        ]);
        Self {
            hash,
            value: hash.of(&params),
        }
    }

    /// `RmmMeasurementDescriptorData`: a page at `ipa`.
    fn page(&mut self, ipa: u64, content: Option<&[u8]>) {
        let flags = if content.is_some() { MEASURE } else { 0 };
        let hash = content.map_or(vec![], |content| self.hash.of(content));
        let fields = [
            (0x0, KIND_DATA),
            (0x8, DESCRIPTOR as u64),
            (0x50, ipa),
            (0x58, flags),
        ];
        self.extend(&fields, 0x60, &hash);
    }

    /// `RmmMeasurementDescriptorRec`: a REC that is runnable. Those that are not are not measured.
    fn rec(&mut self, pc: u64, x0: u64) {
        let params = structure::<PAGE>(&[(0x0, 1), (0x200, pc), (0x300, x0)]);
        let fields = [(0x0, KIND_REC), (0x8, DESCRIPTOR as u64)];
        self.extend(&fields, 0x50, &self.hash.of(&params));
    }

    fn extend(&mut self, fields: &[(usize, u64)], at: usize, content: &[u8]) {
        let mut descriptor = structure::<DESCRIPTOR>(fields);
        descriptor[0x10..0x10 + self.value.len()].copy_from_slice(&self.value);
        descriptor[at..at + content.len()].copy_from_slice(content);
        self.value = self.hash.of(&descriptor);
    }
}

/// Adds a page to a realm whose contents are not measured.
pub(super) fn populate_more(vm: &Vm) -> Result<()> {
    vm.populate(
        UNMEASURED,
        &Mapping::with_contents(&CONTENT, PAGE_SIZE)?,
        false,
    )
}

/// The realm has been measured as it was made: the guest's image page by page with its contents, the
/// page of [`populate_more`] without, and the one CPU that is on at first. And that page has what was put
/// there.
pub(super) fn check(cpu: &mut Cpu<'_>) -> Result<()> {
    let found = check_rim(cpu, Hash::Sha256, &[UNMEASURED], X0)?;
    let [_, content, ..] = cpu.order(Order::new(Op::Load, 0), &[UNMEASURED, 8])?;
    ensure!(
        content.to_le_bytes() == CONTENT,
        "what was populated without being measured is {content:#x}"
    );
    println!("measured: {found}");
    Ok(())
}

/// The realm has been measured as a guest that starts with `x0`, and pages whose contents are not
/// measured. Returns its measurement.
pub(crate) fn check_rim(
    cpu: &mut Cpu<'_>,
    hash: Hash,
    unmeasured: &[u64],
    x0: u64,
) -> Result<String> {
    let [_, ipa_bits, ..] = cpu.order(Order::new(Op::Describe, 0), &[])?;
    // What KVM tells of the debug registers; what the realm reads is up to the RMM.
    let mut rim = Rim::new(hash, ipa_bits, cpu.get(DFR0)?);
    let mut image = guest_image()?;
    image.resize(IMAGE_SIZE as usize, 0);
    for (ipa, page) in (BASE..).step_by(PAGE).zip(image.chunks(PAGE)) {
        rim.page(ipa, Some(page));
    }
    for ipa in unmeasured {
        rim.page(*ipa, None);
    }
    rim.rec(BASE, x0);

    let found = read(cpu, rim.value.len())?;
    ensure!(
        found == rim.value,
        "the realm is measured as {found:02x?} instead of {:02x?}",
        rim.value
    );
    Ok(found.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// RSI_MEASUREMENT_READ of the initial measurement, which has so many bytes.
fn read(cpu: &mut Cpu<'_>, size: usize) -> Result<Vec<u8>> {
    const INITIAL: u64 = 0;
    let arguments = [realm_guest::fid::MEASUREMENT_READ, INITIAL];
    let order = Order::new(Op::Smc, arguments.len() as u64);
    let [status, words @ ..] = cpu.order(order, &arguments)?;
    let (measurement, rest) = words.split_at(size / 8);
    ensure!(
        status == rsi::SUCCESS && rest.iter().all(|word| *word == 0),
        "measurement: status {status}, {words:x?}"
    );
    Ok(measurement.iter().flat_map(|w| w.to_le_bytes()).collect())
}
