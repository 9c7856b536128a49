// SPDX-License-Identifier: GPL-2.0

//! Translation tables: created, destroyed, folded, and looked at.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};

use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory::{BLOCK_PAGES, BLOCK_SIZE};
use crate::params::Shape;
use crate::probe::Probe;
use crate::world::{Realm, GIB};

/// Where no table is but the root.
const EMPTY: u64 = 8 * GIB;

/// Levels as they stand in a register.
const MINUS_ONE: u64 = -1i64 as u64;

/// Walks the commands on translation tables.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("Translation tables");
    let realm = probe.realm("rd", Shape::USUAL);
    creation(probe, realm);
    entries(probe, realm);
    destruction(probe, realm);
    folding(probe, realm);
    blocks(probe, realm);
    probe.tear_down(realm, &[], &[]);
    concatenated(probe);
    probe.end();
}

fn creation(probe: &mut Probe, realm: Realm) {
    let rd = realm.rd;
    let end = 1 << realm.shape.s2sz;
    let g = probe.granules("g", 6);
    let [g0, g1, g2, g3] = [0, 1, 2, 3].map(|n| g + n * GRANULE_SIZE);
    let free = probe.page("free");
    probe.each(
        Fid::RTT_CREATE,
        &[
            // No realm.
            [0, g0, 0, 2],
            [rd + 8, g0, 0, 2],
            [g1, g0, 0, 2],
            [free, g0, 0, 2],
            [UART, g0, 0, 2],
            [BEYOND, g0, 0, 2],
            // No granule to make a table of.
            [rd, 0, 0, 2],
            [rd, g0 + 8, 0, 2],
            [rd, free, 0, 2],
            [rd, rd, 0, 2],
            [rd, UART, 0, 2],
            [rd, RMM, 0, 2],
            [rd, HOLE, 0, 2],
            [rd, BEYOND, 0, 2],
            // No level for a table.
            [rd, g0, 0, MINUS_ONE],
            [rd, g0, 0, 0],
            [rd, g0, 0, 1],
            [rd, g0, 0, 4],
            [rd, g0, 0, 1 << 32 | 2],
            // No IPA for a table.
            [rd, g0, 8, 2],
            [rd, g0, GRANULE_SIZE, 2],
            [rd, g0, BLOCK_SIZE, 2],
            [rd, g0, GRANULE_SIZE, 3],
            [rd, g0, end, 2],
            [rd, g0, end, 3],
            [rd, g0, 1 << 63, 2],
            // Both, and a table missing as well.
            [rd, free, 8, 3],
            [rd, g0, 8, 3],
            // The table above is missing.
            [rd, g0, 0, 3],
            [rd, g0, realm.shape.unprotected(), 3],
        ],
    );
    probe.about("tables that can be made");
    probe.each(
        Fid::RTT_CREATE,
        &[
            [rd, g0, 0, 2],
            [rd, g1, 0, 2],
            [rd, g0, GIB, 2],
            [rd, g1, 0, 3],
            [rd, g2, 0, 3],
            [rd, g2, BLOCK_SIZE, 3],
            [rd, g3, realm.shape.unprotected(), 2],
            [rd, g3 + GRANULE_SIZE, realm.shape.unprotected(), 3],
            [rd, g3 + 2 * GRANULE_SIZE, end - GIB, 2],
        ],
    );
}

fn entries(probe: &mut Probe, realm: Realm) {
    probe.about("entries");
    let rd = realm.rd;
    let end = 1 << realm.shape.s2sz;
    let unprotected = realm.shape.unprotected();
    let granule = probe.granule("granule");
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[
            [0, 0, 1],
            [granule, 0, 1],
            [rd + 8, 0, 1],
            [UART, 0, 1],
            [rd, 0, 0],
            [rd, 0, 4],
            [rd, 0, MINUS_ONE],
            [rd, 8, 3],
            [rd, GRANULE_SIZE, 2],
            [rd, BLOCK_SIZE, 1],
            [rd, end, 1],
            [rd, end, 3],
            // Tables, and what is not assigned.
            [rd, 0, 1],
            [rd, 0, 2],
            [rd, 0, 3],
            [rd, GRANULE_SIZE, 3],
            [rd, 2 * BLOCK_SIZE, 2],
            [rd, 2 * BLOCK_SIZE, 3],
            [rd, EMPTY, 1],
            [rd, EMPTY, 2],
            [rd, EMPTY + GRANULE_SIZE, 3],
            [rd, unprotected, 1],
            [rd, unprotected, 3],
            [rd, unprotected + GIB, 3],
            [rd, end - GRANULE_SIZE, 3],
        ],
    );
}

fn destruction(probe: &mut Probe, realm: Realm) {
    probe.about("tables destroyed");
    let rd = realm.rd;
    let end = 1 << realm.shape.s2sz;
    let unprotected = realm.shape.unprotected();
    let free = probe.page("page");
    probe.each(
        Fid::RTT_DESTROY,
        &[
            [0, 0, 2],
            [free, 0, 2],
            [rd + 8, 0, 2],
            [BEYOND, 0, 2],
            [rd, 0, MINUS_ONE],
            [rd, 0, 0],
            [rd, 0, 1],
            [rd, 0, 4],
            [rd, 8, 3],
            [rd, GRANULE_SIZE, 3],
            [rd, BLOCK_SIZE, 2],
            [rd, end, 2],
            [rd, end, 3],
            // No table there.
            [rd, EMPTY, 2],
            [rd, EMPTY, 3],
            [rd, EMPTY + BLOCK_SIZE, 3],
            [rd, 2 * BLOCK_SIZE, 3],
            [rd, unprotected + GIB, 3],
            [rd, unprotected + BLOCK_SIZE, 3],
            // Tables below.
            [rd, 0, 2],
            [rd, unprotected, 2],
            // Tables that can go.
            [rd, 0, 3],
            [rd, 0, 3],
            [rd, BLOCK_SIZE, 3],
            [rd, unprotected, 3],
            [rd, unprotected, 2],
            [rd, end - GIB, 2],
            [rd, 0, 2],
            [rd, 0, 2],
        ],
    );
    // What it leaves behind.
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, 0, 1], [rd, unprotected, 1]]);
}

fn folding(probe: &mut Probe, realm: Realm) {
    probe.about("tables folded");
    let rd = realm.rd;
    let end = 1 << realm.shape.s2sz;
    let area = EMPTY;
    probe.table(realm, area, 2);
    probe.table(realm, area, 3);
    let free = probe.page("other_page");
    probe.each(
        Fid::RTT_FOLD,
        &[
            [0, area, 3],
            [free, area, 3],
            [rd + 8, area, 3],
            [rd, area, 0],
            [rd, area, 1],
            [rd, area, 4],
            [rd, area + 8, 3],
            [rd, area + GRANULE_SIZE, 3],
            [rd, area + BLOCK_SIZE, 2],
            [rd, end, 3],
            // No table there.
            [rd, area + GIB, 2],
            [rd, area + GIB, 3],
            [rd, area + BLOCK_SIZE, 3],
            // A table below.
            [rd, area, 2],
            // Tables with entries that are all the same.
            [rd, area, 3],
            [rd, area, 3],
            [rd, area, 2],
        ],
    );
    probe.call(Fid::RTT_READ_ENTRY, &[rd, area, 1]);

    probe.about("mixed entries do not fold");
    probe.table(realm, area, 2);
    probe.table(realm, area, 3);
    probe.must(Fid::RTT_INIT_RIPAS, &[rd, area, area + GRANULE_SIZE]);
    probe.call(Fid::RTT_FOLD, &[rd, area, 3]);
    probe.must(Fid::RTT_INIT_RIPAS, &[rd, area, area + BLOCK_SIZE]);
    probe.call(Fid::RTT_FOLD, &[rd, area, 3]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, area, 3]);
    probe.call(Fid::RTT_FOLD, &[rd, area, 2]);
    probe.must(Fid::RTT_DESTROY, &[rd, area, 2]);

    probe.about("tables of the unprotected half");
    let unprotected = realm.shape.unprotected();
    probe.table(realm, unprotected, 2);
    probe.table(realm, unprotected, 3);
    probe.each(
        Fid::RTT_FOLD,
        &[
            [rd, unprotected, 3],
            [rd, unprotected, 2],
            [rd, unprotected, 2],
        ],
    );
}

/// Pages that are folded into a block, and a block that is unfolded.
fn blocks(probe: &mut Probe, realm: Realm) {
    probe.about("pages to a block and back");
    let rd = realm.rd;
    let block = probe.blocks("block", 1);
    probe.delegate(block, BLOCK_PAGES);
    let area = EMPTY + GIB;
    probe.table(realm, area, 2);
    probe.table(realm, area, 3);
    for n in 0..BLOCK_PAGES - 1 {
        let offset = n * GRANULE_SIZE;
        probe.map(realm, area + offset, block + offset);
    }
    probe.call(Fid::RTT_FOLD, &[rd, area, 3]);
    let last = (BLOCK_PAGES - 1) * GRANULE_SIZE;
    probe.map(realm, area + last, block + last);
    probe.call(Fid::RTT_DESTROY, &[rd, area, 3]);
    probe.call(Fid::RTT_FOLD, &[rd, area, 3]);
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, area, 2], [rd, area, 3]]);
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, area + GRANULE_SIZE, 3]]);
    probe.call(Fid::RTT_DESTROY, &[rd, area, 3]);
    probe.call(Fid::RTT_FOLD, &[rd, area, 2]);
    let g = probe.granule("unfold");
    probe.call(Fid::RTT_CREATE, &[rd, g, area, 3]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, area + last, 3]);
    probe.unmap_block(realm, area);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, area, 3]);
    probe.call(Fid::RTT_DESTROY, &[rd, area, 3]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, area, 2]);
    probe.call(Fid::RTT_DESTROY, &[rd, area, 2]);
}

/// A realm with two root tables.
fn concatenated(probe: &mut Probe) {
    probe.about("two root tables");
    let shape = Shape {
        s2sz: 40,
        level: 1,
        roots: 2,
        hash: 0,
    };
    let realm = probe.realm("rd2", shape);
    let rd = realm.rd;
    let second = 1 << 39;
    let g = probe.granule("g2");
    probe.call(Fid::RTT_READ_ENTRY, &[rd, 0, 1]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, second, 1]);
    probe.call(Fid::RTT_CREATE, &[rd, g, second, 2]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, second, 1]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, 2 * second - GRANULE_SIZE, 3]);
    probe.call(Fid::RTT_DESTROY, &[rd, second - GIB, 2]);
    probe.call(Fid::RTT_DESTROY, &[rd, second, 2]);
    probe.tear_down(realm, &[], &[]);
}
