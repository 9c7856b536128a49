// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: what it has that 2.0 has not, or has in another form.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};

use super::v1_memory;
use crate::gic;
use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory;
use crate::params::{self, realm, rec, Change, Shape};
use crate::probe::Probe;
use crate::v1::{AUX, ENTER_HCR, ENTER_LRS, VMID};
use crate::world::{Realm, GIB};

/// Parameters of a realm that differ from good ones.
const PARAMS: &[Change] = &[
    ("s2sz=31", realm::S2SZ, 31),
    ("s2sz=53", realm::S2SZ, 53),
    ("s2sz=40", realm::S2SZ, 40),
    ("num_bps=0", realm::NUM_BPS, 0),
    ("num_bps=64", realm::NUM_BPS, 64),
    ("num_wps=0", realm::NUM_WPS, 0),
    ("num_wps=64", realm::NUM_WPS, 64),
    ("hash=2", realm::HASH, 2),
    ("hash=3", realm::HASH, 3),
    ("level=0", realm::RTT_LEVEL, 0),
    ("level=2", realm::RTT_LEVEL, 2),
    ("level=4", realm::RTT_LEVEL, 4),
    ("num=0", realm::RTT_NUM, 0),
    ("num=2", realm::RTT_NUM, 2),
    ("base=0", realm::RTT_BASE, 0),
    ("base=UART", realm::RTT_BASE, UART),
    ("base=BEYOND", realm::RTT_BASE, BEYOND),
    ("pmu without counters", realm::FLAGS0, 4),
];

/// The walk of RMI 1.0 alone.
pub(super) fn run(probe: &mut Probe) {
    whole(probe);
    granules(probe);
    realms(probe);
    v1_memory::run(probe);
    recs(probe);
    list_registers(probe);
}

fn whole(probe: &mut Probe) {
    probe.begin("The RMM as a whole, RMI 1.0");
    probe.each(
        Fid::VERSION,
        &[
            [0x1_0000],
            [0x1_0001],
            [0x2_0000],
            [0],
            [0x8001_0000],
            [1 << 32 | 0x1_0000],
        ],
    );
    probe.each(Fid::FEATURES, &[[1], [2], [u64::MAX], [1 << 32]]);
    probe.about("commands of RMI 2.0");
    for fid in Fid::ALL {
        if fid.raw() > Fid::RTT_SET_RIPAS.raw() {
            probe.call(*fid, &[]);
        }
    }
    probe.end();
}

fn granules(probe: &mut Probe) {
    probe.begin("Granules");
    let free = probe.page("free");
    for fid in [Fid::GRANULE_DELEGATE, Fid::GRANULE_UNDELEGATE] {
        probe.each(
            fid,
            &[[0], [free + 8], [UART], [RMM], [HOLE], [BEYOND], [u64::MAX]],
        );
    }
    probe.call(Fid::GRANULE_UNDELEGATE, &[free]);
    probe.call(Fid::GRANULE_DELEGATE, &[free]);
    probe.call(Fid::GRANULE_DELEGATE, &[free]);
    probe.call(Fid::GRANULE_UNDELEGATE, &[free]);
    probe.end();
}

fn realms(probe: &mut Probe) {
    probe.begin("Realms");
    let params = probe.page("params");
    let g = probe.granules("g", 4);
    let (rd, root, free) = (g, g + PAGE, probe.page("free"));
    let good = |vmid: u64| {
        params::write_realm(params, Shape::USUAL, root);
        memory::write(params + VMID, vmid);
    };
    good(210);
    probe.each(
        Fid::REALM_CREATE,
        &[
            [rd, 0],
            [rd, params + 8],
            [rd, g],
            [rd, UART],
            [rd, BEYOND],
            [0, params],
            [rd + 8, params],
            [free, params],
            [root, params],
            [UART, params],
            [BEYOND, params],
        ],
    );
    probe.each_change(Fid::REALM_CREATE, &[rd, params], params, PARAMS);
    probe.about("VMIDs");
    probe.call_noted(Fid::REALM_CREATE, &[rd, params], "vmid=210");
    params::write_realm(params, Shape::USUAL, g + 2 * PAGE);
    memory::write(params + VMID, 210);
    let other = [g + 3 * PAGE, params];
    probe.call_noted(Fid::REALM_CREATE, &other, "vmid=210");
    memory::write(params + VMID, 0);
    probe.call_noted(Fid::REALM_CREATE, &other, "vmid=0");
    probe.about("states");
    probe.each(
        Fid::REC_AUX_COUNT,
        &[[rd], [0], [g + 2 * PAGE], [free], [BEYOND]],
    );
    probe.each(Fid::REALM_ACTIVATE, &[[0], [free], [rd + 8], [rd], [rd]]);
    let rtt = probe.granule("rtt");
    probe.must(Fid::RTT_CREATE, &[rd, rtt, 0, 2]);
    probe.each(Fid::REALM_DESTROY, &[[0], [free], [rd + 8], [UART], [rd]]);
    probe.must(Fid::RTT_DESTROY, &[rd, 0, 2]);
    probe.each(Fid::REALM_DESTROY, &[[rd], [rd], [g + 3 * PAGE]]);
    probe.end();
}

fn recs(probe: &mut Probe) {
    probe.begin("RECs");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    let params = probe.page("rec_params");
    let (g, free) = (probe.granule("g"), probe.page("free"));
    let aux = probe.granules("aux", 16);
    let good = |index| {
        params::write_rec(params, index, true, 0);
        memory::write(params + AUX, 16);
        for n in 0..16 {
            memory::write(params + AUX + 8 * (n + 1), aux + n * PAGE);
        }
    };
    good(0);
    probe.each(
        Fid::REC_CREATE,
        &[
            [rd, g, 0],
            [rd, g, params + 8],
            [rd, g, g],
            [rd, g, UART],
            [0, g, params],
            [free, g, params],
            [rd + 8, g, params],
            [rd, free, params],
            [rd, rd, params],
            [rd, aux, params],
            [rd, UART, params],
            [rd, BEYOND, params],
        ],
    );
    let wrong: &[Change] = &[
        ("mpidr=1", rec::MPIDR, 1),
        ("mpidr=0x10", rec::MPIDR, 0x10),
        ("mpidr=1<<32", rec::MPIDR, 1 << 32),
        ("num_aux=0", AUX, 0),
        ("num_aux=15", AUX, 15),
        ("num_aux=17", AUX, 17),
        ("num_aux=1<<32", AUX, 1 << 32),
        ("aux0=free", AUX + 8, free),
        ("aux15=aux0", AUX + 128, aux),
        ("aux15=rec", AUX + 128, g),
        ("aux15=rd", AUX + 128, rd),
    ];
    probe.each_change(Fid::REC_CREATE, &[rd, g, params], params, wrong);
    probe.call(Fid::REC_CREATE, &[rd, g, params]);
    probe.each(Fid::GRANULE_UNDELEGATE, &[[g], [aux], [aux + 15 * PAGE]]);
    probe.each(
        Fid::REC_DESTROY,
        &[[0], [g + 8], [free], [aux], [rd], [g], [g]],
    );
    good(0);
    probe.call_noted(Fid::REC_CREATE, &[rd, g, params], "the same number again");
    good(1);
    probe.call(Fid::REC_CREATE, &[rd, g, params]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    probe.must(Fid::REC_DESTROY, &[g]);
    good(7);
    probe.call_noted(
        Fid::REC_CREATE,
        &[rd, g, params],
        "wrong number, active realm",
    );
    probe.tear_down(realm, &[], &[]);
    probe.end();
}

/// What an entry may say about interrupts.
fn list_registers(probe: &mut Probe) {
    probe.begin("List registers");
    let realm: Realm = probe.realm("rd", Shape::USUAL);
    probe.load_payload(realm);
    let rec = probe.rec("rec0", realm, 0, true);
    probe.call_noted(Fid::REC_ENTER, &[rec.rec, rec.run], "a new realm");
    probe.must(Fid::REALM_ACTIVATE, &[realm.rd]);
    let puppet = probe.puppet(rec);
    let lr = gic::pending(27);
    for (note, offset, value) in [
        ("hcr=1", ENTER_HCR, 1),
        ("hcr=1<<8", ENTER_HCR, 1 << 8),
        ("hcr=1<<10", ENTER_HCR, 1 << 10),
        ("hcr=1<<63", ENTER_HCR, 1 << 63),
        ("lr0 hw", ENTER_LRS, lr | gic::LR_HW),
        ("lr0 priority 1", ENTER_LRS, lr | 1 << 48),
        ("lr0 pintid", ENTER_LRS, lr | 1 << 32),
        ("lr0 vintid 1020", ENTER_LRS, gic::pending(1020)),
        ("lr0 vintid 8191", ENTER_LRS, gic::pending(8191)),
        ("lr0 vintid 1<<31", ENTER_LRS, gic::pending(1 << 31)),
    ] {
        memory::write(rec.run + offset, value);
        probe.call_noted(Fid::REC_ENTER, &[rec.rec, rec.run], note);
        memory::write(rec.run + offset, 0);
    }
    memory::write(rec.run + ENTER_LRS, lr);
    memory::write(rec.run + ENTER_LRS + 8, lr);
    probe.call_noted(Fid::REC_ENTER, &[rec.rec, rec.run], "twice the same");
    memory::write(rec.run + ENTER_LRS + 8, 0);
    memory::write(rec.run + ENTER_HCR, 0x4000);
    probe.provoke(
        puppet,
        "a good one",
        0,
        &[realm_payload::puppet::LOAD, puppet.page, 8],
    );
    let seen = memory::read(rec.run + ENTER_LRS + 0x800);
    probe.about(match seen & gic::LR_STATE {
        0 => "the realm has taken it",
        _ => "it is pending still",
    });
    probe.tear_down(realm, &[rec], &[GIB]);
    probe.end();
}
