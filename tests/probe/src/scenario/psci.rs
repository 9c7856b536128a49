// SPDX-License-Identifier: GPL-2.0

//! PSCI: what the realm asks for, and what the host makes of it.

use kvm_arm_rmi::rmi::Fid;
use realm_payload::{fid, puppet, BASE};

use crate::layout::{HOLE, UART};
use crate::params::Shape;
use crate::probe::Probe;
use crate::puppet::Puppet;
use crate::world::{Rec, GIB};

const SUCCESS: u64 = 0;
const DENIED: u64 = -3i64 as u64;

/// Walks PSCI_COMPLETE and the PSCI calls of a realm.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("PSCI");
    let realm = probe.realm("rd", Shape::USUAL);
    probe.load_payload(realm);
    let first = probe.rec("rec0", realm, 0, true);
    let second = probe.rec("rec1", realm, 1, false);
    let other_realm = probe.realm("rd2", Shape::USUAL);
    let other = probe.rec("other", other_realm, 0, false);
    probe.must(Fid::REALM_ACTIVATE, &[realm.rd]);
    let puppet = probe.puppet(first);
    alone(probe, puppet);
    completion(probe, puppet, second, other);
    turned_on(probe, puppet, second);
    end(probe, puppet, second);
    probe.tear_down(realm, &[first, second], &[GIB]);
    probe.tear_down(other_realm, &[other], &[]);
    probe.end();
}

/// Calls that the RMM answers by itself.
fn alone(probe: &mut Probe, puppet: Puppet) {
    let calls: [(&str, &[u64]); 20] = [
        ("PSCI_VERSION", &[fid::PSCI_VERSION]),
        (
            "PSCI_FEATURES version",
            &[fid::PSCI_FEATURES, fid::PSCI_VERSION],
        ),
        ("PSCI_FEATURES", &[fid::PSCI_FEATURES, fid::CPU_SUSPEND]),
        ("PSCI_FEATURES", &[fid::PSCI_FEATURES, fid::CPU_OFF]),
        ("PSCI_FEATURES", &[fid::PSCI_FEATURES, fid::CPU_ON]),
        ("PSCI_FEATURES", &[fid::PSCI_FEATURES, fid::AFFINITY_INFO]),
        ("PSCI_FEATURES", &[fid::PSCI_FEATURES, fid::SYSTEM_OFF]),
        ("PSCI_FEATURES", &[fid::PSCI_FEATURES, fid::SYSTEM_RESET]),
        ("PSCI_FEATURES", &[fid::PSCI_FEATURES, fid::PSCI_FEATURES]),
        (
            "PSCI_FEATURES SMCCC_VERSION",
            &[fid::PSCI_FEATURES, 0x8000_0000],
        ),
        ("PSCI_FEATURES MIGRATE", &[fid::PSCI_FEATURES, 0x8400_0005]),
        (
            "PSCI_FEATURES SYSTEM_RESET2",
            &[fid::PSCI_FEATURES, 0xc400_0012],
        ),
        ("MIGRATE_INFO_TYPE", &[0x8400_0006]),
        ("SYSTEM_RESET2", &[0xc400_0012, 0, 0]),
        ("SMCCC_VERSION", &[0x8000_0000]),
        ("CPU_ON itself", &[fid::CPU_ON, 0, BASE, 1]),
        ("CPU_ON nobody", &[fid::CPU_ON, 2, BASE, 1]),
        ("CPU_ON unprotected", &[fid::CPU_ON, 1, 1 << 38, 1]),
        ("AFFINITY_INFO itself", &[fid::AFFINITY_INFO, 0, 0]),
        ("AFFINITY_INFO nobody", &[fid::AFFINITY_INFO, 2, 0]),
    ];
    for (name, args) in calls {
        probe.realm_call::<1>(puppet, name, args);
    }
    probe.realm_call::<1>(puppet, "AFFINITY_INFO level", &[fid::AFFINITY_INFO, 1, 1]);
    // Everything is wrong: the address is looked at first.
    probe.realm_call::<1>(
        puppet,
        "CPU_ON nobody, nowhere",
        &[fid::CPU_ON, 9, 1 << 38, 1],
    );
}

/// Has the puppet make a PSCI call that exits.
fn ask(probe: &mut Probe, puppet: Puppet, note: &str, args: &[u64]) {
    let mut operation = [0; 6];
    operation[0] = puppet::SMC;
    operation[1..=args.len()].copy_from_slice(args);
    probe.provoke(puppet, note, 0, &operation);
}

fn completion(probe: &mut Probe, puppet: Puppet, second: Rec, other: Rec) {
    probe.about("completion");
    let on = [fid::CPU_ON, 1, BASE, 1];
    let rec = puppet.rec.rec;
    let target = second.rec;
    let granule = probe.granule("g");
    // There is nothing to complete.
    probe.call(Fid::PSCI_COMPLETE, &[rec, target, SUCCESS]);
    ask(probe, puppet, "CPU_ON", &on);
    probe.call(Fid::REC_ENTER, &[rec, puppet.rec.run]);
    probe.call(Fid::REC_ENTER, &[target, second.run]);
    probe.each(
        Fid::PSCI_COMPLETE,
        &[
            [0, target, SUCCESS],
            [rec + 8, target, SUCCESS],
            [granule, target, SUCCESS],
            [UART, target, SUCCESS],
            [rec, 0, SUCCESS],
            [rec, target + 8, SUCCESS],
            [rec, granule, SUCCESS],
            [rec, HOLE, SUCCESS],
            [rec, rec, SUCCESS],
            [target, rec, SUCCESS],
            [rec, other.rec, SUCCESS],
            [other.rec, target, SUCCESS],
            // Statuses that are no answers.
            [rec, target, -1i64 as u64],
            [rec, target, -2i64 as u64],
            [rec, target, -4i64 as u64],
            [rec, target, -9i64 as u64],
            [rec, target, 1],
            // The lower half of one that is.
            [rec, target, DENIED & 0xffff_ffff],
            // The wrong REC, and no answer.
            [rec, other.rec, 1],
            [rec, target, DENIED],
            [rec, target, DENIED],
        ],
    );
    probe.enter(puppet.rec, "denied", 0, 0);
    probe.call(Fid::REC_ENTER, &[target, second.run]);

    ask(probe, puppet, "AFFINITY_INFO", &[fid::AFFINITY_INFO, 1, 0]);
    probe.each(
        Fid::PSCI_COMPLETE,
        &[
            [rec, target, DENIED],
            [rec, rec, SUCCESS],
            [rec, target, SUCCESS],
        ],
    );
    probe.enter(puppet.rec, "off", 0, 0);

    ask(probe, puppet, "CPU_ON", &on);
    probe.call(Fid::PSCI_COMPLETE, &[rec, target, SUCCESS]);
    probe.enter(puppet.rec, "granted", 0, 0);
}

/// The second REC is on.
fn turned_on(probe: &mut Probe, puppet: Puppet, second: Rec) {
    probe.about("a REC that is on");
    let on = [fid::CPU_ON, 1, BASE, 1];
    let rec = puppet.rec.rec;
    let target = second.rec;
    // It is on before it has run.
    ask(probe, puppet, "AFFINITY_INFO", &[fid::AFFINITY_INFO, 1, 0]);
    probe.call(Fid::PSCI_COMPLETE, &[rec, target, SUCCESS]);
    probe.enter(puppet.rec, "on", 0, 0);
    for (note, answer) in [("granted", SUCCESS), ("denied", DENIED)] {
        ask(probe, puppet, "CPU_ON again", &on);
        probe.call(Fid::PSCI_COMPLETE, &[rec, target, answer]);
        probe.enter(puppet.rec, note, 0, 0);
    }
    let other = probe.puppet(second);
    probe.realm_call::<1>(other, "AFFINITY_INFO itself", &[fid::AFFINITY_INFO, 1, 0]);
    ask(probe, other, "CPU_SUSPEND", &[fid::CPU_SUSPEND, 1, BASE, 0]);
    probe.enter(second, "resumed", 0, 0);
    ask(probe, other, "CPU_OFF", &[fid::CPU_OFF]);
    probe.call(Fid::REC_ENTER, &[target, second.run]);
    ask(probe, puppet, "AFFINITY_INFO", &[fid::AFFINITY_INFO, 1, 0]);
    probe.call(Fid::PSCI_COMPLETE, &[rec, target, SUCCESS]);
    probe.enter(puppet.rec, "off", 0, 0);
    ask(probe, puppet, "CPU_ON, off before", &on);
    probe.call(Fid::PSCI_COMPLETE, &[rec, target, SUCCESS]);
    probe.enter(puppet.rec, "granted", 0, 0);
}

/// The realm's own end.
fn end(probe: &mut Probe, puppet: Puppet, second: Rec) {
    probe.about("the realm turns itself off");
    let rec = puppet.rec.rec;
    ask(probe, puppet, "SYSTEM_OFF", &[fid::SYSTEM_OFF]);
    probe.call(Fid::REC_ENTER, &[rec, puppet.rec.run]);
    probe.call(Fid::REC_ENTER, &[second.rec, second.run]);
    probe.call(Fid::PSCI_COMPLETE, &[rec, second.rec, SUCCESS]);
}
