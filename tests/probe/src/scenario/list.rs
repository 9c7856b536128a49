// SPDX-License-Identifier: GPL-2.0

//! Memory of the protected half: mapped and unmapped by lists of pages, and by blocks.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};

use crate::console::say;
use crate::descriptor::{MapFlags, Range, UNTOUCHED};
use crate::layout::{HOLE, RMM, UART};
use crate::memory::{self, BLOCK_PAGES, BLOCK_SIZE};
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
    probe.begin("Protected memory by lists and blocks");
    let realm = probe.realm("rd", Shape::USUAL);
    probe.tables(realm, 0, 3);
    lists(probe, realm);
    blocks(probe, realm);
    probe.tear_down(realm, &[], &[0, GIB]);
    probe.end();
}

/// Prints the first descriptors of a list that the RMM has filled.
fn show_list(probe: &Probe, list: u64, count: u64) {
    for n in 0..count {
        let range = Range(memory::read(list + n * 8));
        say!("    {}", range.show(&probe.names));
    }
}

/// Output addresses in lists.
fn lists(probe: &mut Probe, realm: Realm) {
    let rd = realm.rd;
    let m = probe.granules("l", 8);
    let at = 16 * PAGE;
    let top = at + 8 * PAGE;
    let input = probe.page("input");
    let output = probe.page("output");
    let words = [
        pages(m + 3 * PAGE, 2),
        pages(m, 1),
        pages(m + PAGE, 0),
        pages(m + 6 * PAGE, 2),
        Range::pages(m + PAGE, 1).undelegated().0,
    ];
    for (n, word) in (0..).zip(words) {
        memory::write(input + n * 8, word);
        // The same again at the page's end.
        if n < 2 {
            memory::write(input + PAGE - 16 + n * 8, word);
        }
    }
    probe.each(
        Fid::RTT_DATA_MAP,
        &[
            [rd, at, top, list(0), input],
            [rd, at, top, list(1), input + 4],
            [rd, at, top, list(1), m],
            [rd, at, top, list(1), UART],
            [rd, at, top, list(1), RMM],
            [rd, at, top, list(1), HOLE],
            // The first entry is empty, or of another state.
            [rd, at, top, list(1), input + 16],
            [rd, at, top, list(1), input + 32],
            // The list's tail: m3, m4, m0, nothing, m6, m7, and one that is undelegated.
            [rd, at, top, list(5), input],
            // From another place, over what is there; a list that would leave its page.
            [rd, at + 2 * PAGE, top, list(2), input + 8],
            [rd, at, top, list(512), input + PAGE - 16],
        ],
    );
    probe.about("lists filled");
    memory::fill(output, UNTOUCHED);
    probe.call(
        Fid::RTT_DATA_UNMAP,
        &[rd, at, at + 2 * PAGE, list(8), output],
    );
    show_list(probe, output, 2);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, top, list(1), output]);
    show_list(probe, output, 1);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, top, list(512), output + 8]);
    show_list(probe, output, 3);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, top, list(512), output]);

    probe.about("one descriptor holds neighbours only, a list merges what it can");
    for (n, page) in [0, 1, 5, 3, 4].into_iter().enumerate() {
        probe.map(realm, at + n as u64 * PAGE, m + page * PAGE);
    }
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, top, SINGLE, 0]);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, top, list(1), output]);
    show_list(probe, output, 1);
    probe.call(
        Fid::RTT_DATA_UNMAP,
        &[rd, at, top, list(4), output + PAGE - 8],
    );
    say!(
        "    {}",
        Range(memory::read(output + PAGE - 8)).show(&probe.names)
    );
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, at, top, NONE, 0]);
}

/// Blocks of level 2.
fn blocks(probe: &mut Probe, realm: Realm) {
    probe.about("blocks");
    let rd = realm.rd;
    let block = probe.blocks("block", 2);
    let page = probe.page("other_page");
    probe.delegate(block, 2 * BLOCK_PAGES - 1);
    probe.table(realm, GIB, 2);
    let one = Range::blocks(block, 1).0;
    probe.must(Fid::RTT_INIT_RIPAS, &[rd, GIB, GIB + BLOCK_SIZE]);
    probe.each(
        Fid::RTT_DATA_MAP,
        &[
            // Not aligned to a block, or less than one.
            [rd, GIB + PAGE, GIB + BLOCK_SIZE + PAGE, SINGLE, one],
            [rd, GIB, GIB + PAGE, SINGLE, one],
            [
                rd,
                GIB,
                GIB + BLOCK_SIZE,
                SINGLE,
                Range::blocks(block + PAGE, 1).0,
            ],
            // A table is there, or none above.
            [rd, 0, BLOCK_SIZE, SINGLE, one],
            [rd, 2 * GIB, 2 * GIB + BLOCK_SIZE, SINGLE, one],
            // Pages where a block could be.
            [rd, GIB, GIB + PAGE, SINGLE, pages(block, 1)],
            // Blocks of level 1 and 0.
            [rd, GIB, 2 * GIB, SINGLE, Range::pages(GIB, 1).sized(2).0],
            [rd, 0, 512 * GIB, SINGLE, Range::pages(GIB, 1).sized(3).0],
            // Of two blocks, the last granule is missing.
            [
                rd,
                GIB,
                GIB + 2 * BLOCK_SIZE,
                SINGLE,
                Range::blocks(block, 2).0,
            ],
            [
                rd,
                GIB + BLOCK_SIZE,
                GIB + 2 * BLOCK_SIZE,
                SINGLE,
                one + BLOCK_SIZE,
            ],
        ],
    );
    // What was taken of the second block for the attempt has to be free again.
    let first = block + BLOCK_SIZE;
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[first, first + PAGE]);
    probe.each(
        Fid::RTT_READ_ENTRY,
        &[[rd, GIB, 2], [rd, GIB, 3], [rd, GIB + BLOCK_SIZE, 2]],
    );
    probe.each(
        Fid::RTT_DATA_UNMAP,
        &[
            [rd, GIB, GIB + PAGE, SINGLE, 0],
            [rd, GIB + PAGE, GIB + BLOCK_SIZE, SINGLE, 0],
            // Pages, none of them mapped.
            [rd, 0, BLOCK_SIZE, SINGLE, 0],
        ],
    );
    probe.about("a block broken into pages, and made again");
    let rtt = probe.granule("rtt2");
    probe.each(
        Fid::RTT_CREATE,
        &[[rd, page, GIB, 3], [rd, rtt, GIB, 3], [rd, rtt, GIB, 3]],
    );
    probe.each(Fid::RTT_READ_ENTRY, &[[rd, GIB, 3], [rd, GIB + PAGE, 3]]);
    probe.call(
        Fid::RTT_DATA_UNMAP,
        &[rd, GIB + PAGE, GIB + 2 * PAGE, SINGLE, 0],
    );
    probe.call(Fid::RTT_FOLD, &[rd, GIB, 3]);
    probe.map(realm, GIB + PAGE, block + PAGE);
    // RIPAS differs from the neighbours'.
    probe.call(Fid::RTT_READ_ENTRY, &[rd, GIB + PAGE, 3]);
    probe.call(Fid::RTT_FOLD, &[rd, GIB, 3]);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, GIB, GIB + BLOCK_SIZE, SINGLE, 0]);
    probe.call(Fid::RTT_DESTROY, &[rd, GIB, 3]);
    probe.call(Fid::RTT_DATA_MAP, &[rd, GIB, GIB + BLOCK_SIZE, SINGLE, one]);
    probe.call(Fid::RTT_READ_ENTRY, &[rd, GIB, 2]);
    probe.call(Fid::RTT_DATA_UNMAP, &[rd, GIB, 2 * GIB, SINGLE, 0]);
}
