// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: what the RMM is, granules, realms, and what they may expect of their memory.

mod common;

use common::realm::{param, params, PAGE, RD, ROOT, SHARED};
use common::v1::{
    DATA_CREATE_UNKNOWN, DATA_DESTROY, GRANULE_DELEGATE, GRANULE_UNDELEGATE, NEXT, REC_AUX_COUNT,
    RTT_MAP_UNPROTECTED, VMID,
};
use common::{pa, Machine, Pas, OWN, UART};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Status, GRANULE_SIZE};
use rmm::granule::Rd as RdGranule;
use rmm::measurement::{Algorithm, Measurement, RIM};
use rmm::platform::GRANULE_WORDS;
use rmm::rd::Rd;
use rmm::rmi::Dialect;
use rmm::Platform;

const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;

#[test]
fn it_is_active_and_says_1_0() {
    let machine = Machine::speaking(Dialect::V1);
    let only = 1 << 16;
    machine.expect(Fid::VERSION, [only], Status::Success, [only, only]);
    for wanted in [2 << 16, only | 1, 0] {
        machine.expect(Fid::VERSION, [wanted], Status::ErrorInput, [only, only]);
    }
    // 52 bits, LPA2, 6 breakpoints, 4 watchpoints, SHA-256, SHA-512, 4 list registers, 1023 RECs.
    let feature0 = 52 | 1 << 8 | 5 << 14 | 3 << 20 | 3 << 32 | 3 << 34 | 10 << 38;
    machine.expect(Fid::FEATURES, [0], Status::Success, [feature0]);
    for other in [1, 4, u64::MAX] {
        machine.expect(Fid::FEATURES, [other], Status::Success, [0]);
    }
}

#[test]
fn commands_of_2_0_are_unknown() {
    let machine = Machine::speaking(Dialect::V1);
    let mut known = 0;
    for number in 0xc400_0150..=0xc400_020f_u32 {
        let fid = Fid::from_raw(number);
        match machine.call(fid, &[]).x(0) {
            u64::MAX => {}
            _ => known += 1,
        }
    }
    assert_eq!(known, 23);
    for fid in [Fid::RMM_ACTIVATE, Fid::RMM_CONFIG_GET, Fid::OP_CONTINUE] {
        assert_eq!(machine.call(fid, &[0]).x(0), u64::MAX, "{fid}");
    }
    assert_eq!(
        machine.call(Fid::GRANULE_RANGE_DELEGATE, &[0, L3]).x(0),
        u64::MAX
    );
    // And the other way round.
    let machine = Machine::active();
    for fid in [
        GRANULE_DELEGATE,
        DATA_DESTROY,
        REC_AUX_COUNT,
        RTT_MAP_UNPROTECTED,
    ] {
        assert_eq!(machine.call(fid, &[pa(20)]).x(0), u64::MAX, "{fid}");
    }
}

#[test]
fn granules_go_there_and_back_one_by_one() {
    let machine = Machine::speaking(Dialect::V1);
    let one = pa(30);
    machine.fake().host_write(one, &[0x77; GRANULE_WORDS]);
    machine.expect(GRANULE_DELEGATE, [one], Status::Success, []);
    assert_eq!(machine.fake().pas(one), Pas::Realm);
    machine.expect(GRANULE_DELEGATE, [one], Status::ErrorInput, []);
    assert!(!machine.is_delegated(pa(31)));
    machine.expect(GRANULE_UNDELEGATE, [one], Status::Success, []);
    assert_eq!(machine.fake().data(one), [0; GRANULE_WORDS]);
    machine.expect(GRANULE_UNDELEGATE, [one], Status::ErrorInput, []);
    for bad in [one + 8, UART, OWN.start, u64::MAX] {
        machine.expect(GRANULE_DELEGATE, [bad], Status::ErrorInput, []);
        machine.expect(GRANULE_UNDELEGATE, [bad], Status::ErrorInput, []);
    }
    // EL3 keeps it.
    machine.fake().set_pas(one, Pas::Secure);
    machine.expect(GRANULE_DELEGATE, [one], Status::ErrorInput, []);
}

#[test]
fn the_host_chooses_the_vmid() {
    let machine = Machine::speaking(Dialect::V1);
    machine.delegate_each(pa(32), pa(44));
    let create = |n: u64, vmid: u64, status| {
        let mut page = params();
        page[param::RTT_BASE] = pa(33 + 2 * n);
        page[VMID] = vmid;
        machine.fake().host_write(PAGE, &page);
        machine.expect(Fid::REALM_CREATE, [pa(32 + 2 * n), PAGE], status, []);
    };
    create(0, 0, Status::Success);
    create(1, 0, Status::ErrorInput);
    // 8 bits, of which the highest is nobody's.
    for none in [255, 256, 0xffff] {
        create(1, none, Status::ErrorInput);
    }
    create(1, 254, Status::Success);
    // The rest of the word is not the VMID's.
    create(2, 7 << 16 | 7, Status::Success);
    create(3, 7, Status::ErrorInput);
    // One that goes gives its VMID back; a realm that has not come about has none.
    machine.expect(Fid::REALM_DESTROY, [pa(32)], Status::Success, []);
    create(0, 9, Status::Success);
    create(3, 0, Status::Success);
    machine.expect(GRANULE_UNDELEGATE, [pa(41)], Status::Success, []);
    create(4, 11, Status::ErrorInput);
    machine.expect(GRANULE_DELEGATE, [pa(41)], Status::Success, []);
    create(4, 11, Status::Success);
    let mut page = params();
    page[param::RTT_BASE] = pa(42);
    page[VMID] = 12;
    machine.fake().host_write(PAGE, &page);
    machine.expect(Fid::REALM_CREATE, [pa(42), PAGE], Status::ErrorInput, []);
    machine.expect(GRANULE_UNDELEGATE, [pa(43)], Status::Success, []);
    machine.expect(Fid::REALM_CREATE, [pa(43), PAGE], Status::ErrorInput, []);
    machine.expect(Fid::REALM_CREATE, [pa(40), PAGE], Status::ErrorInput, []);
    for realm in [32, 34, 36, 38, 40] {
        machine.expect(Fid::REALM_DESTROY, [pa(realm)], Status::Success, []);
    }
    machine.v1_undelegate_all();
}

#[test]
fn realm_parameters_of_1_0() {
    let machine = Machine::speaking(Dialect::V1);
    machine.delegate_each(RD, ROOT + L3);
    let create = |word: usize, value: u64, status| {
        let mut page = params();
        page[word] = value;
        machine.fake().host_write(PAGE, &page);
        machine.expect(Fid::REALM_CREATE, [RD, PAGE], status, []);
        if status == Status::Success {
            machine.expect(Fid::REALM_DESTROY, [RD], Status::Success, []);
        }
    };
    for (word, value) in [
        (param::S2SZ, 31),
        (param::S2SZ, 53),
        (param::NUM_BPS, 0),
        (param::NUM_WPS, 4),
        (param::FLAGS0, 2),
        (param::FLAGS0, 4),
        (param::HASH_ALGO, 2),
        (param::HASH_ALGO, 3),
        (param::RTT_LEVEL_START, 2),
        (param::RTT_NUM_START, 2),
    ] {
        create(word, value, Status::ErrorInput);
    }
    // What only RMI 2.0 knows is not looked at.
    for (word, value) in [
        (param::FLAGS0, 1 << 3),
        (param::FLAGS0, 3 << 7),
        (param::NUM_AUX_PLANES, 1),
        (param::ATS_PLANE, 1),
        (param::FLAGS1, 2),
        (param::HASH_ALGO, 1),
    ] {
        create(word, value, Status::Success);
    }
}

#[test]
fn a_realm_goes_in_any_state_when_nothing_is_in_it() {
    let machine = Machine::v1_with_tables();
    assert_eq!(machine.call(Fid::REALM_TERMINATE, &[RD]).x(0), u64::MAX);
    machine.expect(Fid::REALM_DESTROY, [RD], Status::ErrorRealm, []);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::ErrorRealm, []);
    machine.v1_destroy_realm();
    machine.expect(Fid::REALM_DESTROY, [RD], Status::ErrorInput, []);
}

fn rim(machine: &Machine) -> Measurement {
    let rmm = &machine.rmm;
    let mut rd = rmm.granules().lock::<RdGranule>(PhysAddr::new(RD)).unwrap();
    rmm.platform()
        .with(&mut rd, |data| Rd::view(data).measurements[RIM])
}

/// The RIM after a range has become RAM: RmmMeasurementDescriptorRipas.
fn extended(rim: &Measurement, base: u64, top: u64) -> Measurement {
    let mut descriptor = [0u8; 256];
    descriptor[0] = 2;
    descriptor[8..16].copy_from_slice(&256u64.to_le_bytes());
    descriptor[0x10..0x50].copy_from_slice(rim);
    descriptor[0x50..0x58].copy_from_slice(&base.to_le_bytes());
    descriptor[0x58..0x60].copy_from_slice(&top.to_le_bytes());
    Algorithm::Sha256.hash(&[&descriptor])
}

#[test]
fn ram_from_the_start_is_measured_entry_by_entry() {
    let machine = Machine::v1_with_tables();
    let mut wanted = rim(&machine);
    let init = |base, top, status, done: &[u64]| {
        let regs = machine.call(Fid::RTT_INIT_RIPAS, &[RD, base, top]);
        let mut expected = vec![status];
        expected.extend_from_slice(done);
        assert_eq!(regs.0[..expected.len()], expected, "{base:#x}");
    };
    init(L3, 3 * L3, 0, &[3 * L3]);
    for page in [L3, 2 * L3] {
        wanted = extended(&wanted, page, page + L3);
    }
    assert_eq!(rim(&machine), wanted);
    // A larger entry counts as one; what is RAM already counts again.
    init(L2, 2 * L2, 0, &[2 * L2]);
    init(L2, 2 * L2, 0, &[2 * L2]);
    for _ in 0..2 {
        wanted = extended(&wanted, L2, 2 * L2);
    }
    assert_eq!(rim(&machine), wanted);
    // Memory is in the way.
    machine.delegate_each(pa(NEXT), pa(NEXT + 1));
    let create = [RD, pa(NEXT), 5 * L3];
    machine.expect(DATA_CREATE_UNKNOWN, create, Status::Success, []);
    init(4 * L3, 8 * L3, 0, &[5 * L3]);
    wanted = extended(&wanted, 4 * L3, 5 * L3);
    init(5 * L3, 8 * L3, 4 | 3 << 8, &[0]);
    assert_eq!(rim(&machine), wanted);
    for (base, top) in [
        (L3, L3),
        (2 * L3, L3),
        (8, L3),
        (0, L3 + 8),
        (SHARED, SHARED + L3),
    ] {
        init(base, top, 1, &[0]);
    }
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    init(0, L3, 2, &[0]);
    machine.v1_destroy_realm();
}

const _: () = assert!(GRANULE_SIZE == L3);
