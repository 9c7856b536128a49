// SPDX-License-Identifier: GPL-2.0

//! Memory of the unprotected half: the host's own, lent to the realm.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};

use crate::console::say;
use crate::descriptor::{MapFlags, Range};
use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory::{self, BLOCK_PAGES, BLOCK_SIZE};
use crate::params::Shape;
use crate::probe::Probe;
use crate::world::{Realm, GIB};

/// First IPA of the unprotected half.
const AREA: u64 = Shape::USUAL.unprotected();

const NONE: u64 = MapFlags::NONE.0;
const SINGLE: u64 = MapFlags::SINGLE.0;
/// One descriptor of ordinary memory (attribute 6) to read and write.
const USUAL: u64 = MapFlags::SINGLE.attribute(6).access(3).0;

/// A range of the host's pages.
const fn pages(base: u64, count: u64) -> u64 {
    Range::pages(base, count).undelegated().0
}

/// Walks the commands on unprotected memory.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("Unprotected memory");
    let realm = probe.realm("rd", Shape::USUAL);
    probe.tables(realm, AREA, 3);
    probe.table(realm, AREA + BLOCK_SIZE, 3);
    map(probe, realm);
    unmap(probe, realm);
    attributes(probe, realm);
    lists(probe, realm);
    blocks(probe, realm);
    states(probe, realm);
    probe.tear_down(realm, &[], &[AREA]);
    probe.end();
}

fn map(probe: &mut Probe, realm: Realm) {
    let rd = realm.rd;
    let end = 1 << realm.shape.s2sz;
    let n = probe.pages("n", 8);
    let granule = probe.granule("granule");
    probe.each(
        Fid::RTT_UNPROT_MAP,
        &[
            // No realm.
            [0, AREA, AREA + PAGE, USUAL, pages(n, 1)],
            [rd + 8, AREA, AREA + PAGE, USUAL, pages(n, 1)],
            [granule, AREA, AREA + PAGE, USUAL, pages(n, 1)],
            [n, AREA, AREA + PAGE, USUAL, pages(n, 1)],
            // No range of unprotected IPAs.
            [rd, AREA, AREA, USUAL, pages(n, 1)],
            [rd, AREA + PAGE, AREA, USUAL, pages(n, 1)],
            [rd, AREA + 8, AREA + PAGE, USUAL, pages(n, 1)],
            [rd, AREA, AREA + 8, USUAL, pages(n, 1)],
            [rd, 0, PAGE, USUAL, pages(n, 1)],
            [rd, AREA - PAGE, AREA + PAGE, USUAL, pages(n, 1)],
            [rd, end - PAGE, end + PAGE, USUAL, pages(n, 1)],
            [rd, end, end + PAGE, USUAL, pages(n, 1)],
            // No output addresses.
            [rd, AREA, AREA + PAGE, USUAL & !3, pages(n, 1)],
            [rd, AREA, AREA + PAGE, USUAL | 3, pages(n, 1)],
            [rd, AREA, AREA + PAGE, USUAL, pages(n, 0)],
            [rd, AREA, AREA + PAGE, USUAL, 0],
            // No tables.
            [rd, AREA + GIB, AREA + GIB + PAGE, USUAL, pages(n, 1)],
            [rd, AREA + 2 * BLOCK_SIZE, AREA + GIB, USUAL, pages(n, 1)],
            // Good, the same again, something else, and more than one.
            [rd, AREA, AREA + PAGE, USUAL, pages(n, 1)],
            [rd, AREA, AREA + PAGE, USUAL, pages(n, 1)],
            [rd, AREA, AREA + PAGE, USUAL, pages(n + PAGE, 1)],
            [
                rd,
                AREA,
                AREA + PAGE,
                MapFlags::SINGLE.attribute(6).access(2).0,
                pages(n, 1),
            ],
            [rd, AREA, AREA + 4 * PAGE, USUAL, pages(n, 4)],
            [
                rd,
                AREA + 4 * PAGE,
                AREA + 6 * PAGE,
                USUAL,
                pages(n + 4 * PAGE, 1),
            ],
            [
                rd,
                AREA + 5 * PAGE,
                AREA + 6 * PAGE,
                USUAL,
                pages(n + 5 * PAGE, 3),
            ],
            // Up to the end of the table.
            [
                rd,
                AREA + BLOCK_SIZE - PAGE,
                AREA + BLOCK_SIZE + PAGE,
                USUAL,
                pages(n + 6 * PAGE, 2),
            ],
            // The same page twice in a realm is the host's affair.
            [rd, AREA + 7 * PAGE, AREA + 8 * PAGE, USUAL, pages(n, 1)],
            // So is what is not memory, or not the host's.
            [rd, AREA + 8 * PAGE, AREA + 9 * PAGE, USUAL, pages(UART, 1)],
            [rd, AREA + 9 * PAGE, AREA + 10 * PAGE, USUAL, pages(HOLE, 1)],
            [rd, AREA + 10 * PAGE, AREA + 11 * PAGE, USUAL, pages(RMM, 1)],
            [
                rd,
                AREA + 11 * PAGE,
                AREA + 12 * PAGE,
                USUAL,
                pages(granule, 1),
            ],
            [
                rd,
                AREA + 12 * PAGE,
                AREA + 13 * PAGE,
                USUAL,
                pages(BEYOND >> 1, 1),
            ],
            // A descriptor that says delegated.
            [
                rd,
                AREA + 13 * PAGE,
                AREA + 14 * PAGE,
                USUAL,
                Range::pages(n, 1).0,
            ],
            [
                rd,
                AREA + 14 * PAGE,
                AREA + 15 * PAGE,
                USUAL,
                Range::pages(n, 1).0 | 1 << 62,
            ],
        ],
    );
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[
            [rd, AREA, 3],
            [rd, AREA + 6 * PAGE, 3],
            [rd, AREA + 8 * PAGE, 3],
        ],
    );
}

fn unmap(probe: &mut Probe, realm: Realm) {
    probe.about("unmapping it");
    let rd = realm.rd;
    let end = 1 << realm.shape.s2sz;
    let free = probe.page("free");
    let granule = probe.granule("other");
    probe.each(
        Fid::RTT_UNPROT_UNMAP,
        &[
            [0, AREA, AREA + PAGE, SINGLE, 0],
            [rd + 8, AREA, AREA + PAGE, SINGLE, 0],
            [granule, AREA, AREA + PAGE, SINGLE, 0],
            [rd, AREA, AREA, SINGLE, 0],
            [rd, AREA + PAGE, AREA, SINGLE, 0],
            [rd, AREA + 8, AREA + PAGE, SINGLE, 0],
            [rd, AREA, AREA + 8, SINGLE, 0],
            [rd, 0, PAGE, SINGLE, 0],
            [rd, AREA - PAGE, AREA + PAGE, SINGLE, 0],
            [rd, end - PAGE, end + PAGE, SINGLE, 0],
            [rd, AREA, AREA + PAGE, SINGLE, free],
            [rd, AREA, AREA + PAGE, MapFlags::RESERVED.0, 0],
            [rd, AREA, AREA + PAGE, MapFlags::list(0).0, free],
            [rd, AREA, AREA + PAGE, MapFlags::list(1).0, granule],
            // Nothing there.
            [rd, AREA + 16 * PAGE, AREA + 17 * PAGE, SINGLE, 0],
            [
                rd,
                AREA + 2 * BLOCK_SIZE,
                AREA + 2 * BLOCK_SIZE + PAGE,
                SINGLE,
                0,
            ],
            [
                rd,
                AREA + 2 * BLOCK_SIZE + PAGE,
                AREA + 3 * BLOCK_SIZE,
                SINGLE,
                0,
            ],
            [rd, AREA + GIB, AREA + 2 * GIB, SINGLE, 0],
            // By one descriptor up to where the neighbours end, twice.
            [rd, AREA, AREA + 16 * PAGE, SINGLE, 0],
            [rd, AREA + 6 * PAGE, AREA + 16 * PAGE, SINGLE, 0],
            // The rest without a word.
            [rd, AREA + 7 * PAGE, AREA + 16 * PAGE, NONE, 0],
            [rd, AREA, AREA + 2 * BLOCK_SIZE, NONE, 0],
        ],
    );
    probe.call(Fid::RTT_READ_ENTRY, &[rd, AREA, 3]);
}

/// Memory attributes and permissions.
fn attributes(probe: &mut Probe, realm: Realm) {
    probe.about("attributes and permissions");
    let rd = realm.rd;
    let n = probe.pages("a", 1);
    let call = |probe: &mut Probe, flags: MapFlags| {
        let args = [rd, AREA, AREA + PAGE, flags.0, pages(n, 1)];
        if probe.call(Fid::RTT_UNPROT_MAP, &args).x(0) == 0 {
            probe.call(Fid::RTT_READ_ENTRY, &[rd, AREA, 3]);
            probe.must(Fid::RTT_UNPROT_UNMAP, &[rd, AREA, AREA + PAGE, NONE, 0]);
        }
    };
    for attribute in 0..8 {
        call(probe, MapFlags::SINGLE.attribute(attribute).access(3));
    }
    for access in [0, 1, 2, 4, 7, 8, 15] {
        call(probe, MapFlags::SINGLE.attribute(6).access(access));
    }
    // A reserved bit.
    call(probe, MapFlags(USUAL | 1 << 23));
    call(probe, MapFlags(USUAL | 1 << 63));
}

fn lists(probe: &mut Probe, realm: Realm) {
    probe.about("lists");
    let rd = realm.rd;
    let n = probe.pages("l", 4);
    let granule = probe.granule("granule2");
    let list = probe.page("list");
    let flags = |count| MapFlags::list(count).attribute(6).access(3).0;
    for (index, page) in [3, 1, 0].into_iter().enumerate() {
        memory::write(list + index as u64 * 8, pages(n + page * PAGE, 1));
    }
    probe.each(
        Fid::RTT_UNPROT_MAP,
        &[
            [rd, AREA, AREA + 4 * PAGE, flags(0), list],
            [rd, AREA, AREA + 4 * PAGE, flags(1), list + 1],
            [rd, AREA, AREA + 4 * PAGE, flags(1), granule],
            [rd, AREA, AREA + 4 * PAGE, flags(1), UART],
            [rd, AREA, AREA + 4 * PAGE, flags(3), list],
        ],
    );
    let out = MapFlags::list(512).0;
    probe.call(
        Fid::RTT_UNPROT_UNMAP,
        &[rd, AREA, AREA + 4 * PAGE, out, list],
    );
    for index in 0..2 {
        let range = Range(memory::read(list + index * 8));
        say!("    {}", range.show(&probe.names));
    }
}

fn blocks(probe: &mut Probe, realm: Realm) {
    probe.about("blocks");
    let rd = realm.rd;
    let block = probe.blocks("block", 2);
    let at = AREA + 4 * BLOCK_SIZE;
    let two = Range::blocks(block, 2).undelegated().0;
    let gib = Range::pages(GIB, 1).sized(2).undelegated().0;
    probe.each(
        Fid::RTT_UNPROT_MAP,
        &[
            [rd, at + PAGE, at + BLOCK_SIZE + PAGE, USUAL, two],
            [rd, at, at + PAGE, USUAL, two],
            [rd, at, at + BLOCK_SIZE, USUAL, two + PAGE],
            [rd, AREA, AREA + BLOCK_SIZE, USUAL, two],
            [rd, at, at + 2 * BLOCK_SIZE, USUAL, two],
            [rd, at, at + PAGE, USUAL, pages(block, 1)],
            // Of 1 GiB, where a table is, and where none is.
            [rd, AREA, AREA + GIB, USUAL, gib],
            [rd, AREA + GIB, AREA + 2 * GIB, USUAL, gib],
            [rd, AREA + GIB, AREA + 2 * GIB, USUAL, gib],
        ],
    );
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[
            [rd, at, 2],
            [rd, at, 3],
            [rd, AREA + GIB, 1],
            [rd, AREA + GIB, 3],
        ],
    );
    let rtt = probe.granule("rtt2");
    probe.about("a block broken into pages, and made again");
    probe.call(Fid::RTT_CREATE, &[rd, rtt, at, 3]);
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, at, 2], [rd, at + PAGE, 3]]);
    probe.call(Fid::RTT_FOLD, &[rd, at, 3]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
    probe.call(Fid::RTT_CREATE, &[rd, rtt, at, 3]);
    probe.call(Fid::RTT_UNPROT_UNMAP, &[rd, at, at + PAGE, SINGLE, 0]);
    probe.call(Fid::RTT_FOLD, &[rd, at, 3]);
    // A table whose pages are mapped can go, and they with it.
    probe.call(Fid::RTT_DESTROY, &[rd, at, 3]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);

    probe.each(
        Fid::RTT_UNPROT_UNMAP,
        &[
            [rd, at + BLOCK_SIZE, at + BLOCK_SIZE + PAGE, SINGLE, 0],
            [rd, at + BLOCK_SIZE + PAGE, at + 2 * BLOCK_SIZE, SINGLE, 0],
            [rd, at, at + 2 * BLOCK_SIZE, SINGLE, 0],
            [rd, AREA + GIB, AREA + GIB + BLOCK_PAGES * PAGE, SINGLE, 0],
            [rd, AREA + GIB, AREA + 2 * GIB, SINGLE, 0],
        ],
    );
}

fn states(probe: &mut Probe, realm: Realm) {
    probe.about("of an active realm, and of a dead one");
    let rd = realm.rd;
    let n = probe.page("s");
    let map = [rd, AREA, AREA + PAGE, USUAL, pages(n, 1)];
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    probe.call(Fid::RTT_UNPROT_MAP, &map);
    probe.must(Fid::REALM_TERMINATE, &[rd]);
    probe.each(
        Fid::RTT_UNPROT_MAP,
        &[map, [rd, AREA, AREA, NONE, 0], [n, AREA, AREA, NONE, 0]],
    );
    probe.call(Fid::RTT_UNPROT_UNMAP, &[rd, AREA, AREA + PAGE, SINGLE, 0]);
}
