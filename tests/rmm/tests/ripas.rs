// SPDX-License-Identifier: GPL-2.0

//! RTT_INIT_RIPAS and RTT_SET_RIPAS.

mod common;

use std::time::Duration;

use common::realm::{
    ASSIGNED, BLOCK, DESTROYED, EMPTY, FREE, IPA_BITS, PAGE, RAM, RD, ROOT, SHARED, UNASSIGNED,
};
use common::{pa, Machine};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Status};
use rmm::granule::Rec as RecGranule;
use rmm::platform::GRANULE_WORDS;
use rmm::rec::Rec;
use rmm::Platform;

const L1: u64 = 1 << 30;
const L2: u64 = 1 << 21;
const L3: u64 = 1 << 12;

fn init(machine: &Machine, base: u64, top: u64, status: Status) {
    machine.expect(Fid::RTT_INIT_RIPAS, [RD, base, top], status, []);
}

#[test]
fn init_makes_ram_up_to_the_end_of_the_table() {
    let machine = Machine::with_tables();
    machine.init_ram(L3, 2 * L3);
    for (ipa, ripas) in [(0, EMPTY), (L3, RAM), (2 * L3, RAM), (3 * L3, EMPTY)] {
        machine.expect_entry(ipa, 3, [3, UNASSIGNED, 0, ripas]);
    }
    // Again, and beyond the table: the rest is for the next call.
    let top = 4 * L2;
    machine.expect(Fid::RTT_INIT_RIPAS, [RD, 0, top], Status::Success, [L2]);
    machine.expect(Fid::RTT_INIT_RIPAS, [RD, L2, top], Status::Success, [top]);
    machine.expect_entry(3 * L2, 2, [2, UNASSIGNED, 0, RAM]);
    machine.expect_entry(4 * L2, 2, [2, UNASSIGNED, 0, EMPTY]);
    // Blocks of the root table, up to the end of the protected half.
    let half = SHARED;
    machine.expect(Fid::RTT_INIT_RIPAS, [RD, L1, half], Status::Success, [half]);
    machine.destroy_realm();
}

#[test]
fn init_wants_whole_entries() {
    let machine = Machine::with_tables();
    // The base is inside the entry of level 2, or the top is.
    machine.expect_rtt(Fid::RTT_INIT_RIPAS, [RD, L2 + L3, 2 * L2], 2, []);
    machine.expect_rtt(Fid::RTT_INIT_RIPAS, [RD, L2, L2 + L3], 2, []);
    machine.expect_rtt(Fid::RTT_INIT_RIPAS, [RD, L1 + L2, 2 * L1], 1, []);
    let top = 2 * L2 + L3;
    machine.expect(
        Fid::RTT_INIT_RIPAS,
        [RD, L2, top],
        Status::Success,
        [2 * L2],
    );
    // A destroyed entry, first and later.
    machine.create_table(pa(40), 3 * L2, 3);
    let next = L1;
    machine.expect(
        Fid::RTT_DESTROY,
        [RD, 3 * L2, 3],
        Status::Success,
        [pa(40), next],
    );
    machine.expect_rtt(Fid::RTT_INIT_RIPAS, [RD, 3 * L2, L1], 2, []);
    machine.expect(Fid::RTT_INIT_RIPAS, [RD, L2, L1], Status::Success, [3 * L2]);
    // A table, later.
    machine.create_table(pa(41), 6 * L2, 3);
    machine.expect(
        Fid::RTT_INIT_RIPAS,
        [RD, 4 * L2, L1],
        Status::Success,
        [6 * L2],
    );
    machine.destroy_realm();
}

#[test]
fn init_is_for_protected_granules_of_new_realms() {
    let machine = Machine::with_tables();
    for (base, top) in [
        (L3, L3),
        (2 * L3, L3),
        (0, 0),
        (8, L3),
        (0, L3 + 8),
        (SHARED - L3, SHARED + L3),
        (SHARED, SHARED + L3),
        (0, 1 << IPA_BITS),
        (0, !0xfff),
        (1 << 48, (1 << 48) + L3),
    ] {
        init(&machine, base, top, Status::ErrorInput);
    }
    machine.expect(Fid::RTT_INIT_RIPAS, [ROOT, 0, L3], Status::ErrorInput, []);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    init(&machine, 0, L3, Status::ErrorRealm);
    // The range is judged first.
    init(&machine, 0, L3 + 8, Status::ErrorInput);
    machine.destroy_realm();
}

#[test]
fn init_keeps_memory() {
    let machine = Machine::with_tables();
    machine.delegate(BLOCK, 512);
    machine.map(0, BLOCK, 2, 3);
    machine.init_ram(0, L3);
    machine.expect_entry(0, 3, [3, ASSIGNED, BLOCK, RAM]);
    machine.expect_entry(L3, 3, [3, ASSIGNED, BLOCK + L3, EMPTY]);
    machine.destroy_realm();
}

/// A machine with a realm that has a REC, which wants the RIPAS of some IPAs changed.
struct Asked {
    machine: Machine,
    rec: u64,
}

impl Asked {
    fn new(base: u64, top: u64, ripas: u64, destroyed: u64) -> Self {
        let machine = Machine::with_tables();
        let rec = machine.create_rec();
        let asked = Self { machine, rec };
        asked.with_rec(|rec| {
            rec.ripas.base = base;
            rec.ripas.top = top;
            rec.ripas.next = base;
            rec.ripas.value = ripas;
            rec.ripas.destroyed = destroyed;
        });
        asked
    }

    fn with_rec<R>(&self, f: impl FnOnce(&mut Rec) -> R) -> R {
        let rmm = &self.machine.rmm;
        let mut granule = rmm
            .granules()
            .lock::<RecGranule>(PhysAddr::new(self.rec))
            .unwrap();
        rmm.platform().with(&mut granule, |data| f(Rec::view(data)))
    }

    #[track_caller]
    fn set(&self, base: u64, top: u64, done: u64) {
        let args = [RD, self.rec, base, top];
        self.machine
            .expect(Fid::RTT_SET_RIPAS, args, Status::Success, [done]);
        assert_eq!(self.with_rec(|rec| rec.ripas.next), done);
    }

    #[track_caller]
    fn refused(&self, base: u64, top: u64, level: u64) {
        let args = [RD, self.rec, base, top];
        self.machine.expect_rtt(Fid::RTT_SET_RIPAS, args, level, []);
    }
}

#[test]
fn set_makes_what_the_realm_wants_step_by_step() {
    let asked = Asked::new(0, L2 + L2, RAM, 0);
    asked.set(0, L3, L3);
    asked.set(L3, 2 * L2, L2);
    asked.set(L2, 2 * L2, 2 * L2);
    let machine = &asked.machine;
    machine.expect_entry(L2 - L3, 3, [3, UNASSIGNED, 0, RAM]);
    machine.expect_entry(L2, 2, [2, UNASSIGNED, 0, RAM]);
}

#[test]
fn set_is_for_the_rest_of_what_the_realm_wants() {
    let asked = Asked::new(L3, 3 * L3, RAM, 0);
    let machine = &asked.machine;
    for (base, top) in [
        (0, L3),
        (2 * L3, 3 * L3),
        (L3, 4 * L3),
        (L3, L3),
        (2 * L3, L3),
        (L3, 2 * L3 + 8),
    ] {
        machine.expect(
            Fid::RTT_SET_RIPAS,
            [RD, asked.rec, base, top],
            Status::ErrorInput,
            [],
        );
    }
    for (rd, rec) in [
        (ROOT, asked.rec),
        (asked.rec, RD),
        (RD, RD),
        (RD, ROOT),
        (RD, PAGE),
    ] {
        machine.expect(
            Fid::RTT_SET_RIPAS,
            [rd, rec, L3, 3 * L3],
            Status::ErrorInput,
            [],
        );
    }
    asked.set(L3, 3 * L3, 3 * L3);
    // Nothing is left.
    machine.expect(
        Fid::RTT_SET_RIPAS,
        [RD, asked.rec, 3 * L3, 4 * L3],
        Status::ErrorInput,
        [],
    );
}

#[test]
fn set_does_not_touch_a_rec_that_runs() {
    let asked = Asked::new(0, L3, RAM, 0);
    let (rec, machine) = (asked.rec, &asked.machine);
    machine.expect(Fid::REALM_ACTIVATE, [RD], Status::Success, []);
    machine.fake().host_write(PAGE, &[0; GRANULE_WORDS]);
    // REC_ENTER while the REC runs is the only way to see it.
    std::thread::scope(|scope| {
        let (there, wait) = std::sync::mpsc::channel();
        let (go, gone) = std::sync::mpsc::channel::<()>();
        machine.fake().cpu.then(move |_| {
            there.send(()).unwrap();
            let _ = gone.recv();
            rmm::rec::Trap::Irq
        });
        let cpu = scope.spawn(move || machine.call(Fid::REC_ENTER, &[rec, PAGE]).x(0));
        let args = [RD, rec, 0, L3];
        // However slow the machine is; without a limit an entry that fails would wait for ever.
        wait.recv_timeout(Duration::from_secs(600)).unwrap();
        machine.expect(Fid::RTT_SET_RIPAS, args, Status::ErrorRec, []);
        drop(go);
        assert_eq!(cpu.join().unwrap(), 0);
    });
}

#[test]
fn set_wants_whole_entries() {
    let asked = Asked::new(L2 + L3, L1 + L3, RAM, 0);
    asked.refused(L2 + L3, 2 * L2, 2);
    let asked = Asked::new(L2, L2 + L3, RAM, 0);
    asked.refused(L2, L2 + L3, 2);
    let asked = Asked::new(0, L2 + L3, RAM, 0);
    asked.set(0, L2 + L3, L2);
    asked.refused(L2, L2 + L3, 2);
}

#[test]
fn destroyed_memory_becomes_ram_only_if_the_realm_allows_it() {
    for destroyed in [0, 1] {
        let asked = Asked::new(0, 3 * L3, RAM, destroyed);
        let machine = &asked.machine;
        machine.delegate(BLOCK, 1);
        machine.init_ram(L3, L3);
        machine.map(L3, BLOCK, 1, 3);
        machine.expect(
            Fid::RTT_DATA_UNMAP,
            [RD, L3, 2 * L3, 0, 0],
            Status::Success,
            [2 * L3],
        );
        machine.expect_entry(L3, 3, [3, UNASSIGNED, 0, DESTROYED]);
        if destroyed == 1 {
            asked.set(0, 3 * L3, 3 * L3);
            machine.expect_entry(L3, 3, [3, UNASSIGNED, 0, RAM]);
        } else {
            asked.set(0, 3 * L3, L3);
            asked.refused(L3, 3 * L3, 3);
        }
    }
}

#[test]
fn memory_that_is_no_longer_ram_is_forgotten() {
    let asked = Asked::new(0, 4 * L3, EMPTY, 0);
    let machine = &asked.machine;
    machine.delegate(BLOCK, 2);
    machine.init_ram(0, 3 * L3);
    machine.map(L3, BLOCK, 1, 3);
    machine.fake().invalidated();
    asked.set(0, 4 * L3, 4 * L3);
    assert_eq!(machine.fake().invalidated(), [(0, L3..2 * L3)]);
    machine.expect_entry(L3, 3, [3, ASSIGNED, BLOCK, EMPTY]);
    machine.expect_entry(2 * L3, 3, [3, UNASSIGNED, 0, EMPTY]);
}

#[test]
fn a_rec_of_another_realm_is_refused() {
    let asked = Asked::new(0, L3, RAM, 0);
    let machine = &asked.machine;
    let (rd, root) = (pa(FREE + 8), pa(FREE + 9));
    machine.delegate(rd, 2);
    let mut page = common::realm::params();
    page[common::realm::param::RTT_BASE] = root;
    machine.fake().host_write(PAGE, &page);
    machine.expect(Fid::REALM_CREATE, [rd, PAGE], Status::Success, []);
    machine.expect(
        Fid::RTT_SET_RIPAS,
        [rd, asked.rec, 0, L3],
        Status::ErrorRec,
        [],
    );
}
