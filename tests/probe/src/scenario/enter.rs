// SPDX-License-Identifier: GPL-2.0

//! RECs entered: what is refused, and how they exit.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};
use realm_payload::puppet;

use crate::descriptor::{MapFlags, Range};
use crate::gic;
use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::params::{run, Shape};
use crate::probe::Probe;
use crate::puppet::Puppet;
use crate::world::{Realm, Rec, GIB, SPARE};

/// First IPA of the unprotected half.
const DEVICE: u64 = Shape::USUAL.unprotected();

/// Two pages with RIPAS RAM and no memory.
const MEMORY: u64 = SPARE + 8 * PAGE;

/// Walks REC_ENTER.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("RECs entered");
    let realm = probe.realm("rd", Shape::USUAL);
    probe.load_payload(realm);
    probe.must(Fid::RTT_INIT_RIPAS, &[realm.rd, MEMORY, MEMORY + 2 * PAGE]);
    let rec = probe.rec("rec0", realm, 0, true);
    let idle = probe.rec("rec1", realm, 1, false);
    refused(probe, realm, rec, idle);
    let puppet = probe.puppet(rec);
    flags(probe, puppet);
    probe.tables(realm, DEVICE, 3);
    emulation(probe, puppet);
    protected(probe, realm, puppet);
    traps(probe, puppet);
    if !probe.v1 {
        interrupts(probe, puppet);
        destroyed(probe, realm, puppet);
    }
    probe.tear_down(realm, &[rec, idle], &[GIB, DEVICE]);
    probe.call(Fid::REC_ENTER, &[rec.rec, rec.run]);
    probe.end();
}

fn refused(probe: &mut Probe, realm: Realm, rec: Rec, idle: Rec) {
    let g = probe.granule("g");
    let Rec { rec, run } = rec;
    probe.each(
        Fid::REC_ENTER,
        &[
            [rec, 0],
            [rec, run + 8],
            [rec, g],
            [rec, rec],
            [rec, UART],
            [rec, RMM],
            [rec, HOLE],
            [rec, BEYOND],
            [0, run],
            [rec + 8, run],
            [run, run],
            [g, run],
            [realm.rd, run],
            [UART, run],
            [BEYOND, run],
            [0, 0],
            // The realm is new; and the REC does not run.
            [rec, run],
            [idle.rec, run],
        ],
    );
    probe.must(Fid::REALM_ACTIVATE, &[realm.rd]);
    probe.call(Fid::REC_ENTER, &[idle.rec, idle.run]);
    probe.call(Fid::REC_ENTER, &[idle.rec, g]);
}

/// Flags that do not fit the exit before.
fn flags(probe: &mut Probe, puppet: Puppet) {
    probe.about("flags that do not fit the exit before, a host call");
    let wait = [puppet::LOAD, puppet.page, 8];
    probe.provoke(puppet, "emulated", run::EMULATED, &wait);
    probe.provoke(puppet, "inject an abort", run::INJECT_SEA, &wait);
    let both = run::EMULATED | run::INJECT_SEA;
    probe.provoke(puppet, "emulated, inject an abort", both, &wait);
    probe.provoke(puppet, "reject RIPAS", run::REJECT_RIPAS, &wait);
    probe.provoke(puppet, "flags that there are not", 1 << 63 | 1 << 20, &wait);
}

/// Accesses to the unprotected half where nothing is mapped.
fn emulation(probe: &mut Probe, puppet: Puppet) {
    probe.about("accesses that the host may emulate");
    let rec = puppet.rec;
    let value = 0x8877_6655_8433_a2f1;
    for (note, bytes) in [("load 1", 1), ("load 2", 2), ("load 4", 4), ("load 8", 8)] {
        probe.provoke(puppet, note, 0, &[puppet::LOAD, DEVICE + 0x10, bytes]);
        probe.enter(rec, "emulated", run::EMULATED, value);
    }
    for (note, bytes) in [("store 1", 1), ("store 4", 4), ("store 8", 8)] {
        probe.provoke(
            puppet,
            note,
            0,
            &[puppet::STORE, DEVICE + 0x18, bytes, value],
        );
        probe.enter(rec, "emulated", run::EMULATED, 0);
    }
    probe.provoke(
        puppet,
        "load 4 signed",
        0,
        &[puppet::LOAD_SIGNED, DEVICE + PAGE],
    );
    probe.enter(rec, "emulated", run::EMULATED, value);

    probe.about("other ends of such an access");
    let load = [puppet::LOAD, DEVICE + 0x10, 4];
    probe.provoke(puppet, "load 4", 0, &load);
    probe.enter(rec, "tried again", 0, 0);
    probe.enter(rec, "inject an abort", run::INJECT_SEA, 0);
    probe.provoke(puppet, "load 4", 0, &load);
    let both = run::EMULATED | run::INJECT_SEA;
    probe.enter(rec, "emulated, inject an abort", both, value);
    probe.provoke(puppet, "load pair", 0, &[puppet::LOAD_PAIR, DEVICE + 0x10]);
    probe.enter(
        rec,
        "emulated, which a pair cannot be",
        run::EMULATED,
        value,
    );
    probe.enter(rec, "inject an abort", run::INJECT_SEA, 0);
    let far = DEVICE + 4 * GIB;
    probe.provoke(
        puppet,
        "load 4 where no table is",
        0,
        &[puppet::LOAD, far, 4],
    );
    probe.enter(rec, "emulated", run::EMULATED, 1);
    let beyond = 2 * DEVICE;
    probe.provoke(
        puppet,
        "load 4 beyond the IPAs",
        0,
        &[puppet::LOAD, beyond, 4],
    );
    probe.provoke(
        puppet,
        "jump to the unprotected half",
        0,
        &[puppet::JUMP, DEVICE],
    );
}

/// Accesses to the protected half.
fn protected(probe: &mut Probe, realm: Realm, puppet: Puppet) {
    probe.about("accesses to protected memory");
    let rec = puppet.rec;
    let empty = SPARE;
    probe.provoke(puppet, "load, RIPAS EMPTY", 0, &[puppet::LOAD, empty, 8]);
    probe.provoke(
        puppet,
        "store, RIPAS EMPTY",
        0,
        &[puppet::STORE, empty, 8, 1],
    );
    probe.provoke(puppet, "jump, RIPAS EMPTY", 0, &[puppet::JUMP, empty]);

    let data = probe.granules("data", 2);
    probe.provoke(puppet, "load, RIPAS RAM", 0, &[puppet::LOAD, MEMORY, 8]);
    probe.enter(
        rec,
        "emulated, which protected memory cannot be",
        run::EMULATED,
        1,
    );
    probe.enter(
        rec,
        "inject an abort, which it cannot give",
        run::INJECT_SEA,
        0,
    );
    probe.enter(rec, "tried again", 0, 0);
    probe.map(realm, MEMORY, data);
    probe.enter(rec, "mapped", 0, 0);
    probe.provoke(
        puppet,
        "store 1, RIPAS RAM",
        0,
        &[puppet::STORE, MEMORY + PAGE + 9, 1, 0x77],
    );
    probe.map(realm, MEMORY + PAGE, data + PAGE);
    probe.enter(rec, "mapped", 0, 0);
    probe.provoke(puppet, "load 8", 0, &[puppet::LOAD, MEMORY + PAGE + 8, 8]);
}

/// Instructions that exit if the host wants it, or whatever it wants.
fn traps(probe: &mut Probe, puppet: Puppet) {
    probe.about("instructions that exit, or that a realm does not have");
    let rec = puppet.rec;
    probe.provoke(puppet, "WFI", run::TRAP_WFI, &[puppet::WFI]);
    probe.enter(rec, "", 0, 0);
    probe.provoke(puppet, "HVC", 0, &[puppet::HVC]);
    probe.provoke(
        puppet,
        "SGI 3 to all others",
        0,
        &[puppet::SGI, 1 << 40 | 3 << 24],
    );
    probe.enter(rec, "", 0, 0);
}

/// List registers that the RMM does not take.
fn interrupts(probe: &mut Probe, puppet: Puppet) {
    probe.about("list registers");
    let wait = [puppet::LOAD, puppet.page, 4];
    let sets = [
        ("two interrupts", gic::pending(40), gic::pending(41)),
        (
            "an interrupt with a physical one",
            gic::pending(40) | gic::LR_HW,
            0,
        ),
        (
            "the same interrupt twice",
            gic::pending(40),
            gic::pending(40),
        ),
        ("the same interrupt, once not pending", gic::pending(40), 40),
        ("a physical one, not pending", gic::LR_HW | 40, 0),
    ];
    for (note, first, second) in sets {
        gic::set_list_registers(first, second);
        probe.provoke(puppet, note, 0, &wait);
    }
    gic::set_list_registers(0, 0);
    probe.provoke(puppet, "none", 0, &wait);
}

/// Memory that the host has destroyed: nothing but the realm's end helps.
fn destroyed(probe: &mut Probe, realm: Realm, puppet: Puppet) {
    probe.about("an access to memory that the host has destroyed");
    let range = [realm.rd, MEMORY, MEMORY + PAGE, MapFlags::SINGLE.0, 0];
    let data = probe.call(Fid::RTT_DATA_UNMAP, &range).x(2);
    probe.provoke(puppet, "load", 0, &[puppet::LOAD, MEMORY, 8]);
    probe.map(realm, MEMORY, Range(data).base());
    probe.call(Fid::RTT_READ_ENTRY, &[realm.rd, MEMORY, 3]);
    probe.enter(puppet.rec, "mapped again", 0, 0);
}
