// SPDX-License-Identifier: GPL-2.0

//! The Realm Initial Measurement, computed as whoever deploys a realm would: from what the VMM has asked
//! for, by the RMM specification, and without the RMM's or the component's code.

use realm_guest::{Op, Order, BASE, IMAGE_SIZE, PAGE_SIZE};
use sha2::{Digest, Sha256};

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

fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// A measurement on its way.
struct Rim([u8; 32]);

impl Rim {
    /// A realm without SVE or a PMU, of as many IPA bits, and with the debug registers in the fields of
    /// an ID_AA64DFR0_EL1: `RmiRealmParams`, as far as they are measured.
    fn new(ipa_bits: u64, dfr0: u64) -> Self {
        let (breakpoints, watchpoints) = (dfr0 >> 12 & 0xf, dfr0 >> 20 & 0xf);
        Self(sha256(&structure::<PAGE>(&[
            (0x8, ipa_bits),
            (0x18, breakpoints),
            (0x20, watchpoints),
        ])))
    }

    /// `RmmMeasurementDescriptorData`: a page at `ipa`.
    fn page(&mut self, ipa: u64, content: Option<&[u8]>) {
        let flags = if content.is_some() { MEASURE } else { 0 };
        let hash = content.map_or([0; 32], sha256);
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
        self.extend(&fields, 0x50, &sha256(&params));
    }

    fn extend(&mut self, fields: &[(usize, u64)], at: usize, content: &[u8; 32]) {
        let mut descriptor = structure::<DESCRIPTOR>(fields);
        descriptor[0x10..0x30].copy_from_slice(&self.0);
        descriptor[at..at + 32].copy_from_slice(content);
        self.0 = sha256(&descriptor);
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
    let [_, ipa_bits, ..] = cpu.order(Order::new(Op::Describe, 0), &[])?;
    // What KVM tells of the debug registers; what the realm reads is up to the RMM.
    let mut rim = Rim::new(ipa_bits, cpu.get(DFR0)?);
    let mut image = guest_image()?;
    image.resize(IMAGE_SIZE as usize, 0);
    for (ipa, page) in (BASE..).step_by(PAGE).zip(image.chunks(PAGE)) {
        rim.page(ipa, Some(page));
    }
    rim.page(UNMEASURED, None);
    rim.rec(BASE, X0);

    let found = read(cpu)?;
    ensure!(
        found == rim.0,
        "the realm is measured as {found:02x?} instead of {:02x?}",
        rim.0
    );
    let [_, content, ..] = cpu.order(Order::new(Op::Load, 0), &[UNMEASURED, 8])?;
    ensure!(
        content.to_le_bytes() == CONTENT,
        "what was populated without being measured is {content:#x}"
    );
    println!(
        "measured: {}",
        found.map(|byte| format!("{byte:02x}")).concat()
    );
    Ok(())
}

/// RSI_MEASUREMENT_READ of the initial measurement, of a realm that is measured by SHA-256.
fn read(cpu: &mut Cpu<'_>) -> Result<[u8; 32]> {
    const INITIAL: u64 = 0;
    let arguments = [realm_guest::fid::MEASUREMENT_READ, INITIAL];
    let order = Order::new(Op::Smc, arguments.len() as u64);
    let [status, words @ ..] = cpu.order(order, &arguments)?;
    let (measurement, rest) = words.split_at(4);
    ensure!(
        status == rsi::SUCCESS && rest.iter().all(|word| *word == 0),
        "measurement: status {status}, {words:x?}"
    );
    let bytes: Vec<u8> = measurement.iter().flat_map(|w| w.to_le_bytes()).collect();
    Ok(bytes
        .try_into()
        .map_err(|_| "a measurement of another size")?)
}
