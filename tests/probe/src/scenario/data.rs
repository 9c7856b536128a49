// SPDX-License-Identifier: GPL-2.0

//! Memory of the protected half: mapped and unmapped by the page.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};

use crate::descriptor::{MapFlags, Range};
use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory::BLOCK_SIZE;
use crate::params::Shape;
use crate::probe::Probe;
use crate::world::{Realm, GIB};

const NONE: u64 = MapFlags::NONE.0;
const SINGLE: u64 = MapFlags::SINGLE.0;

/// A list of `count` range descriptors.
const fn list(count: u64) -> u64 {
    MapFlags::list(count).0
}

/// A range of pages.
const fn pages(base: u64, count: u64) -> u64 {
    Range::pages(base, count).0
}

/// Walks the commands on protected memory.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("Protected memory");
    let realm = probe.realm("rd", Shape::USUAL);
    probe.tables(realm, 0, 3);
    probe.table(realm, BLOCK_SIZE, 3);
    initial(probe, realm);
    map(probe, realm);
    unmap(probe, realm);
    states(probe, realm);
    probe.tear_down(realm, &[], &[0]);
    probe.end();
}

/// Memory with contents from the host, before the realm is active.
fn initial(probe: &mut Probe, realm: Realm) {
    let rd = realm.rd;
    let d = probe.granules("d", 2);
    let free = probe.page("free");
    let src = probe.page("src");
    let end = 1 << realm.shape.s2sz;
    let unprotected = realm.shape.unprotected();
    probe.each(
        Fid::RTT_DATA_MAP_INIT,
        &[
            // No realm.
            [0, d, 0, src, 0],
            [rd + 8, d, 0, src, 0],
            [d, d + PAGE, 0, src, 0],
            [free, d, 0, src, 0],
            [UART, d, 0, src, 0],
            // No granule to put it in.
            [rd, 0, 0, src, 0],
            [rd, d + 8, 0, src, 0],
            [rd, free, 0, src, 0],
            [rd, rd, 0, src, 0],
            [rd, UART, 0, src, 0],
            [rd, RMM, 0, src, 0],
            [rd, HOLE, 0, src, 0],
            [rd, BEYOND, 0, src, 0],
            // No page to get it from.
            [rd, d, 0, 0, 0],
            [rd, d, 0, src + 8, 0],
            [rd, d, 0, d, 0],
            [rd, d, 0, d + PAGE, 0],
            [rd, d, 0, UART, 0],
            [rd, d, 0, RMM, 0],
            [rd, d, 0, HOLE, 0],
            [rd, d, 0, BEYOND, 0],
            // No IPA to have it at.
            [rd, d, 8, src, 0],
            [rd, d, unprotected, src, 0],
            [rd, d, end, src, 0],
            [rd, d, 1 << 63, src, 0],
            // Flags that there are not.
            [rd, d, 0, src, 2],
            [rd, d, 0, src, 3],
            [rd, d, 0, src, 1 << 63],
            // No table; no table, and no granule.
            [rd, d, GIB, src, 0],
            [rd, d, 2 * BLOCK_SIZE, src, 0],
            [rd, free, GIB, src, 0],
            // No table, and nothing to get it from.
            [rd, d, GIB, d, 0],
            // Good; taken; taken by something else; what is there already.
            [rd, d, 0, src, 1],
            [rd, d, PAGE, src, 1],
            [rd, d + PAGE, 0, src, 0],
            [rd, free, 0, src, 0],
            [rd, d + PAGE, PAGE, src, 0],
        ],
    );
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, 0, 3], [rd, PAGE, 3]]);
    // Leaves RIPAS destroyed there, over which it can be put again.
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, 0, 2 * PAGE, SINGLE, 0]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, 0, 3]);
    probe.call(Fid::RTT_DATA_MAP_INIT, &[rd, d, 0, src, 0]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, 0, 3]);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, 0, PAGE, NONE, 0]);
}

/// Memory without contents, by one descriptor.
fn map(probe: &mut Probe, realm: Realm) {
    probe.about("mapping by one descriptor");
    let rd = realm.rd;
    let m = probe.granules("m", 8);
    let free = probe.page("page");
    let end = 1 << realm.shape.s2sz;
    let unprotected = realm.shape.unprotected();
    // The level 3 table at 0 ends at BLOCK_SIZE.
    let at = BLOCK_SIZE - 4 * PAGE;
    probe.each(
        Fid::RTT_DATA_MAP,
        &[
            // No realm.
            [0, at, at + PAGE, SINGLE, pages(m, 1)],
            [rd + 8, at, at + PAGE, SINGLE, pages(m, 1)],
            [m, at, at + PAGE, SINGLE, pages(m, 1)],
            [free, at, at + PAGE, SINGLE, pages(m, 1)],
            // No range of protected IPAs.
            [rd, at, at, SINGLE, pages(m, 1)],
            [rd, at + PAGE, at, SINGLE, pages(m, 1)],
            [rd, at + 8, at + PAGE, SINGLE, pages(m, 1)],
            [rd, at, at + 8, SINGLE, pages(m, 1)],
            [rd, at, at + PAGE + 8, SINGLE, pages(m, 1)],
            [rd, unprotected, unprotected + PAGE, SINGLE, pages(m, 1)],
            [
                rd,
                unprotected - PAGE,
                unprotected + PAGE,
                SINGLE,
                pages(m, 1),
            ],
            [rd, end, end + PAGE, SINGLE, pages(m, 1)],
            [rd, at, end + PAGE, SINGLE, pages(m, 1)],
            // No output addresses.
            [rd, at, at + PAGE, NONE, pages(m, 1)],
            [rd, at, at + PAGE, MapFlags::RESERVED.0, pages(m, 1)],
            [rd, at, at + PAGE, SINGLE, pages(m, 0)],
            [rd, at, at + PAGE, SINGLE, 0],
            [rd, at, at + PAGE, SINGLE, pages(free, 1)],
            [rd, at, at + PAGE, SINGLE, pages(rd, 1)],
            [rd, at, at + PAGE, SINGLE, pages(UART, 1)],
            [rd, at, at + PAGE, SINGLE, pages(RMM, 1)],
            [rd, at, at + PAGE, SINGLE, pages(HOLE, 1)],
            // Descriptors of another state, another size.
            [
                rd,
                at,
                at + PAGE,
                SINGLE,
                Range::pages(m, 1).undelegated().0,
            ],
            [rd, at, at + PAGE, SINGLE, pages(m, 1) | 1 << 62],
            [rd, at, at + PAGE, SINGLE, Range::pages(m, 1).sized(1).0],
            [rd, at, at + PAGE, SINGLE, Range::pages(m, 1).sized(2).0],
            [rd, at, at + PAGE, SINGLE, Range::pages(m, 1).sized(3).0],
            // No tables.
            [rd, GIB, GIB + PAGE, SINGLE, pages(m, 1)],
            [
                rd,
                2 * BLOCK_SIZE,
                2 * BLOCK_SIZE + PAGE,
                SINGLE,
                pages(m, 1),
            ],
            [rd, GIB, GIB + PAGE, SINGLE, pages(free, 1)],
            // Flags with a list's count.
            [rd, at, at + PAGE, SINGLE | 5 << 2, pages(m, 1)],
            // The same again, and something else there.
            [rd, at, at + PAGE, SINGLE, pages(m, 1)],
            [rd, at, at + PAGE, SINGLE, pages(m + PAGE, 1)],
            [rd, at + PAGE, at + 2 * PAGE, SINGLE, pages(m, 1)],
            // More IPAs than memory, more memory than IPAs, both past what is there already.
            [rd, at + PAGE, at + 4 * PAGE, SINGLE, pages(m + PAGE, 1)],
            [
                rd,
                at + 2 * PAGE,
                at + 3 * PAGE,
                SINGLE,
                pages(m + 2 * PAGE, 5),
            ],
            [rd, at, at + 4 * PAGE, SINGLE, pages(m, 2)],
            // Up to the end of the table.
            [
                rd,
                at + 3 * PAGE,
                at + 6 * PAGE,
                SINGLE,
                pages(m + 3 * PAGE, 3),
            ],
            // From the next table's start, up to a granule that is not there.
            [
                rd,
                at + 4 * PAGE,
                at + 8 * PAGE,
                SINGLE,
                pages(m + 4 * PAGE, 4),
            ],
        ],
    );
    // m7 is mapped already, and what follows it is not delegated.
    probe.call(
        Fid::RTT_DATA_MAP,
        &[
            rd,
            at + 8 * PAGE,
            at + 10 * PAGE,
            SINGLE,
            pages(free - PAGE, 2),
        ],
    );
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[[rd, at, 3], [rd, at + 4 * PAGE, 3], [rd, at + 8 * PAGE, 3]],
    );

    probe.about("unmapping it");
    probe.each(
        Fid::RTT_DATA_UNMAP,
        &[
            [0, at, at + PAGE, SINGLE, 0],
            [rd + 8, at, at + PAGE, SINGLE, 0],
            [m, at, at + PAGE, SINGLE, 0],
            [rd, at, at, SINGLE, 0],
            [rd, at + PAGE, at, SINGLE, 0],
            [rd, at + 8, at + PAGE, SINGLE, 0],
            [rd, at, at + 8, SINGLE, 0],
            [rd, unprotected, unprotected + PAGE, SINGLE, 0],
            [rd, unprotected - PAGE, unprotected + PAGE, SINGLE, 0],
            [rd, end, end + PAGE, SINGLE, 0],
            // A place for addresses where there should be none, or none where there should be one.
            [rd, at, at + PAGE, SINGLE, free],
            [rd, at, at + PAGE, NONE, free],
            [rd, at, at + PAGE, SINGLE | 1 << 2, 0],
            [rd, at, at + PAGE, MapFlags::RESERVED.0, 0],
            [rd, at, at + PAGE, list(0), free],
            [rd, at, at + PAGE, list(1), 0],
            [rd, at, at + PAGE, list(1), free + 4],
            [rd, at, at + PAGE, list(1), m],
            [rd, at, at + PAGE, list(1), UART],
            // Nothing there: no entry, no table, less than an entry.
            [rd, 0, PAGE, SINGLE, 0],
            [rd, 2 * BLOCK_SIZE, 2 * BLOCK_SIZE + PAGE, SINGLE, 0],
            [rd, 2 * BLOCK_SIZE + PAGE, 3 * BLOCK_SIZE, SINGLE, 0],
            [rd, 2 * BLOCK_SIZE, 3 * BLOCK_SIZE, SINGLE, 0],
            [rd, GIB, GIB + PAGE, SINGLE, 0],
            [rd, GIB, 2 * GIB, SINGLE, 0],
            // One page, the rest of the table, nothing, the next table.
            [rd, at, at + PAGE, SINGLE, 0],
            [rd, at, at + 8 * PAGE, SINGLE, 0],
            [rd, at, at + 8 * PAGE, SINGLE, 0],
            [rd, at + 4 * PAGE, at + 12 * PAGE, SINGLE, 0],
        ],
    );
}

/// What unmapping leaves behind.
fn unmap(probe: &mut Probe, realm: Realm) {
    probe.about("what unmapping leaves behind");
    let rd = realm.rd;
    let m = probe.granules("u", 2);
    let at = 32 * PAGE;
    probe.must(Fid::RTT_INIT_RIPAS, &[rd, at, at + PAGE]);
    probe.map(realm, at, m);
    probe.map(realm, at + PAGE, m + PAGE);
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, at, 3], [rd, at + PAGE, 3]]);
    probe.each(
        Fid::GRANULE_RANGE_UNDELEGATE,
        &[[m, m + PAGE], [m, m + 2 * PAGE]],
    );
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, at + 2 * PAGE, SINGLE, 0]);
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, at, 3], [rd, at + PAGE, 3]]);
    probe.each(Fid::GRANULE_RANGE_UNDELEGATE, &[[m, m + PAGE]]);
    // Mapped over RIPAS destroyed, and gone again.
    probe.map(realm, at, m + PAGE);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, at + PAGE, SINGLE, 0]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, at, 3]);
}

/// The commands in each state of the realm.
fn states(probe: &mut Probe, realm: Realm) {
    probe.about("memory of an active realm, and of a dead one");
    let rd = realm.rd;
    let m = probe.granules("s", 2);
    let src = probe.page("source");
    let at = 48 * PAGE;
    let map = [rd, at, at + PAGE, SINGLE, pages(m, 1)];
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    probe.call(Fid::RTT_DATA_MAP, &map);
    probe.each(
        Fid::RTT_DATA_MAP_INIT,
        &[
            [rd, m + PAGE, at + PAGE, src, 0],
            // Active, and wrong otherwise.
            [rd, m + PAGE, at + PAGE, src, 2],
            [rd, m + PAGE, at + PAGE, m, 0],
            [rd, src, 8, src, 0],
        ],
    );
    probe.each(
        Fid::RTT_INIT_RIPAS,
        &[[rd, at, at + PAGE], [rd, at, at], [rd, 1, at]],
    );
    probe.must(Fid::REALM_TERMINATE, &[rd]);
    probe.each(
        Fid::RTT_DATA_MAP,
        &[map, [rd, at, at, NONE, 0], [src, at, at, NONE, 0]],
    );
    probe.each(Fid::RTT_DATA_MAP_INIT, &[[rd, m, at, src, 0]]);
    probe.call(Fid::RTT_INIT_RIPAS, &[rd, at, at + PAGE]);
    let rtt = probe.granule("late");
    probe.call(Fid::RTT_CREATE, &[rd, rtt, 2 * BLOCK_SIZE, 3]);
    probe.call(Fid::RTT_DESTROY, &[rd, 2 * BLOCK_SIZE, 3]);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, at + PAGE, SINGLE, 0]);
}
