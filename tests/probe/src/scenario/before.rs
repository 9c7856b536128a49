// SPDX-License-Identifier: GPL-2.0

//! The RMM as a whole, before and after its activation.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};

use crate::console::say;
use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory;
use crate::probe::Probe;

/// Functions that are no commands: of older versions, of later ones, and never assigned.
const NO_COMMANDS: [u32; 19] = [
    0xc400_0151,
    0xc400_0152,
    0xc400_0154,
    0xc400_0155,
    0xc400_0156,
    0xc400_015f,
    0xc400_0160,
    0xc400_0162,
    0xc400_0167,
    0xc400_016a,
    0xc400_016d,
    0xc400_0170,
    0xc400_018f,
    0xc400_01e3,
    0xc400_01f4,
    0xc400_020c,
    0xc400_020f,
    0xc400_0211,
    0xc400_02cf,
];

/// `RmiRmmConfig`, by offset.
const TRACKING_REGION_SIZE: u64 = 0x0;
const GRANULE_SIZE_CODE: u64 = 0x8;

/// Walks the commands that there are before the RMM is active.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("The RMM as a whole");
    versions(probe);
    probe.about("before the activation, nearly everything is refused");
    let early = [
        Fid::VERSION,
        Fid::FEATURES,
        Fid::RMM_CONFIG_SET,
        Fid::RMM_CONFIG_GET,
        Fid::GRANULE_TRACKING_GET,
        Fid::RMM_ACTIVATE,
    ];
    for fid in Fid::ALL {
        if !early.contains(fid) && !Fid::ONLY_1_0.contains(fid) {
            probe.call(*fid, &[]);
        }
    }
    tracking(probe);
    configuration(probe);
    probe.end();
}

fn versions(probe: &mut Probe) {
    probe.each(
        Fid::VERSION,
        &[
            [0x2_0000],
            [0x2_0001],
            [0x1_0000],
            [0x1_0001],
            [0x3_0000],
            [0],
            // Bit 31 has to be 0, and so has the upper half.
            [0x8002_0000],
            [0x1_0002_0000],
        ],
    );
    probe.each(
        Fid::FEATURES,
        &[[0], [1], [2], [3], [4], [5], [u64::MAX], [1 << 32]],
    );
    probe.about("functions that are no commands");
    for raw in NO_COMMANDS {
        probe.call(Fid::from_raw(raw), &[]);
    }
    probe.about("a hint that SVE is not in use is no part of the function");
    probe.call(Fid::from_raw(Fid::VERSION.raw() | 1 << 16), &[0x2_0000]);
}

fn tracking(probe: &mut Probe) {
    let page = probe.pages("ram", 16);
    probe.each(
        Fid::GRANULE_TRACKING_GET,
        &[
            [page, page + GRANULE_SIZE],
            [page, page + 16 * GRANULE_SIZE],
            // Not a range.
            [page, page],
            [page + GRANULE_SIZE, page],
            [page, page + 8],
            // Not aligned.
            [page + 8, page + GRANULE_SIZE + 8],
            [page + 8, page + 2 * GRANULE_SIZE],
            [page, page + GRANULE_SIZE + 8],
            // Other than free memory.
            [RMM, RMM + GRANULE_SIZE],
            [UART, UART + GRANULE_SIZE],
            [HOLE, HOLE + GRANULE_SIZE],
            [BEYOND, BEYOND + GRANULE_SIZE],
            [HOLE, BEYOND + GRANULE_SIZE],
            // Not a range, and beyond.
            [BEYOND + GRANULE_SIZE, BEYOND],
        ],
    );
}

fn configuration(probe: &mut Probe) {
    probe.about("configuration and activation");
    let config = probe.page("config");
    let pointers = [
        [0],
        [config + 8],
        [config + 0x800],
        [UART],
        [RMM],
        [HOLE],
        [BEYOND],
    ];
    probe.each(Fid::RMM_CONFIG_GET, &pointers);
    memory::fill(config, u64::MAX);
    probe.call(Fid::RMM_CONFIG_GET, &[config]);
    let region = memory::read(config + TRACKING_REGION_SIZE);
    let granule = memory::read(config + GRANULE_SIZE_CODE);
    let last = memory::read(config + GRANULE_SIZE - 8);
    say!("    region={region} granule={granule} last word={last:#x}");

    memory::fill(config, 0);
    probe.each(Fid::RMM_CONFIG_SET, &pointers);
    let changes = [
        ("granule=1", GRANULE_SIZE_CODE, 1),
        ("granule=2", GRANULE_SIZE_CODE, 2),
        ("granule=3", GRANULE_SIZE_CODE, 3),
        ("granule=1<<32", GRANULE_SIZE_CODE, 1 << 32),
        ("region=1", TRACKING_REGION_SIZE, 1),
        ("region=2", TRACKING_REGION_SIZE, 2),
        ("reserved=1", 0x10, 1),
    ];
    probe.each_change(Fid::RMM_CONFIG_SET, &[config], config, &changes);
    probe.each(Fid::RMM_CONFIG_SET, &[[config], [config]]);

    probe.call(Fid::RMM_ACTIVATE, &[]);
    probe.call(Fid::RMM_ACTIVATE, &[]);
    // Active, and not a page.
    probe.each(Fid::RMM_CONFIG_SET, &[[config], [config + 8]]);
    probe.each(Fid::RMM_CONFIG_GET, &[[config], [config + 8]]);
    probe.call(Fid::VERSION, &[0x2_0000]);
    probe.each(
        Fid::GPT_L1_CREATE,
        &[
            [0],
            [1 << 30],
            [config],
            [RMM],
            [HOLE],
            [HOLE + GRANULE_SIZE],
        ],
    );
}
