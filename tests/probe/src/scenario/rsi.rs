// SPDX-License-Identifier: GPL-2.0

//! The RSI, from inside a realm.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};
use realm_payload::{fid, puppet, BASE, PAGES};

use crate::console::say;
use crate::descriptor::{MapFlags, Range};
use crate::memory;
use crate::params::{run, Shape};
use crate::probe::Probe;
use crate::puppet::Puppet;
use crate::world::{Realm, GIB, SPARE};

/// First IPA of the unprotected half.
const UNPROTECTED: u64 = Shape::USUAL.unprotected();
/// Two pages with RIPAS RAM and no memory.
const MISSING: u64 = SPARE + 8 * PAGE;
/// RSI_INCOMPLETE.
const INCOMPLETE: u64 = 3;

/// Walks the RSI.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("RSI");
    for hash in [0, 1] {
        let shape = Shape {
            hash,
            ..Shape::USUAL
        };
        let realm = probe.realm("rd", shape);
        probe.load_payload(realm);
        probe.must(
            Fid::RTT_INIT_RIPAS,
            &[realm.rd, MISSING, MISSING + 2 * PAGE],
        );
        // One page is measured with its contents; the payload is not.
        let src = probe.page("src");
        memory::fill(src, 0x0123_4567_89ab_cdef);
        let data = probe.granule("measured");
        let at = SPARE + 16 * PAGE;
        probe.must(Fid::RTT_DATA_MAP_INIT, &[realm.rd, data, at, src, 1]);
        let rec = probe.rec("rec0", realm, 0, true);
        probe.must(Fid::REALM_ACTIVATE, &[realm.rd]);
        let puppet = probe.puppet(rec);
        if hash == 0 {
            identity(probe, realm, puppet);
            measurement(probe, puppet);
            states(probe, puppet);
            token(probe, puppet);
            probe.about("functions that are no commands");
            for number in [0x9a, 0x9b, 0xb0, 0xcf] {
                probe.realm_call::<1>(puppet, "RSI", &[0xc400_0100 | number]);
            }
            probe.realm_call::<1>(
                puppet,
                "RMI_VERSION",
                &[Fid::VERSION.raw().into(), 0x2_0000],
            );
            host_calls(probe, realm, puppet);
        } else {
            probe.about("measurements with SHA-512");
            long_measurement(probe, puppet);
        }
        probe.tear_down(realm, &[rec], &[GIB]);
    }
    probe.end();
}

/// What the realm may know of the RMM and of itself.
fn identity(probe: &mut Probe, realm: Realm, puppet: Puppet) {
    for version in [0x1_0000, 0x1_0001, 0x1_0002, 0x2_0000, 0] {
        probe.realm_call::<3>(puppet, "RSI_VERSION", &[fid::VERSION, version]);
    }
    for index in [0, 1, u64::MAX] {
        probe.realm_call::<2>(puppet, "RSI_FEATURES", &[fid::FEATURES, index]);
    }
    for ipa in [BASE + 8, UNPROTECTED, SPARE, 1 << 63] {
        probe.realm_call::<1>(puppet, "RSI_REALM_CONFIG", &[fid::REALM_CONFIG, ipa]);
    }
    let [status]: [u64; 1] = probe.ask(puppet, &[puppet::SMC, fid::REALM_CONFIG, puppet.page]);
    say!("    RSI_REALM_CONFIG -> {status}");
    let fields = [
        ("IPA width", 0),
        ("hash", 8),
        ("planes", 0x10),
        ("ATS plane", 0x20),
        ("personalisation value", 0x200),
        ("last word", PAGE - 8),
    ];
    for (name, offset) in fields {
        let [value, _]: [u64; 2] = probe.ask(puppet, &[puppet::LOAD, puppet.page + offset, 8]);
        say!("    {name}: {value:#x}");
    }
    let missing = [puppet::SMC, fid::REALM_CONFIG, MISSING];
    probe.provoke(puppet, "REALM_CONFIG, missing memory", 0, &missing);
    probe.enter(puppet.rec, "tried again", 0, 0);
    supply(probe, realm, puppet, MISSING);
}

/// A call of the realm has found memory missing: gives it some, and prints what comes of it.
fn supply(probe: &mut Probe, realm: Realm, puppet: Puppet, ipa: u64) {
    let data = probe.granule("supplied");
    probe.map(realm, ipa, data);
    probe.enter(puppet.rec, "mapped", 0, 0);
}

fn measurement(probe: &mut Probe, puppet: Puppet) {
    probe.about("measurements");
    for index in [0, 1, 4, 5, u64::MAX] {
        probe.realm_call::<5>(
            puppet,
            "RSI_MEASUREMENT_READ",
            &[fid::MEASUREMENT_READ, index],
        );
    }
    let extend = |probe: &mut Probe, index, size| {
        let call = [fid::MEASUREMENT_EXTEND, index, size, 1, 2, 3, 4, 5, 6, 7, 8];
        probe.realm_call::<1>(puppet, "RSI_MEASUREMENT_EXTEND", &call);
    };
    for (index, size) in [
        (0, 32),
        (5, 32),
        (1, 65),
        (0, 65),
        (u64::MAX, 8),
        (1, u64::MAX),
    ] {
        extend(probe, index, size);
    }
    for (index, size) in [(1, 64), (1, 64), (2, 0), (3, 1), (4, 32)] {
        extend(probe, index, size);
        probe.realm_call::<5>(
            puppet,
            "RSI_MEASUREMENT_READ",
            &[fid::MEASUREMENT_READ, index],
        );
    }
}

fn long_measurement(probe: &mut Probe, puppet: Puppet) {
    let extend = [fid::MEASUREMENT_EXTEND, 1, 64, 1, 2, 3, 4, 5, 6, 7, 8];
    for index in [0, 1] {
        probe.realm_call::<9>(
            puppet,
            "RSI_MEASUREMENT_READ",
            &[fid::MEASUREMENT_READ, index],
        );
    }
    probe.realm_call::<1>(puppet, "RSI_MEASUREMENT_EXTEND", &extend);
    probe.realm_call::<9>(puppet, "RSI_MEASUREMENT_READ", &[fid::MEASUREMENT_READ, 1]);
}

fn states(probe: &mut Probe, puppet: Puppet) {
    probe.about("the state of memory, RSI_IPA_STATE");
    let end = BASE + PAGES * PAGE;
    let gets = [
        (BASE, end),
        (BASE, BASE + PAGE),
        (BASE, end + PAGE),
        (end, UNPROTECTED),
        (MISSING, MISSING + 4 * PAGE),
        (0, PAGE),
        (0, UNPROTECTED),
        (BASE, BASE),
        (end, BASE),
        (BASE + 8, end),
        (BASE, end + 8),
        (UNPROTECTED, UNPROTECTED + PAGE),
        (BASE, UNPROTECTED + PAGE),
        (BASE, 1 << 63),
    ];
    for (base, top) in gets {
        probe.realm_call::<3>(
            puppet,
            "RSI_IPA_STATE_GET",
            &[fid::IPA_STATE_GET, base, top],
        );
    }
    let sets = [
        (BASE, BASE, 1),
        (end, BASE, 1),
        (SPARE + 8, SPARE + PAGE, 1),
        (SPARE, SPARE + 8, 1),
        (UNPROTECTED, UNPROTECTED + PAGE, 1),
        (SPARE, UNPROTECTED + PAGE, 1),
        (SPARE, SPARE + PAGE, 2),
        (SPARE, SPARE + PAGE, 3),
        (SPARE, SPARE + PAGE, 4),
    ];
    for (base, top, ripas) in sets {
        let call = [fid::IPA_STATE_SET, base, top, ripas, 0];
        probe.realm_call::<1>(puppet, "RSI_IPA_STATE_SET", &call);
    }
}

fn host_calls(probe: &mut Probe, realm: Realm, puppet: Puppet) {
    probe.about("host calls");
    for ipa in [BASE + 8, UNPROTECTED, SPARE, 1 << 63, BASE + PAGE - 128] {
        probe.realm_call::<1>(puppet, "RSI_HOST_CALL", &[fid::HOST_CALL, ipa]);
    }
    // Another area than the puppet's own, in the page that may be written to.
    for n in 0..32 {
        let operation = [puppet::STORE, puppet.page + 256 + n * 8, 8, 0x1000 + n];
        let _: [u64; 1] = probe.ask(puppet, &operation);
    }
    let call = [puppet::SMC, fid::HOST_CALL, puppet.page + 256];
    probe.provoke(puppet, "HOST_CALL", 0, &call);
    for n in 0..31 {
        memory::write(puppet.rec.run + run::ENTER_GPRS + n * 8, 0x2000 + n);
    }
    probe.must(Fid::REC_ENTER, &[puppet.rec.rec, puppet.rec.run]);
    for n in [0, 1, 30, 31] {
        let [value, _]: [u64; 2] = probe.ask(puppet, &[puppet::LOAD, puppet.page + 256 + n * 8, 8]);
        say!("    word {n}: {value:#x}");
    }
    let missing = MISSING + PAGE;
    let call = [puppet::SMC, fid::HOST_CALL, missing + PAGE - 256];
    probe.provoke(puppet, "HOST_CALL, missing memory", 0, &call);
    supply(probe, realm, puppet, missing);
    // The host takes it away while it has the call.
    let range = [realm.rd, missing, missing + PAGE, MapFlags::SINGLE.0, 0];
    let data = probe.call(Fid::RTT_DATA_UNMAP, &range).x(2);
    probe.enter(puppet.rec, "answered, missing memory", 0, 0);
    probe.enter(puppet.rec, "tried again", 0, 0);
    probe.map(realm, missing, Range(data).base());
    probe.enter(puppet.rec, "mapped, but destroyed", 0, 0);
}

/// An attestation token: what is in it is the platform's affair.
fn token(probe: &mut Probe, puppet: Puppet) {
    probe.about("an attestation token");
    let page = puppet.page;
    let go_on = |probe: &mut Probe, note: &str, offset, size| -> [u64; 2] {
        let call = [puppet::SMC, fid::TOKEN_CONTINUE, page, offset, size];
        let results: [u64; 2] = probe.ask(puppet, &call);
        if !note.is_empty() {
            say!(
                "    RSI_ATTESTATION_TOKEN_CONTINUE {note} -> {}",
                results[0]
            );
        }
        results
    };
    go_on(probe, "before INIT", 0, PAGE);
    let challenge = [fid::TOKEN_INIT, 1, 2, 3, 4, 5, 6, 7, 8];
    probe.realm_call::<1>(puppet, "RSI_ATTESTATION_TOKEN_INIT", &challenge);
    for (ipa, offset, size) in [
        (BASE + 8, 0, PAGE),
        (UNPROTECTED, 0, PAGE),
        (BASE, PAGE, 0),
        (BASE, 8, PAGE),
        (BASE, 1, u64::MAX),
        (SPARE, 0, PAGE),
    ] {
        let call = [fid::TOKEN_CONTINUE, ipa, offset, size];
        probe.realm_call::<1>(puppet, "RSI_ATTESTATION_TOKEN_CONTINUE", &call);
    }
    go_on(probe, "no bytes", 0, 0);
    let [_, bytes] = go_on(probe, "8 bytes", 0, 8);
    let [start, _]: [u64; 2] = probe.ask(puppet, &[puppet::LOAD, page, 8]);
    say!(
        "    {bytes} bytes, the first of them {:#x}",
        start.to_be() >> 40
    );
    let status = loop {
        let [status, _] = go_on(probe, "", 0, PAGE);
        if status != INCOMPLETE {
            break status;
        }
    };
    say!("    and the rest -> {status}");
    go_on(probe, "after the end", 0, PAGE);
}
