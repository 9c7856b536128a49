// SPDX-License-Identifier: GPL-2.0

//! A REC that runs on another CPU meanwhile.

use core::hint::spin_loop;

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};
use realm_payload::{fid, puppet, BASE};

use crate::descriptor::{MapFlags, Range};
use crate::memory;
use crate::params::Shape;
use crate::probe::Probe;
use crate::smp::{self, Job};
use crate::vmm::MACHINE;
use crate::world::{GIB, SPARE};

/// The page that the realm and the host share.
const SHARED: u64 = Shape::USUAL.unprotected();

/// Walks the commands on a REC that runs.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("A REC that runs");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    probe.load_payload(realm);
    probe.tables(realm, SHARED, 3);
    let shared = probe.page("shared");
    let range = Range::pages(shared, 1).undelegated().0;
    let flags = MapFlags::SINGLE.attribute(6).access(3).0;
    probe.must(
        Fid::RTT_UNPROT_MAP,
        &[rd, SHARED, SHARED + PAGE, flags, range],
    );
    let first = probe.rec("rec0", realm, 0, true);
    let second = probe.rec("rec1", realm, 1, true);
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    let caller = probe.puppet(first);
    let runner = probe.puppet(second);
    let free = probe.page("free");

    // The second CPU enters the second REC, which tells that it runs.
    MACHINE.load(probe.v1, realm, &[first, second], shared);
    probe.order(runner, &[puppet::WAIT, SHARED]);
    smp::give(1, Job::Enter);
    while memory::read(shared) == 0 {
        spin_loop();
    }

    let rec = second.rec;
    probe.each(Fid::REC_ENTER, &[[rec, free], [rec, rec], [rec, 0]]);
    probe.call(Fid::REC_DESTROY, &[rec]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[rec, rec + PAGE]);
    probe.call(Fid::RTT_SET_RIPAS, &[rd, rec, SPARE, SPARE + PAGE]);
    probe.call(Fid::PSCI_COMPLETE, &[rec, first.rec, 0]);
    probe.call(Fid::REALM_TERMINATE, &[rd]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.about("another one asks for it to be turned on");
    let on = [puppet::SMC, fid::CPU_ON, 1, BASE, 1];
    for (note, answer) in [("granted", 0), ("denied", -3i64 as u64)] {
        probe.provoke(caller, "CPU_ON", 0, &on);
        probe.call(Fid::PSCI_COMPLETE, &[first.rec, rec, answer]);
        probe.enter(first, note, 0, 0);
    }
    let info = [puppet::SMC, fid::AFFINITY_INFO, 1, 0];
    probe.provoke(caller, "AFFINITY_INFO", 0, &info);
    probe.call(Fid::PSCI_COMPLETE, &[first.rec, rec, 0]);
    probe.enter(first, "on", 0, 0);

    probe.about("the realm turns itself off, and it runs on");
    probe.provoke(caller, "SYSTEM_OFF", 0, &[puppet::SMC, fid::SYSTEM_OFF]);
    probe.call(Fid::REC_ENTER, &[first.rec, first.run]);
    probe.call(Fid::REALM_TERMINATE, &[rd]);
    memory::write(shared, 2);
    smp::wait(1);
    probe.call(Fid::REC_ENTER, &[rec, second.run]);
    probe.tear_down(realm, &[first, second], &[GIB, SHARED]);
    probe.end();
}
