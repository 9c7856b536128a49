// SPDX-License-Identifier: GPL-2.0

//! How a realm is measured.

mod common;

use common::realm::{param, params, FREE, PAGE, RD};
use common::{pa, Machine};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Status};
use proptest::prelude::*;
use rmm::granule::Rd as RdGranule;
use rmm::measurement::{Algorithm, Measurement, RIM};
use rmm::platform::{GranuleData, GRANULE_WORDS};
use rmm::rd::Rd;
use rmm::Platform;

fn hex(bytes: &[u8]) -> String {
    let digits: Vec<_> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

fn bytes(data: &[u64]) -> Vec<u8> {
    data.iter().flat_map(|word| word.to_le_bytes()).collect()
}

#[test]
fn the_algorithms_are_those_of_fips_180() {
    for (raw, size, wanted) in [
        (
            0,
            32,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            2,
            48,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed\
             8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            1,
            64,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ] {
        let algorithm = Algorithm::from_raw(raw).unwrap();
        assert_eq!(algorithm.bytes(), size);
        let hash = algorithm.hash(&[b"a", b"", b"bc"]);
        assert_eq!(hex(&hash[..size]), wanted);
        assert!(hash[size..].iter().all(|byte| *byte == 0));
    }
    assert_eq!(Algorithm::from_raw(3), None);
}

#[test]
fn extending_hashes_the_old_value_and_the_new_one() {
    for raw in 0..3 {
        let algorithm = Algorithm::from_raw(raw).unwrap();
        let old = algorithm.hash(&[b"old"]);
        let extended = algorithm.extend(&old, b"new");
        let wanted = algorithm.hash(&[&old[..algorithm.bytes()], b"new"]);
        assert_eq!(extended, wanted);
    }
}

/// A machine with a realm that `algorithm` measures, and other parameters.
fn realm(algorithm: Algorithm, change: impl FnOnce(&mut GranuleData)) -> Machine {
    let machine = Machine::active();
    machine.delegate(RD, 2);
    let mut page = params();
    page[param::HASH_ALGO] = algorithm as u64;
    change(&mut page);
    machine.fake().host_write(PAGE, &page);
    machine.expect(Fid::REALM_CREATE, [RD, PAGE], Status::Success, []);
    machine
}

fn measurements(machine: &Machine) -> Vec<Measurement> {
    let rmm = &machine.rmm;
    let mut rd = rmm.granules().lock::<RdGranule>(PhysAddr::new(RD)).unwrap();
    rmm.platform()
        .with(&mut rd, |data| Rd::view(data).measurements.to_vec())
}

#[test]
fn the_rim_starts_with_the_parameters() {
    for raw in 0..3 {
        let algorithm = Algorithm::from_raw(raw).unwrap();
        let machine = realm(algorithm, |page| {
            page[param::NUM_BPS] = 3;
            page[param::RPV] = 0x5a;
            page[param::FLAGS1] = 1;
            page[0x10] = 1;
        });
        // What the realm can see, and nothing about where the host keeps it.
        let mut measured = [0; GRANULE_WORDS];
        measured[..7].copy_from_slice(&[0, 39, 0, 3, 1, 0, u64::from(raw)]);
        let found = measurements(&machine);
        assert_eq!(found[RIM], algorithm.hash(&[&bytes(&measured)]));
        assert!(found[RIM + 1..].iter().all(|rem| *rem == [0; 64]));
    }
}

#[test]
fn initial_data_extends_the_rim() {
    for raw in 0..3 {
        let algorithm = Algorithm::from_raw(raw).unwrap();
        let machine = realm(algorithm, |_| {});
        machine.create_table(pa(FREE), 0, 2);
        machine.create_table(pa(FREE + 1), 0, 3);
        let mut content = [0; GRANULE_WORDS];
        content[7] = 0x1234;
        machine.fake().host_write(pa(FREE + 2), &content);
        machine.delegate(pa(FREE + 3), 2);
        let mut rim = measurements(&machine)[RIM];
        for (ipa, flags) in [(0x3000, 1), (0x5000, 0)] {
            let data = pa(FREE + 3 + flags);
            machine.expect(
                Fid::RTT_DATA_MAP_INIT,
                [RD, data, ipa, pa(FREE + 2), flags],
                Status::Success,
                [],
            );
            // RmmMeasurementDescriptorData.
            let mut descriptor = [0u8; 256];
            descriptor[8..16].copy_from_slice(&256u64.to_le_bytes());
            descriptor[0x10..0x50].copy_from_slice(&rim);
            descriptor[0x50..0x58].copy_from_slice(&ipa.to_le_bytes());
            descriptor[0x58..0x60].copy_from_slice(&flags.to_le_bytes());
            if flags == 1 {
                let hash = algorithm.hash(&[&bytes(&content)]);
                descriptor[0x60..0xa0].copy_from_slice(&hash);
            }
            rim = algorithm.hash(&[&descriptor]);
            assert_eq!(measurements(&machine)[RIM], rim);
        }
    }
}

#[test]
fn recs_extend_the_rim() {
    let machine = realm(Algorithm::Sha256, |_| {});
    let rim = measurements(&machine)[RIM];
    machine.create_rec();
    // Flags, pc and gprs; this REC is runnable, and that is all.
    let mut measured = [0; GRANULE_WORDS];
    measured[0] = 1;
    // RmmMeasurementDescriptorRec.
    let mut descriptor = [0u8; 256];
    descriptor[0] = 1;
    descriptor[8..16].copy_from_slice(&256u64.to_le_bytes());
    descriptor[0x10..0x50].copy_from_slice(&rim);
    descriptor[0x50..0x90].copy_from_slice(&Algorithm::Sha256.hash(&[&bytes(&measured)]));
    let wanted = Algorithm::Sha256.hash(&[&descriptor]);
    assert_eq!(measurements(&machine)[RIM], wanted);
}

#[test]
fn other_commands_leave_the_rim_alone() {
    let machine = realm(Algorithm::Sha256, |_| {});
    let rim = measurements(&machine);
    machine.create_table(pa(FREE), 0, 2);
    machine.create_table(pa(FREE + 1), 0, 3);
    machine.init_ram(0, 1 << 21);
    machine.delegate(pa(FREE + 2), 1);
    machine.map(0, pa(FREE + 2), 1, 3);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    assert_eq!(measurements(&machine), rim);
}

proptest! {
    #[test]
    fn parts_do_not_matter(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..6),
        raw in 0..3u8,
    ) {
        let algorithm = Algorithm::from_raw(raw).unwrap();
        let slices: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(algorithm.hash(&slices), algorithm.hash(&[&parts.concat()]));
    }
}
