// SPDX-License-Identifier: GPL-2.0

//! Granules: delegated and undelegated.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};

use crate::arch;
use crate::console::say;
use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory;
use crate::params::Shape;
use crate::probe::Probe;

/// Walks the commands on granules.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("Granules");
    let g = probe.pages("g", 4);
    let page = GRANULE_SIZE;
    for fid in [Fid::GRANULE_RANGE_DELEGATE, Fid::GRANULE_RANGE_UNDELEGATE] {
        probe.each(
            fid,
            &[
                // Not a range, or not aligned.
                [g, g],
                [g + page, g],
                [g, g + 8],
                [g + 8, g + page],
                [g + 8, g + page + 8],
                [g, g + page + 8],
                [g + page - 1, g + 2 * page],
                [u64::MAX - page + 1, 0],
                // Nothing that can be delegated.
                [0, page],
                [UART, UART + page],
                [RMM, RMM + page],
                [HOLE, HOLE + page],
                [BEYOND, BEYOND + page],
                // Not aligned, and not there.
                [BEYOND + 8, BEYOND + page],
            ],
        );
    }

    probe.about("one granule, there and back");
    memory::fill(g, 0x5ec2_e700);
    let there = [g, g + page];
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &there);
    probe.call(Fid::GRANULE_RANGE_DELEGATE, &there);
    say!("    the host can load from it: {}", arch::can_load(g));
    probe.call(Fid::GRANULE_RANGE_DELEGATE, &there);
    probe.call(Fid::GRANULE_TRACKING_GET, &there);
    probe.call(Fid::RMM_CONFIG_GET, &[g]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &there);
    let loads = arch::can_load(g);
    say!(
        "    the host can load from it: {loads}, {:#x}",
        memory::read(g)
    );
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &there);

    probe.about("ranges are taken up to the first granule that cannot be");
    let all = [g, g + 4 * page];
    probe.delegate(g + 2 * page, 1);
    probe.call(Fid::GRANULE_RANGE_DELEGATE, &all);
    probe.call(Fid::GRANULE_RANGE_DELEGATE, &[g + page, g + 4 * page]);
    probe.call(Fid::GRANULE_RANGE_DELEGATE, &[g + 2 * page, g + 4 * page]);
    probe.call(Fid::GRANULE_RANGE_DELEGATE, &[g + 3 * page, g + 4 * page]);
    // To where nothing is, from where something is.
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[g, BEYOND]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[g + page, g + 4 * page]);

    probe.about("granules that are in use stay");
    let realm = probe.realm("rd", Shape::USUAL);
    let rtt = probe.granule("rtt");
    probe.must(Fid::RTT_CREATE, &[realm.rd, rtt, 0, 2]);
    for granule in [realm.rd, rtt] {
        let range = [granule, granule + page];
        probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &range);
        probe.call(Fid::GRANULE_RANGE_DELEGATE, &range);
    }
    probe.tear_down(realm, &[], &[0]);
    probe.end();
}
