// SPDX-License-Identifier: GPL-2.0

//! Stateful operations, step by step.

use kvm_arm_rmi::rmi::{Fid, ReturnCode, GRANULE_SIZE as PAGE};

use crate::console::say;
use crate::descriptor::{Range, UNTOUCHED};
use crate::layout::{BEYOND, RMM, UART};
use crate::memory;
use crate::operation::LIST_WORDS;
use crate::params::{self, Shape};
use crate::probe::Probe;
use crate::show::Code;
use crate::world::Realm;

/// A handle that no operation has.
const NO_HANDLE: u64 = 0xffff;

/// Walks the commands that go on with an operation.
pub(crate) fn run(probe: &mut Probe) {
    probe.begin("Stateful operations");
    let realm = probe.realm("rd", Shape::USUAL);
    let list = probe.page("list");
    nothing_begun(probe, list);
    let rec = creation(probe, realm, list);
    destruction(probe, rec, list);
    given_up(probe, realm, list);
    two_at_once(probe, realm);
    overtaken(probe, realm);
    probe.must(Fid::REALM_TERMINATE, &[realm.rd]);
    probe.must(Fid::REALM_DESTROY, &[realm.rd]);
    probe.end();
}

/// Writes range descriptors to a list.
fn write(list: u64, ranges: &[Range]) {
    for (n, range) in (0..).zip(ranges) {
        memory::write(list + n * 8, range.0);
    }
}

fn nothing_begun(probe: &mut Probe, list: u64) {
    for handle in [0, NO_HANDLE, u64::MAX] {
        probe.call(Fid::OP_CONTINUE, &[handle, 0]);
        probe.call(Fid::OP_MEM_DONATE, &[handle, list, 1]);
        probe.call(Fid::OP_MEM_RECLAIM, &[handle, list, 1]);
        probe.call(Fid::OP_CANCEL, &[handle]);
    }
}

/// Creates a REC, with everything that can be wrong on the way.
fn creation(probe: &mut Probe, realm: Realm, list: u64) -> u64 {
    probe.about("an operation that wants memory");
    let rd = realm.rd;
    let rec = probe.granule("rec");
    let params = probe.page("rec_params");
    let a = probe.granules("a", 20);
    let free = probe.page("free");
    params::write_rec(params, 0, true, 0);
    let op = probe.call(Fid::REC_CREATE, &[rd, rec, params]).x(1);

    // Not what it waits for.
    probe.call(Fid::OP_CONTINUE, &[op, 0]);
    probe.call(Fid::OP_MEM_RECLAIM, &[op, list, 1]);
    probe.call(Fid::OP_CANCEL, &[op]);
    probe.call(Fid::OP_CONTINUE, &[op, 1]);
    // What is half a REC is of no use.
    probe.call(Fid::REC_CREATE, &[rd, rec, params]);
    probe.call(Fid::REC_DESTROY, &[rec]);
    probe.call(Fid::REC_ENTER, &[rec, free]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[rec, rec + PAGE]);

    probe.about("lists that are no good");
    let one = |n| Range::pages(a + n * PAGE, 1);
    write(list, &[one(0)]);
    for list in [0, list + 4, a, UART, RMM, BEYOND] {
        probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
    }
    probe.call(Fid::OP_MEM_DONATE, &[NO_HANDLE, list, 1]);
    let bad = [
        Range::pages(a, 17),
        one(0).undelegated(),
        Range::blocks(a, 1),
        one(0).sized(2),
        one(0).sized(3),
    ];
    for range in bad {
        write(list, &[range]);
        probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
        say!("    {}", range.show(&probe.names));
    }

    probe.about("nothing, a part, and the rest");
    write(list, &[Range::pages(a, 0), Range::pages(a, 0)]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 0]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 2]);
    write(list, &[one(0), Range::pages(a + 2 * PAGE, 3)]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 2]);
    // a1 and the same again; a1 is taken, and stops it.
    write(list, &[one(1), one(1), one(5)]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 3]);
    // The list would leave its page: one entry is read.
    write(list + PAGE - 8, &[one(5)]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list + PAGE - 8, 4]);
    // More than it wants by now.
    write(list, &[Range::pages(a + 6 * PAGE, 11)]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
    write(list, &[Range::pages(a + 6 * PAGE, 10)]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[a, a + PAGE]);
    probe.call(Fid::REC_DESTROY, &[rec]);
    probe.call(Fid::OP_CANCEL, &[op]);
    probe.call(Fid::OP_CONTINUE, &[op, 0]);

    probe.about("it is over");
    probe.call(Fid::OP_CONTINUE, &[op, 0]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 0]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[a, a + PAGE]);
    rec
}

/// Destroys a REC, with everything that can be wrong on the way.
fn destruction(probe: &mut Probe, rec: u64, list: u64) {
    probe.about("an operation that gives memory back");
    let granule = probe.granule("granule");
    let op = probe.call(Fid::REC_DESTROY, &[rec]).x(1);
    probe.call(Fid::OP_CONTINUE, &[op, 0]);
    probe.call(Fid::OP_MEM_DONATE, &[op, list, 0]);
    probe.call(Fid::OP_CANCEL, &[op]);
    probe.call(Fid::REC_DESTROY, &[rec]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[rec, rec + PAGE]);
    for place in [list + 4, 1] {
        probe.call(Fid::OP_MEM_RECLAIM, &[op, place, LIST_WORDS]);
    }
    probe.call(Fid::OP_MEM_RECLAIM, &[NO_HANDLE, list, LIST_WORDS]);
    probe.call(Fid::OP_MEM_RECLAIM, &[op, list, 0]);
    memory::fill(list, UNTOUCHED);
    probe.call(Fid::OP_MEM_RECLAIM, &[op, list, 2]);
    say!("    {}", Range(memory::read(list)).show(&probe.names));
    say!("    {}", Range(memory::read(list + 8)).show(&probe.names));
    // No place for a list, and then one with room for a single entry.
    for place in [granule, UART, BEYOND] {
        probe.call(Fid::OP_MEM_RECLAIM, &[op, place, LIST_WORDS]);
    }
    probe.call(Fid::OP_MEM_RECLAIM, &[op, list + PAGE - 8, LIST_WORDS]);
    say!(
        "    {}",
        Range(memory::read(list + PAGE - 8)).show(&probe.names)
    );
    for _ in 0..16 {
        let regs = probe.call(Fid::OP_MEM_RECLAIM, &[op, list, LIST_WORDS]);
        for n in 0..regs.x(1) {
            say!(
                "    {}",
                Range(memory::read(list + n * 8)).show(&probe.names)
            );
        }
        if regs.x(0) >> 8 & 3 == 0 {
            break;
        }
    }
    probe.call(Fid::OP_MEM_RECLAIM, &[op, list, LIST_WORDS]);
    probe.call(Fid::OP_CONTINUE, &[op, 0]);
    probe.call(Fid::OP_CONTINUE, &[op, 0]);
    probe.call(Fid::REC_DESTROY, &[rec]);
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[rec, rec + PAGE]);
}

/// Memory that the RMM cannot take ends the operation.
fn given_up(probe: &mut Probe, realm: Realm, list: u64) {
    probe.about("memory that cannot be taken");
    let rec = probe.granule("rec2");
    let params = probe.page("params2");
    let b = probe.granules("b", 2);
    let free = probe.page("free2");
    params::write_rec(params, 1, true, 0);
    for given in [0, 2] {
        let op = probe.call(Fid::REC_CREATE, &[realm.rd, rec, params]).x(1);
        if given != 0 {
            write(list, &[Range::pages(b, given)]);
            probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
        }
        write(list, &[Range::pages(free, 1)]);
        probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
        probe.call(Fid::OP_MEM_DONATE, &[op, list, 1]);
        probe.call(Fid::OP_CONTINUE, &[op, 0]);
        let entries = probe
            .call(Fid::OP_MEM_RECLAIM, &[op, list, LIST_WORDS])
            .x(1);
        for n in 0..entries {
            say!(
                "    {}",
                Range(memory::read(list + n * 8)).show(&probe.names)
            );
        }
        probe.call(Fid::OP_CONTINUE, &[op, 0]);
    }
    probe.call(Fid::GRANULE_RANGE_UNDELEGATE, &[rec, rec + PAGE]);
}

/// Two operations at a time.
fn two_at_once(probe: &mut Probe, realm: Realm) {
    probe.about("two at once");
    let c = probe.granules("c", 2);
    let params = probe.page("params3");
    params::write_rec(params, 1, true, 0);
    let first = probe.call(Fid::REC_CREATE, &[realm.rd, c, params]);
    let second = probe.call(Fid::REC_CREATE, &[realm.rd, c + PAGE, params]);
    say!("    they have one handle: {}", first.x(1) == second.x(1));
    for regs in [second, first] {
        let code = ReturnCode::new(regs.x(0));
        let end = probe.proceed(regs.x(1), code, regs.x(2));
        // Both are the second REC: the first to be done is right.
        say!("    in the end {}", Code(end));
    }
    probe.call(Fid::REALM_DESTROY, &[realm.rd]);
    probe.complete(Fid::REC_DESTROY, &[c + PAGE]);
}

/// A realm that changes its state during an operation.
fn overtaken(probe: &mut Probe, realm: Realm) {
    probe.about("the realm is activated meanwhile");
    let rec = probe.granule("rec4");
    let params = probe.page("params4");
    params::write_rec(params, 2, true, 0);
    let regs = probe.call(Fid::REC_CREATE, &[realm.rd, rec, params]);
    probe.call(Fid::REALM_ACTIVATE, &[realm.rd]);
    let code = ReturnCode::new(regs.x(0));
    let end = probe.proceed(regs.x(1), code, regs.x(2));
    say!("    in the end {}", Code(end));
}
