// SPDX-License-Identifier: GPL-2.0

//! Realms with a REC on each CPU, one after the other: the payload's workers go through their
//! programme, and the realm turns itself off.

use core::sync::atomic::{AtomicU64, Ordering};

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};
use realm_payload::{role, work, RECS};

use crate::console::say;
use crate::params::{self, Shape};
use crate::probe::Probe;
use crate::smp;
use crate::tally::TALLY;
use crate::vmm::{self, MACHINE};
use crate::world::{Realm, Rec, GIB};

/// Realms.
const ROUNDS: u64 = 100;

/// Names of a worker's steps, by bit.
const STEPS: [&str; 8] = [
    "computation",
    "RSI_VERSION, RSI_FEATURES, RSI_REALM_CONFIG",
    "measurement extended",
    "host call answered",
    "page given up and taken back",
    "emulated registers",
    "timer interrupt",
    "turned on, or turned the others on",
];

/// Goes through all rounds.
pub(crate) fn run(probe: &mut Probe) {
    for round in 0..ROUNDS {
        probe.begin_quietly();
        one(probe, round);
        probe.end();
    }
    let moved = TALLY.moved.load(Ordering::Relaxed);
    probe.pool.given += moved;
    probe.pool.returned += moved;
    report();
}

/// One realm, from its creation to its end.
fn one(probe: &mut Probe, round: u64) {
    let realm = probe.realm("rd", Shape::USUAL);
    probe.load_payload(realm);
    let spares = spare_pages(probe, realm);
    let recs: [Rec; RECS] = core::array::from_fn(|index| worker(probe, realm, index as u64));
    probe.must(Fid::REALM_ACTIVATE, &[realm.rd]);

    MACHINE.round.store(round, Ordering::Relaxed);
    MACHINE.load(probe.v1, realm, &recs, spares);
    vmm::run(0);
    (1..RECS).for_each(smp::wait);
    probe.tear_down(realm, &recs, &[GIB]);
}

/// Gives each REC a page to spare, and returns the first of the granules.
fn spare_pages(probe: &mut Probe, realm: Realm) -> u64 {
    let count = RECS as u64;
    let granules = probe.granules("spare", count);
    probe.table(realm, work::SPARE, 3);
    let top = work::SPARE + count * GRANULE_SIZE;
    probe.must(Fid::RTT_INIT_RIPAS, &[realm.rd, work::SPARE, top]);
    for n in 0..count {
        let offset = n * GRANULE_SIZE;
        probe.map(realm, work::SPARE + offset, granules + offset);
    }
    granules
}

/// Creates a REC for a worker. The first one runs; it turns on the others.
fn worker(probe: &mut Probe, realm: Realm, index: u64) -> Rec {
    let page = probe.page("params");
    let rec = probe.granule("rec");
    let run = probe.page("run");
    params::write_rec(page, index, index == 0, role::WORKER | index);
    probe.create_rec(realm, rec, page);
    Rec { rec, run }
}

/// Prints how often everything has worked.
fn report() {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let all = ROUNDS * RECS as u64;
    say!("");
    say!("# Rounds");
    say!("realms: {ROUNDS}, RECs and CPUs in each: {RECS}");
    for (name, worked) in STEPS.iter().zip(&TALLY.worked) {
        say!("{name}: {} of {all}", get(worked));
    }
    let host = [
        ("host calls", &TALLY.calls),
        ("RIPAS changes", &TALLY.ripas),
        ("pages mapped on demand", &TALLY.faults),
        ("accesses emulated", &TALLY.emulated),
        ("timer interrupts injected", &TALLY.interrupts),
        ("RECs turned on by PSCI", &TALLY.turned_on),
        ("realms turned off by PSCI", &TALLY.turned_off),
    ];
    for (name, counter) in host {
        say!("{name}: {}", get(counter));
    }
}
