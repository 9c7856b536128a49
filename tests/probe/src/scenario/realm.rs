// SPDX-License-Identifier: GPL-2.0

//! Realms: created, activated, terminated, destroyed.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};

use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory;
use crate::params::{self, realm, Change, Shape};
use crate::probe::Probe;

/// Parameters that are wrong, each in one way.
const WRONG: &[Change] = &[
    ("s2sz=0", realm::S2SZ, 0),
    ("s2sz=31", realm::S2SZ, 31),
    ("s2sz=40", realm::S2SZ, 40),
    ("s2sz=44", realm::S2SZ, 44),
    ("s2sz=53", realm::S2SZ, 53),
    ("s2sz=255", realm::S2SZ, 255),
    ("level=-2", realm::RTT_LEVEL, -2i64 as u64),
    ("level=-1", realm::RTT_LEVEL, -1i64 as u64),
    ("level=0", realm::RTT_LEVEL, 0),
    ("level=2", realm::RTT_LEVEL, 2),
    ("level=3", realm::RTT_LEVEL, 3),
    ("level=4", realm::RTT_LEVEL, 4),
    ("roots=0", realm::RTT_NUM, 0),
    ("roots=2", realm::RTT_NUM, 2),
    ("bps=0", realm::NUM_BPS, 0),
    ("bps=6", realm::NUM_BPS, 6),
    ("bps=63", realm::NUM_BPS, 63),
    ("wps=0", realm::NUM_WPS, 0),
    ("wps=4", realm::NUM_WPS, 4),
    ("wps=63", realm::NUM_WPS, 63),
    ("hash=3", realm::HASH, 3),
    ("hash=255", realm::HASH, 255),
    ("planes=4", realm::PLANES, 4),
    ("ats_plane=1", realm::ATS_PLANE, 1),
    ("device assignment", realm::FLAGS0, 1 << 3),
    ("encryption policy 2", realm::FLAGS0, 2 << 7),
    ("encryption policy 3", realm::FLAGS0, 3 << 7),
    ("indirect permissions", realm::FLAGS1, 1 << 1),
    ("root=0", realm::RTT_BASE, 0),
    ("root=UART", realm::RTT_BASE, UART),
    ("root=RMM", realm::RTT_BASE, RMM),
    ("root=HOLE", realm::RTT_BASE, HOLE),
    ("root=BEYOND", realm::RTT_BASE, BEYOND),
];

/// Parameters that are odd, and good.
const ODD: &[Change] = &[
    ("s2sz=32", realm::S2SZ, 32),
    ("s2sz=38", realm::S2SZ, 38),
    ("bps=5", realm::NUM_BPS, 5),
    ("wps=3", realm::NUM_WPS, 3),
    ("hash=1", realm::HASH, 1),
    ("hash=2", realm::HASH, 2),
    ("sve_vl=9 without SVE", realm::SVE_VL, 9),
    ("counters=40 without PMU", realm::PMU_CTRS, 40),
    ("sve", realm::FLAGS0, 1 << 1),
    ("pmu, no counters", realm::FLAGS0, 1 << 2),
    ("lpa2", realm::FLAGS0, 1),
    ("reserved flag 9", realm::FLAGS0, 1 << 9),
    ("reserved flag 63", realm::FLAGS0, 1 << 63),
    ("reserved flag 63 of the others", realm::FLAGS1, 1 << 63),
    ("rpv", realm::RPV, u64::MAX),
    ("reserved field", 0x100, 1),
];

/// Shapes of translation tables, good and bad.
const SHAPES: &[(&str, u64, i64, u64)] = &[
    ("32 bits from level 2", 32, 2, 4),
    ("33 bits from level 2", 33, 2, 8),
    ("34 bits from level 2", 34, 2, 16),
    ("34 bits from level 1", 34, 1, 1),
    ("35 bits from level 1", 35, 1, 1),
    ("35 bits from level 2", 35, 2, 32),
    ("39 bits from level 1", 39, 1, 1),
    ("40 bits from level 1", 40, 1, 2),
    ("43 bits from level 1", 43, 1, 16),
    ("43 bits from level 0", 43, 0, 1),
    ("44 bits from level 0", 44, 0, 1),
    ("48 bits from level 0", 48, 0, 1),
    ("49 bits from level 0", 49, 0, 2),
];

/// Walks the commands on realms.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("Realms");
    creation(probe);
    shapes(probe);
    states(probe);
    probe.end();
}

fn creation(probe: &mut Probe) {
    let rd = probe.granule("rd");
    let root = probe.granule("root");
    let free = probe.page("free");
    let params = probe.page("params");
    params::write_realm(params, Shape::USUAL, root);

    let pointers = [
        [rd, 0],
        [rd, params + 8],
        [rd, UART],
        [rd, RMM],
        [rd, HOLE],
        [rd, BEYOND],
        [rd, root],
        [0, params],
        [rd + 8, params],
        [free, params],
        [UART, params],
        [RMM, params],
        [HOLE, params],
        [BEYOND, params],
        // The RD would be the root.
        [root, params],
    ];
    probe.each(Fid::REALM_CREATE, &pointers);

    probe.about("wrong parameters");
    for change in WRONG {
        create_changed(probe, rd, params, *change);
    }
    create_changed(probe, rd, params, ("root=free", realm::RTT_BASE, free));
    create_changed(
        probe,
        rd,
        params,
        ("root=root+8", realm::RTT_BASE, root + 8),
    );
    // SVE with a vector length that no CPU has; a PMU with a counter.
    memory::write(params + realm::SVE_VL, 16);
    memory::write(params + realm::PMU_CTRS, 1);
    create_changed(probe, rd, params, ("sve, sve_vl=16", realm::FLAGS0, 1 << 1));
    create_changed(
        probe,
        rd,
        params,
        ("pmu, counters=1", realm::FLAGS0, 1 << 2),
    );

    probe.about("odd parameters that are good");
    params::write_realm(params, Shape::USUAL, root);
    for change in ODD {
        create_changed(probe, rd, params, *change);
    }
}

/// Creates a realm, and if that works, destroys it again.
fn create(probe: &mut Probe, rd: u64, params: u64, note: &str) {
    if probe
        .call_noted(Fid::REALM_CREATE, &[rd, params], note)
        .x(0)
        == 0
    {
        probe.must(Fid::REALM_TERMINATE, &[rd]);
        probe.must(Fid::REALM_DESTROY, &[rd]);
    }
}

/// The same with one field changed.
fn create_changed(probe: &mut Probe, rd: u64, params: u64, (note, offset, value): Change) {
    let before = memory::read(params + offset);
    memory::write(params + offset, value);
    create(probe, rd, params, note);
    memory::write(params + offset, before);
}

/// Creates realms with tables of different shapes, and destroys them again.
fn shapes(probe: &mut Probe) {
    probe.about("shapes of translation tables");
    let rd = probe.granule("rd");
    let params = probe.page("params");
    let roots = probe.pool.take(32, 32 * GRANULE_SIZE);
    probe.names.add("roots", roots, 32, GRANULE_SIZE);
    probe.delegate(roots, 32);
    let create = |probe: &mut Probe, shape, root, note: &str| {
        params::write_realm(params, shape, root);
        create(probe, rd, params, note);
    };
    for (note, s2sz, level, number) in SHAPES {
        let shape = Shape {
            s2sz: *s2sz,
            level: *level,
            roots: *number,
            hash: 0,
        };
        create(probe, shape, roots, note);
    }

    let four = Shape {
        s2sz: 41,
        level: 1,
        roots: 4,
        hash: 0,
    };
    create(
        probe,
        four,
        roots + 2 * GRANULE_SIZE,
        "four roots, aligned to two",
    );
    create(
        probe,
        four,
        roots + GRANULE_SIZE,
        "four roots, aligned to one",
    );
    probe.undelegate(roots + 3 * GRANULE_SIZE);
    create(probe, four, roots, "four roots, the last undelegated");
    // What was taken for the attempt has to be free again.
    let page = [roots, roots + GRANULE_SIZE];
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &page);
    probe.call(Fid::GRANULE_RANGE_DELEGATE, &page);
}

/// The commands that change a realm's state, in each state.
fn states(probe: &mut Probe) {
    probe.about("states of a realm");
    let commands = [
        Fid::REALM_ACTIVATE,
        Fid::REALM_TERMINATE,
        Fid::REALM_DESTROY,
    ];
    let free = probe.page("page");
    let granule = probe.granule("granule");
    for fid in commands {
        let places = [
            [0],
            [free],
            [granule],
            [granule + 8],
            [UART],
            [RMM],
            [HOLE],
            [BEYOND],
        ];
        probe.each(fid, &places);
    }

    // New, active, active, dying, dying, dying.
    let rd = probe.realm("new", Shape::USUAL).rd;
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.call(Fid::REALM_ACTIVATE, &[rd]);
    probe.call(Fid::REALM_ACTIVATE, &[rd]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.call(Fid::REALM_TERMINATE, &[rd]);
    probe.call(Fid::REALM_TERMINATE, &[rd]);
    probe.call(Fid::REALM_ACTIVATE, &[rd]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    for fid in commands {
        probe.call(fid, &[rd]);
    }

    // New, dying, with a table left.
    let realm = probe.realm("other", Shape::USUAL);
    probe.tables(realm, 0, 2);
    probe.call(Fid::REALM_TERMINATE, &[realm.rd]);
    probe.call(Fid::REALM_ACTIVATE, &[realm.rd]);
    probe.call(Fid::REALM_DESTROY, &[realm.rd]);
    probe.call(Fid::RTT_DESTROY, &[realm.rd, 0, 2]);
    probe.call(Fid::REALM_DESTROY, &[realm.rd]);
}
