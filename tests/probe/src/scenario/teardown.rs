// SPDX-License-Identifier: GPL-2.0

//! A realm with everything in it, taken apart in the wrong order and then in the right one.

use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE as PAGE};
use realm_payload::{BASE, PAGES};

use crate::descriptor::{MapFlags, Range};
use crate::memory::BLOCK_SIZE;
use crate::params::Shape;
use crate::probe::Probe;
use crate::world::GIB;

const NONE: u64 = MapFlags::NONE.0;

/// Walks the commands that end something, on what is in use.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("Teardown");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    let unprotected = realm.shape.unprotected();
    probe.load_payload(realm);
    probe.tables(realm, unprotected, 3);
    let lent = probe.page("lent");
    let flags = MapFlags::SINGLE.attribute(6).access(3).0;
    let range = Range::pages(lent, 1).undelegated().0;
    probe.must(
        Fid::RTT_UNPROT_MAP,
        &[rd, unprotected, unprotected + PAGE, flags, range],
    );
    let rec = probe.rec("rec0", realm, 0, true);
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    probe.puppet(rec);

    probe.about("alive");
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.call(Fid::RTT_DESTROY, &[rd, BASE, 3]);
    probe.call(Fid::RTT_DESTROY, &[rd, GIB, 2]);
    probe.call(Fid::RTT_FOLD, &[rd, BASE, 3]);
    probe.each(
        Fid::GRANULE_RANGE_UNDELEGATE,
        &[[rd, rd + PAGE], [rec.rec, rec.rec + PAGE]],
    );
    probe.call(Fid::REALM_TERMINATE, &[rd]);

    probe.about("dead");
    probe.call(Fid::REC_ENTER, &[rec.rec, rec.run]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.call(Fid::RTT_DESTROY, &[rd, BASE, 3]);
    probe.call(
        Fid::RTT_DATA_UNMAP,
        &[rd, BASE, BASE + PAGES * PAGE, NONE, 0],
    );
    probe.call(Fid::RTT_DESTROY, &[rd, BASE, 3]);
    // RIPAS destroyed is all that is left of it.
    probe.call(Fid::RTT_READ_ENTRY, &[rd, BASE, 3]);
    probe.call(Fid::RTT_FOLD, &[rd, GIB, 2]);
    probe.call(Fid::RTT_DESTROY, &[rd, GIB, 2]);
    // The table goes with what is mapped by it.
    probe.call(Fid::RTT_DESTROY, &[rd, unprotected, 2]);
    probe.call(Fid::RTT_DESTROY, &[rd, unprotected, 3]);
    probe.call(
        Fid::RTT_UNPROT_UNMAP,
        &[rd, unprotected, unprotected + BLOCK_SIZE, NONE, 0],
    );
    probe.call(Fid::RTT_DESTROY, &[rd, unprotected, 2]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.call(Fid::REC_ENTER, &[rec.rec, rec.run]);
    probe.complete(Fid::REC_DESTROY, &[rec.rec]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.end();
}
