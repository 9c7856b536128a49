// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: memory of a realm's and of the host's, and RIPAS.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};

use crate::layout::{BEYOND, HOLE, UART};
use crate::memory::BLOCK_SIZE;
use crate::params::Shape;
use crate::probe::Probe;
use crate::world::GIB;

/// First IPA of the unprotected half.
const SHARED: u64 = Shape::USUAL.unprotected();
/// First IPA after it.
const END: u64 = SHARED << 1;

/// MemAttr and S2AP of a descriptor: normal memory that can be read and written.
const WRITE_BACK: u64 = 6 << 2 | 3 << 6;

/// Walks the commands on memory.
pub(super) fn run(probe: &mut Probe) {
    data(probe);
    unprotected(probe);
    ripas(probe);
}

fn data(probe: &mut Probe) {
    probe.begin("Memory of a realm's");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    probe.tables(realm, 0, 3);
    let g = probe.granules("g", 4);
    let free = probe.page("free");
    let [g0, g1, g2, g3] = [0, 1, 2, 3].map(|n| g + n * PAGE);
    probe.must(Fid::RTT_INIT_RIPAS, &[rd, PAGE, 2 * PAGE]);
    probe.each(
        Fid::DATA_CREATE,
        &[
            [rd, g0, 0, free, 2],
            [rd, g0, 0, g1, 0],
            [rd, g0, 0, free + 8, 0],
            [rd, g0, 0, UART, 0],
            [rd, g0, 0, BEYOND, 0],
            [0, g0, 0, free, 0],
            [rd + 8, g0, 0, free, 0],
            [rd, free, 0, free, 0],
            [rd, rd, 0, free, 0],
            [rd, g0, 8, free, 0],
            [rd, g0, SHARED, free, 0],
            [rd, g0, END, free, 0],
            [rd, free, SHARED, free, 0],
            [rd, g0, BLOCK_SIZE, free, 0],
            [rd, g0, GIB, free, 0],
            [rd, g0, 0, free, 1],
            [rd, g1, 0, free, 1],
        ],
    );
    probe.each(
        Fid::DATA_CREATE_UNKNOWN,
        &[
            [0, g1, PAGE],
            [rd + 8, g1, PAGE],
            [rd, free, PAGE],
            [rd, UART, PAGE],
            [rd, g1, 8],
            [rd, g1, SHARED],
            [rd, g1, END],
            [rd, g1, BLOCK_SIZE],
            [rd, g1, 0],
            [rd, g1, PAGE],
            [rd, g2, 2 * PAGE],
        ],
    );
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    probe.call(Fid::DATA_CREATE, &[rd, g3, 6 * PAGE, free, 0]);
    probe.call(Fid::DATA_CREATE_UNKNOWN, &[rd, g3, 6 * PAGE]);
    let read = |page: u64| [rd, page * PAGE, 3];
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[read(0), read(1), read(2), read(3), read(6)],
    );
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.each(
        Fid::DATA_DESTROY,
        &[
            [0, 0],
            [free, 0],
            [rd, 8],
            [rd, SHARED],
            [rd, END],
            [rd, BLOCK_SIZE],
            [rd, GIB],
            [rd, 3 * PAGE],
            [rd, PAGE],
            [rd, PAGE],
            [rd, 0],
            [rd, 2 * PAGE],
        ],
    );
    probe.each(Fid::RTT_READ_ENTRY, &[read(0), read(1), read(2)]);
    // What is destroyed stays so, and nothing is told of its memory.
    probe.call(Fid::DATA_CREATE_UNKNOWN, &[rd, g1, PAGE]);
    probe.each(Fid::RTT_READ_ENTRY, &[read(1)]);
    probe.each(Fid::DATA_DESTROY, &[[rd, PAGE], [rd, 6 * PAGE]]);
    probe.tear_down(realm, &[], &[0]);
    probe.end();
}

fn unprotected(probe: &mut Probe) {
    probe.begin("Memory of the host's");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    probe.tables(realm, SHARED, 3);
    let page = HOLE | WRITE_BACK;
    probe.each(
        Fid::RTT_MAP_UNPROTECTED,
        &[
            [rd, SHARED, 0, page],
            [rd, SHARED, 4, page],
            [0, SHARED, 3, page],
            [rd + 8, SHARED, 3, page],
            [rd, 0, 3, page],
            [rd, SHARED + 8, 3, page],
            [rd, END, 3, page],
            [rd, SHARED + PAGE, 2, page],
            [rd, SHARED, 3, page | 1],
            [rd, SHARED, 3, page | 3 << 8],
            [rd, SHARED, 3, page | 1 << 10],
            [rd, SHARED, 3, page | 1 << 55],
            [rd, SHARED, 3, HOLE | 4 << 2],
            [rd, SHARED, 3, 1 << 48 | WRITE_BACK],
            [rd, SHARED + BLOCK_SIZE, 2, HOLE + PAGE | WRITE_BACK],
            [rd, SHARED + GIB, 3, page],
            [rd, SHARED, 3, page],
            [rd, SHARED, 3, page],
            [rd, SHARED + 4 * PAGE, 3, UART | 1 << 6],
            [rd, SHARED + 5 * PAGE, 3, UART],
            [rd, SHARED + BLOCK_SIZE, 2, page],
            [rd, SHARED, 2, page],
            [rd, SHARED + GIB, 1, page],
        ],
    );
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[
            [rd, SHARED, 3],
            [rd, SHARED + 4 * PAGE, 3],
            [rd, SHARED + BLOCK_SIZE, 3],
            [rd, SHARED + GIB, 1],
        ],
    );
    probe.each(
        Fid::RTT_UNMAP_UNPROTECTED,
        &[
            [rd, SHARED, 0],
            [rd, SHARED, 4],
            [0, SHARED, 3],
            [rd, 0, 3],
            [rd, SHARED + 8, 3],
            [rd, END, 3],
            [rd, SHARED + PAGE, 3],
            [rd, SHARED, 2],
            [rd, SHARED, 1],
            [rd, SHARED, 3],
            [rd, SHARED, 3],
            [rd, SHARED + 4 * PAGE, 3],
            [rd, SHARED + BLOCK_SIZE, 3],
            [rd, SHARED + BLOCK_SIZE, 2],
            [rd, SHARED + GIB, 3],
            [rd, SHARED + GIB, 1],
        ],
    );
    probe.tear_down(realm, &[], &[SHARED]);
    probe.end();
}

fn ripas(probe: &mut Probe) {
    probe.begin("RIPAS at first");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    probe.tables(realm, 0, 3);
    let g = probe.granule("g");
    probe.must(Fid::DATA_CREATE_UNKNOWN, &[rd, g, 5 * PAGE]);
    probe.each(
        Fid::RTT_INIT_RIPAS,
        &[
            [0, 0, PAGE],
            [rd + 8, 0, PAGE],
            [rd, PAGE, PAGE],
            [rd, 2 * PAGE, PAGE],
            [rd, 8, PAGE],
            [rd, 0, PAGE + 8],
            [rd, SHARED, SHARED + PAGE],
            [rd, SHARED - PAGE, SHARED + PAGE],
            [rd, BLOCK_SIZE + PAGE, 2 * BLOCK_SIZE],
            [rd, BLOCK_SIZE, BLOCK_SIZE + PAGE],
            [rd, GIB, GIB + BLOCK_SIZE],
            [rd, 0, 2 * PAGE],
            [rd, 0, 2 * PAGE],
            [rd, 4 * PAGE, 8 * PAGE],
            [rd, 5 * PAGE, 8 * PAGE],
            [rd, 6 * PAGE, GIB],
            [rd, BLOCK_SIZE, 3 * BLOCK_SIZE],
            [rd, GIB, SHARED],
        ],
    );
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    probe.call(Fid::RTT_INIT_RIPAS, &[rd, 0, PAGE]);
    probe.tear_down(realm, &[], &[0]);
    probe.end();
}
