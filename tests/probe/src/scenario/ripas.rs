// SPDX-License-Identifier: GPL-2.0

//! The RIPAS: set by the host before the realm is active, and by the realm through the host after
//! that.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};
use realm_payload::{fid, puppet};

use crate::descriptor::MapFlags;
use crate::layout::{BEYOND, HOLE, UART};
use crate::memory::BLOCK_SIZE;
use crate::params::{run, Shape};
use crate::probe::Probe;
use crate::puppet::Puppet;
use crate::world::{GIB, SPARE};

const EMPTY: u64 = 0;
const RAM: u64 = 1;
const NO_CHANGE_DESTROYED: u64 = 0;
const CHANGE_DESTROYED: u64 = 1;

/// Walks the RIPAS commands.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("RIPAS");
    initial(probe);
    changes(probe);
    probe.end();
}

fn initial(probe: &mut Probe) {
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    let end = 1 << realm.shape.s2sz;
    let unprotected = realm.shape.unprotected();
    let free = probe.page("free");
    probe.tables(realm, 0, 3);
    probe.each(
        Fid::RTT_INIT_RIPAS,
        &[
            [0, 0, PAGE],
            [free, 0, PAGE],
            [rd + 8, 0, PAGE],
            [UART, 0, PAGE],
            [BEYOND, 0, PAGE],
            [rd, 0, 0],
            [rd, PAGE, 0],
            [rd, 8, PAGE],
            [rd, 0, 8],
            [rd, 0, PAGE + 8],
            [rd, unprotected, unprotected + PAGE],
            [rd, 0, unprotected + PAGE],
            [rd, 0, end],
            [rd, end, end + PAGE],
            [rd, 0, 1 << 63],
            // Nothing is right.
            [free, 8, 0],
            // Good, the same again, and more of it.
            [rd, 0, PAGE],
            [rd, 0, PAGE],
            [rd, 0, 4 * PAGE],
            [rd, 2 * PAGE, 6 * PAGE],
            // Up to the end of a table.
            [rd, 0, 2 * BLOCK_SIZE],
            // Less than an entry, not from its start, one and a half, to the end of the table.
            [rd, BLOCK_SIZE, BLOCK_SIZE + PAGE],
            [rd, BLOCK_SIZE + PAGE, 2 * BLOCK_SIZE],
            [rd, BLOCK_SIZE, 2 * BLOCK_SIZE + PAGE],
            [rd, 2 * BLOCK_SIZE, unprotected],
            [rd, GIB, GIB + PAGE],
            [rd, GIB, unprotected],
        ],
    );
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[[rd, 0, 3], [rd, BLOCK_SIZE, 3], [rd, GIB, 3]],
    );
    probe.about("where memory is, was, and where a table was destroyed");
    probe.call(Fid::RTT_DESTROY, &[rd, 0, 3]);
    probe.call(Fid::RTT_INIT_RIPAS, &[rd, 0, BLOCK_SIZE]);
    let data = probe.granule("data");
    probe.table(realm, 2 * BLOCK_SIZE, 3);
    let at = 2 * BLOCK_SIZE;
    probe.map(realm, at, data);
    probe.call(Fid::RTT_INIT_RIPAS, &[rd, at, at + 2 * PAGE]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
    probe.must(
        Fid::RTT_DATA_UNMAP,
        &[rd, at, at + PAGE, MapFlags::NONE.0, 0],
    );
    probe.call(Fid::RTT_INIT_RIPAS, &[rd, at, at + 2 * PAGE]);
    probe.call(Fid::RTT_INIT_RIPAS, &[rd, at + PAGE, at + 2 * PAGE]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
    probe.tear_down(realm, &[], &[0]);
}

/// Has the realm ask for a RIPAS change, which exits.
fn ask(probe: &mut Probe, puppet: Puppet, note: &str, base: u64, size: u64, ripas: u64, flag: u64) {
    let call = [
        puppet::SMC,
        fid::IPA_STATE_SET,
        base,
        base + size,
        ripas,
        flag,
    ];
    probe.provoke(puppet, note, 0, &call);
}

fn changes(probe: &mut Probe) {
    probe.about("changes that the realm asks for");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    probe.load_payload(realm);
    let rec = probe.rec("rec0", realm, 0, true);
    let idle = probe.rec("rec1", realm, 1, false);
    let other = probe.realm("other", Shape::USUAL);
    let free = probe.page("page");
    let data = probe.granules("given", 2);
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    let at = SPARE;

    let good = [rd, rec.rec, at, at + PAGE];
    probe.call(Fid::RTT_SET_RIPAS, &good);
    let puppet = probe.puppet(rec);
    probe.call(Fid::RTT_SET_RIPAS, &good);
    ask(
        probe,
        puppet,
        "IPA_STATE_SET 4 pages RAM",
        at,
        4 * PAGE,
        RAM,
        NO_CHANGE_DESTROYED,
    );
    let r = rec.rec;
    probe.each(
        Fid::RTT_SET_RIPAS,
        &[
            [0, r, at, at + PAGE],
            [rd + 8, r, at, at + PAGE],
            [free, r, at, at + PAGE],
            [HOLE, r, at, at + PAGE],
            [rd, 0, at, at + PAGE],
            [rd, r + 8, at, at + PAGE],
            [rd, free, at, at + PAGE],
            [rd, rd, at, at + PAGE],
            [r, rd, at, at + PAGE],
            [rd, HOLE, at, at + PAGE],
            // A REC of another realm; one that does not ask for anything.
            [other.rd, r, at, at + PAGE],
            [rd, idle.rec, at, at + PAGE],
            [rd, idle.rec, 0, PAGE],
            // Another range.
            [rd, r, at, at],
            [rd, r, at + PAGE, at],
            [rd, r, at + 8, at + PAGE],
            [rd, r, at, at + 8],
            [rd, r, at, at + PAGE + 8],
            [rd, r, at - PAGE, at + PAGE],
            [rd, r, at + PAGE, at + 2 * PAGE],
            [rd, r, at, at + 5 * PAGE],
            // Wrong twice.
            [other.rd, r, at + PAGE, at + 2 * PAGE],
            [other.rd, r, at, at],
            // A part, the same again, another one.
            [rd, r, at, at + PAGE],
            [rd, r, at, at + PAGE],
            [rd, r, at + PAGE, at + 3 * PAGE],
        ],
    );
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, at, 3], [rd, at + 3 * PAGE, 3]]);
    probe.enter(rec, "done in part", 0, 0);
    // Over, as far as the host goes.
    probe.call(Fid::RTT_SET_RIPAS, &[rd, r, at + 3 * PAGE, at + 4 * PAGE]);

    ask(
        probe,
        puppet,
        "IPA_STATE_SET 1 page RAM",
        at,
        PAGE,
        RAM,
        NO_CHANGE_DESTROYED,
    );
    probe.enter(rec, "rejected", run::REJECT_RIPAS, 0);
    ask(
        probe,
        puppet,
        "IPA_STATE_SET 1 page EMPTY",
        at,
        PAGE,
        EMPTY,
        NO_CHANGE_DESTROYED,
    );
    probe.enter(rec, "rejected, which EMPTY cannot be", run::REJECT_RIPAS, 0);

    probe.about("memory given up, destroyed, and wanted back");
    probe.map(realm, at, data);
    ask(
        probe,
        puppet,
        "IPA_STATE_SET 1 page EMPTY",
        at,
        PAGE,
        EMPTY,
        NO_CHANGE_DESTROYED,
    );
    probe.call(Fid::RTT_SET_RIPAS, &good);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
    probe.enter(rec, "done", 0, 0);
    ask(
        probe,
        puppet,
        "IPA_STATE_SET 1 page RAM",
        at,
        PAGE,
        RAM,
        NO_CHANGE_DESTROYED,
    );
    probe.call(Fid::RTT_SET_RIPAS, &good);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
    probe.must(
        Fid::RTT_DATA_UNMAP,
        &[rd, at, at + PAGE, MapFlags::NONE.0, 0],
    );
    probe.enter(rec, "done, and destroyed", 0, 0);
    let from_destroyed = [
        ("RAM, not from DESTROYED", NO_CHANGE_DESTROYED),
        ("RAM, from DESTROYED", CHANGE_DESTROYED),
    ];
    for (note, flag) in from_destroyed {
        ask(probe, puppet, note, at, PAGE, RAM, flag);
        probe.call(Fid::RTT_SET_RIPAS, &good);
        probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
        probe.enter(rec, "done", 0, 0);
    }

    probe.about("a range that has no tables");
    let far = 4 * GIB;
    ask(
        probe,
        puppet,
        "IPA_STATE_SET 1 GiB and a page",
        far,
        GIB + PAGE,
        RAM,
        NO_CHANGE_DESTROYED,
    );
    probe.each(
        Fid::RTT_SET_RIPAS,
        &[
            [rd, r, far, far + PAGE],
            [rd, r, far, far + GIB + PAGE],
            [rd, r, far + GIB, far + GIB + PAGE],
        ],
    );
    probe.enter(rec, "done in part", 0, 0);
    probe.tear_down(other, &[], &[]);
    probe.tear_down(realm, &[rec, idle], &[GIB]);
}
