// SPDX-License-Identifier: GPL-2.0

//! RECs: created and destroyed.

use kvm_arm_rmi::rmi::{Fid, ReturnCode, Status};

use crate::console::say;
use crate::layout::{BEYOND, HOLE, RMM, UART};
use crate::memory;
use crate::params::{self, rec, Change, Shape};
use crate::probe::Probe;
use crate::show::Code;

/// Parameters for the first REC that are wrong.
const WRONG: &[Change] = &[
    ("mpidr=1", rec::MPIDR, 1),
    ("mpidr=0x10", rec::MPIDR, 0x10),
    ("mpidr=0x100", rec::MPIDR, 0x100),
    ("mpidr=1<<31", rec::MPIDR, 1 << 31),
    ("mpidr=1<<32", rec::MPIDR, 1 << 32),
    ("mpidr=1<<40", rec::MPIDR, 1 << 40),
];

/// Parameters for a REC that are odd, and good.
const ODD: &[Change] = &[
    ("not runnable", rec::FLAGS, 0),
    ("flags=3", rec::FLAGS, 3),
    ("flags=1<<63", rec::FLAGS, 1 << 63),
    ("pc=1", rec::PC, 1),
    ("pc=-1", rec::PC, u64::MAX),
    ("reserved field", 0x800, 1),
];

/// Walks the commands on RECs.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("RECs");
    let realm = probe.realm("rd", Shape::USUAL);
    let rd = realm.rd;
    let g = probe.granule("g");
    let free = probe.page("free");
    let params = probe.page("rec_params");
    params::write_rec(params, 0, true, 0);
    probe.about("what is found before memory is asked for");
    probe.each(
        Fid::REC_CREATE,
        &[
            [rd, 0, params],
            [rd, g + 8, params],
            [rd, free, params],
            [rd, rd, params],
            [rd, params, params],
            [rd, UART, params],
            [rd, RMM, params],
            [rd, HOLE, params],
            [rd, BEYOND, params],
        ],
    );
    probe.about("what is found after that");
    let late = [
        [0, g, params],
        [rd + 8, g, params],
        [g, g, params],
        [free, g, params],
        [UART, g, params],
        [rd, g, 0],
        [rd, g, params + 8],
        [rd, g, g],
        [rd, g, rd],
        [rd, g, UART],
        [rd, g, BEYOND],
        [free, g, 0],
    ];
    for args in late {
        create(probe, &args, "");
    }
    for change in WRONG {
        create_changed(probe, &[rd, g, params], params, *change);
    }

    probe.about("odd parameters that are good");
    for (index, change) in (0..).zip(ODD) {
        params::write_rec(params, index, true, 0);
        let rec = probe.granule("odd");
        create_changed(probe, &[rd, rec, params], params, *change);
        // The number of a REC that is gone is not given again.
        destroy(probe, rec);
        create(probe, &[rd, rec, params], "the same number again");
    }
    let more = ODD.len() as u64;

    probe.about("RECs destroyed");
    probe.each(
        Fid::REC_DESTROY,
        &[
            [0],
            [g],
            [g + 8],
            [free],
            [rd],
            [UART],
            [RMM],
            [HOLE],
            [BEYOND],
        ],
    );

    probe.about("in an active realm, and in a dead one");
    params::write_rec(params, more, true, 0);
    let last = probe.granule("last");
    create(probe, &[rd, last, params], "");
    probe.must(Fid::REALM_ACTIVATE, &[rd]);
    params::write_rec(params, more + 1, true, 0);
    create(probe, &[rd, g, params], "");
    params::write_rec(params, 0, true, 0);
    create(probe, &[rd, g, params], "wrong number");
    probe.must(Fid::REALM_TERMINATE, &[rd]);
    create(probe, &[rd, g, params], "");
    probe.call(Fid::REALM_DESTROY, &[rd]);
    destroy(probe, last);
    probe.call(Fid::REC_DESTROY, &[last]);
    probe.call(Fid::REALM_DESTROY, &[rd]);
    probe.end();
}

/// Creates a REC and prints how that ends.
fn create(probe: &mut Probe, args: &[u64], note: &str) {
    let regs = probe.call_noted(Fid::REC_CREATE, args, note);
    end(probe, ReturnCode::new(regs.x(0)), regs.x(1), regs.x(2));
}

fn create_changed(probe: &mut Probe, args: &[u64], page: u64, change: Change) {
    let (note, offset, value) = change;
    let before = memory::read(page + offset);
    memory::write(page + offset, value);
    create(probe, args, note);
    memory::write(page + offset, before);
}

fn destroy(probe: &mut Probe, rec: u64) {
    let regs = probe.call(Fid::REC_DESTROY, &[rec]);
    end(probe, ReturnCode::new(regs.x(0)), regs.x(1), regs.x(2));
}

/// Sees an operation through, if there is one, and prints how it ends.
fn end(probe: &mut Probe, code: ReturnCode, handle: u64, wants: u64) {
    if code.status() == Status::Incomplete {
        let code = probe.proceed(handle, code, wants);
        say!("    in the end {}", Code(code));
    }
}
