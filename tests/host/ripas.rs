// SPDX-License-Identifier: GPL-2.0

//! RIPAS changes, piece by piece, of a VM whose slots and attributes are known.

use crate::alone::alone;
use crate::entry_seam::Seam;
use crate::life::Guest;
use crate::machine::Host;
use kvm_arm_rmi::exit::Exit;
use kvm_arm_rmi::mmu::{self, Step};
use kvm_arm_rmi::realm::MissingTable;
use kvm_arm_rmi::rec::{Progress, RipasHost, RipasWork, Slot};
use kvm_arm_rmi::rmi::cmd::rec::RecName;
use kvm_arm_rmi::rmi::{Error, Fid, IpaRange, Protected, Regs, RttLevel, Status};
use std::cell::{Cell, RefCell};
use std::ops::Range;

const IPA_STATE_SET: u64 = 0xc400_0197;
const PAGE: u64 = 0x1000;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const EMPTY: u64 = 0;
const RAM: u64 = 1;
const ACCEPT: u64 = 0;
const REJECT: u64 = 1;

/// Why a change was interrupted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Why {
    Signal,
    NoMemory,
    Rmm(Error),
}

/// A VM's memory.
struct Memory {
    slots: RefCell<Vec<Slot>>,
    /// The VM has attributes.
    attributes: bool,
    /// What they say is private.
    private: RefCell<Range<u64>>,
    /// Steps until a signal comes, and tables until there is no memory for one.
    signal: Cell<Option<u64>>,
    nomem: Cell<Option<u64>>,
    /// Tables that were made.
    made: Cell<u64>,
    emptied: RefCell<Vec<Range<u64>>>,
}

impl Memory {
    /// Slots with private memory, all of it private.
    fn new(slots: &[Range<u64>]) -> Self {
        let slots = slots.iter().map(|ipas| Slot {
            ipas: ipas.clone(),
            private: true,
        });
        Self {
            slots: RefCell::new(slots.collect()),
            attributes: true,
            private: RefCell::new(0..u64::MAX),
            signal: Cell::new(None),
            nomem: Cell::new(None),
            made: Cell::new(0),
            emptied: RefCell::default(),
        }
    }

    fn all_shared(self) -> Self {
        self.private.replace(0..0);
        self
    }
}

/// True when a countdown, if there is one, is over; then there is none any more.
fn over(countdown: &Cell<Option<u64>>) -> bool {
    let left = countdown.get();
    countdown.set(left.and_then(|left| left.checked_sub(1)));
    left == Some(0)
}

struct Change<'a> {
    guest: &'a Guest<'a>,
    rec: RecName,
    memory: &'a Memory,
}

impl RipasHost for Change<'_> {
    type Error = Why;

    fn first_slot(&self, ipas: &Range<u64>) -> Option<Slot> {
        let slots = self.memory.slots.borrow();
        let overlap = |slot: &&Slot| slot.ipas.start < ipas.end && slot.ipas.end > ipas.start;
        let found = slots.iter().filter(overlap);
        found.min_by_key(|slot| slot.ipas.start).cloned()
    }

    fn has_attributes(&self) -> bool {
        self.memory.attributes
    }

    fn matching(&self, ipas: &Range<u64>, private: bool) -> u64 {
        let marked = self.memory.private.borrow();
        let mut pages = ipas.clone().step_by(PAGE as usize);
        let other = pages.find(|ipa| marked.contains(ipa) != private);
        other.unwrap_or(ipas.end)
    }

    fn go_on(&self) -> Result<(), Why> {
        match over(&self.memory.signal) {
            true => Err(Why::Signal),
            false => Ok(()),
        }
    }

    fn set_ripas(&self, range: IpaRange<Protected>) -> Result<Step, Why> {
        let (guest, rmi) = (self.guest, &self.guest.host.rmi);
        Ok(mmu::set_ripas(
            rmi,
            guest.rd(),
            self.rec,
            &guest.tables(),
            range,
        ))
    }

    fn make_table(&self, table: MissingTable) -> Result<(), Why> {
        if over(&self.memory.nomem) {
            return Err(Why::NoMemory);
        }
        self.memory.made.set(self.memory.made.get() + 1);
        self.guest.make_table(table);
        Ok(())
    }

    fn emptied(&self, ipas: Range<u64>) {
        self.memory.emptied.borrow_mut().push(ipas);
    }

    fn refused(&self, error: Error) -> Why {
        Why::Rmm(error)
    }
}

/// The realm asks for a change. `destroyed`: of what was destroyed as well.
fn ask(seam: &mut Seam<'_>, ipas: Range<u64>, value: u64, destroyed: bool) {
    seam.smc(&[IPA_STATE_SET, ipas.start, ipas.end, value, destroyed.into()]);
    assert!(matches!(seam.enter(0), Exit::Ripas(_)));
}

fn work<'a>(seam: &'a mut Seam<'_>) -> &'a mut RipasWork {
    seam.cpus[0].vcpu.ripas().unwrap()
}

/// The host goes on with the change. The range that user space is to convert, or nothing if the vCPU
/// can be entered.
fn go_on(seam: &mut Seam<'_>, memory: &Memory) -> Result<Option<Range<u64>>, Why> {
    let change = Change {
        guest: &seam.guest,
        rec: seam.guest.recs[0].name(),
        memory,
    };
    let work = seam.cpus[0].vcpu.ripas().unwrap();
    Ok(match work.carry_out(&change)? {
        Progress::Complete => None,
        Progress::Convert(range) => Some(range.base()..range.top()),
    })
}

/// The same, all at once: what the realm is told.
fn change(
    seam: &mut Seam<'_>,
    memory: &Memory,
    ipas: Range<u64>,
    (value, destroyed): (u64, bool),
) -> [u64; 3] {
    ask(seam, ipas, value, destroyed);
    assert_eq!(go_on(seam, memory), Ok(None));
    told(seam)
}

/// What the realm is told: status, up to where it went, and the host's response.
fn told(seam: &mut Seam<'_>) -> [u64; 3] {
    let gprs = seam.look(0).gprs;
    [gprs[0], gprs[1], gprs[2]]
}

/// Takes everything down, after commands that the RMM has refused.
fn end(seam: Seam<'_>, refused: u64) {
    let host = seam.guest.host;
    assert_eq!(host.machine.fake().cpu.unplayed(), 0);
    seam.cpus.into_iter().for_each(|cpu| host.put(cpu.page));
    seam.guest.tear_down();
    host.assert_idle();
    let failed = host.failed().into_iter().map(|(_, times)| times);
    assert_eq!(failed.sum::<u64>(), refused, "{:?}", host.failed());
}

#[test]
fn empty_where_there_is_no_slot_makes_no_table() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(std::slice::from_ref(&(0..16 * MIB)));
        let before = seam.guest.table_count();
        for n in 0..100 {
            let base = GIB + n * 2 * MIB;
            let told = change(&mut seam, &memory, base..base + PAGE, (EMPTY, true));
            assert_eq!(told, [0, base, ACCEPT]);
        }
        // Whole blocks need none, whatever lies at either end.
        let told_of = |seam: &mut Seam<'_>, ipas| change(seam, &memory, ipas, (EMPTY, true));
        assert_eq!(told_of(&mut seam, GIB..8 * GIB), [0, 8 * GIB, ACCEPT]);
        assert_eq!(
            told_of(&mut seam, 9 * GIB..10 * GIB + PAGE),
            [0, 10 * GIB, ACCEPT]
        );
        assert_eq!((seam.guest.table_count(), memory.made.get()), (before, 0));
        // The block that a slot ends in may be taken apart.
        let base = 18 * MIB;
        assert_eq!(
            told_of(&mut seam, base..base + 2 * MIB),
            [0, 20 * MIB, ACCEPT]
        );
        end(seam, 0);
    });
}

#[test]
fn a_slot_without_private_memory_lets_tables_be_made() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(std::slice::from_ref(&(0..16 * MIB)));
        memory.slots.borrow_mut().push(Slot {
            ipas: GIB..GIB + MIB,
            private: false,
        });
        // It is in nobody's way that attributes say private there.
        let told = change(&mut seam, &memory, GIB..GIB + PAGE, (EMPTY, true));
        assert_eq!(told, [0, GIB + PAGE, ACCEPT]);
        assert_eq!(memory.made.get(), 2);
        // RAM it cannot be.
        ask(&mut seam, GIB..GIB + 2 * MIB, RAM, true);
        assert_eq!(go_on(&mut seam, &memory), Ok(Some(GIB..GIB + MIB)));
        assert_eq!(go_on(&mut seam, &memory), Ok(None));
        assert_eq!(told_and_end(seam), [0, GIB, REJECT]);
    });
}

#[track_caller]
fn told_and_end(mut seam: Seam<'_>) -> [u64; 3] {
    let told = told(&mut seam);
    end(seam, 0);
    told
}

#[test]
fn user_space_is_asked_for_a_slot_at_a_time() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(&[0..4 * MIB, 4 * MIB..8 * MIB, 8 * MIB..16 * MIB]).all_shared();
        ask(&mut seam, MIB..10 * MIB, RAM, true);
        // As often as it takes: what it does is its own affair.
        for _ in 0..3 {
            assert_eq!(go_on(&mut seam, &memory), Ok(Some(MIB..4 * MIB)));
        }
        memory.private.replace(0..6 * MIB);
        assert_eq!(go_on(&mut seam, &memory), Ok(Some(6 * MIB..8 * MIB)));
        memory.private.replace(0..8 * MIB);
        assert_eq!(go_on(&mut seam, &memory), Ok(Some(8 * MIB..10 * MIB)));
        memory.private.replace(0..16 * MIB);
        assert_eq!(go_on(&mut seam, &memory), Ok(None));
        assert_eq!(told(&mut seam), [0, 10 * MIB, ACCEPT]);

        // The other way round.
        ask(&mut seam, 3 * MIB..5 * MIB, EMPTY, true);
        assert_eq!(go_on(&mut seam, &memory), Ok(Some(3 * MIB..4 * MIB)));
        memory.private.replace(4 * MIB..16 * MIB);
        assert_eq!(go_on(&mut seam, &memory), Ok(Some(4 * MIB..5 * MIB)));
        memory.private.replace(5 * MIB..16 * MIB);
        assert_eq!(go_on(&mut seam, &memory), Ok(None));
        let emptied = memory.emptied.take();
        assert_eq!(emptied, [3 * MIB..4 * MIB, 4 * MIB..5 * MIB]);
        assert_eq!(told_and_end(seam), [0, 5 * MIB, ACCEPT]);
    });
}

#[test]
fn a_gap_is_asked_for_once() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(&[0..16 * MIB, 20 * MIB..24 * MIB]);
        ask(&mut seam, 14 * MIB..24 * MIB, RAM, true);
        assert_eq!(go_on(&mut seam, &memory), Ok(Some(16 * MIB..20 * MIB)));
        // Interrupted before anything came of it.
        memory.signal.set(Some(0));
        assert_eq!(go_on(&mut seam, &memory), Err(Why::Signal));
        assert_eq!(go_on(&mut seam, &memory), Ok(None));
        assert!(work(&mut seam).is_rejected());
        assert_eq!(told(&mut seam), [0, 16 * MIB, REJECT]);

        // Or it adds a slot, part by part.
        ask(&mut seam, 14 * MIB..24 * MIB, RAM, true);
        for base in [16 * MIB, 18 * MIB] {
            assert_eq!(go_on(&mut seam, &memory), Ok(Some(base..20 * MIB)));
            memory.slots.borrow_mut().push(Slot {
                ipas: base..base + 2 * MIB,
                private: true,
            });
        }
        assert_eq!(go_on(&mut seam, &memory), Ok(None));
        assert_eq!(told(&mut seam), [0, 24 * MIB, ACCEPT]);

        // There is a limit to what it is asked for.
        ask(&mut seam, 24 * MIB..100 * GIB, RAM, true);
        let asked = 24 * MIB..24 * MIB + GIB;
        assert_eq!(go_on(&mut seam, &memory), Ok(Some(asked)));
        assert_eq!(go_on(&mut seam, &memory), Ok(None));
        assert_eq!(told_and_end(seam), [0, 24 * MIB, REJECT]);
    });
}

#[test]
fn what_was_destroyed_changes_only_if_the_realm_allows_for_it() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(std::slice::from_ref(&(0..16 * MIB)));
        seam.guest.map(0x8000, 0x2000, 0, RttLevel::L3);
        assert_eq!(seam.guest.unmap(0x8000, 0x2000), 2);
        // A Linux guest asks so when it boots.
        let told = change(&mut seam, &memory, 0..16 * MIB, (RAM, false));
        assert_eq!(told, [0, 0x8000, REJECT]);
        // And if it asks again it is told the same.
        let told = change(&mut seam, &memory, 0x8000..16 * MIB, (RAM, false));
        assert_eq!(told, [0, 0x8000, REJECT]);
        let told = change(&mut seam, &memory, 0..16 * MIB, (RAM, true));
        assert_eq!(told, [0, 16 * MIB, ACCEPT]);
        // To give up what was destroyed needs no leave.
        seam.guest.map(0x8000, 0x1000, 0, RttLevel::L3);
        assert_eq!(seam.guest.unmap(0x8000, 0x1000), 1);
        memory.private.replace(0..0);
        let told = change(&mut seam, &memory, 0..16 * MIB, (EMPTY, false));
        assert_eq!(told, [0, 16 * MIB, ACCEPT]);
        end(seam, 2);
    });
}

#[test]
fn a_block_that_was_destroyed_is_not_taken_apart() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(std::slice::from_ref(&(0..16 * MIB)));
        let (base, level) = (4 * MIB, RttLevel::L2);
        seam.guest.map(base, 2 * MIB, 9, level);
        assert_eq!(seam.guest.unmap(base, 2 * MIB), 512);
        let told = change(&mut seam, &memory, 2 * MIB..16 * MIB, (RAM, false));
        assert_eq!((told, memory.made.get()), ([0, base, REJECT], 0));
        end(seam, 1);
    });
}

#[test]
fn an_entry_in_the_hands_of_another_command_changes_later() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(std::slice::from_ref(&(0..16 * MIB)));
        let mut times = 3;
        host.rmi.conduit().replace(move |args, rmm| {
            if args.x(0) == u64::from(Fid::RTT_SET_RIPAS.raw()) && times > 0 {
                times -= 1;
                return Regs::new(u64::from(Status::ErrorRtt.raw()) | 3 << 8, &[]);
            }
            rmm(args)
        });
        let told = change(&mut seam, &memory, 0x1000..0x3000, (RAM, false));
        assert_eq!(told, [0, 0x3000, ACCEPT]);
        end(seam, 3);
    });
}

#[test]
fn an_entry_that_nobody_lets_go_of_does_not_hold_up_the_host() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        let memory = Memory::new(std::slice::from_ref(&(0..16 * MIB)));
        host.rmi.conduit().replace(move |args, rmm| {
            match args.x(0) == u64::from(Fid::RTT_SET_RIPAS.raw()) && args.x(3) == 0x2000 {
                true => Regs::new(u64::from(Status::ErrorRtt.raw()) | 3 << 8, &[]),
                false => rmm(&short(args)),
            }
        });
        // The RMM goes a page at a time here.
        fn short(args: &Regs) -> Regs {
            let mut args = *args;
            if args.x(0) == u64::from(Fid::RTT_SET_RIPAS.raw()) {
                args = Regs::new(
                    args.x(0),
                    &[args.x(1), args.x(2), args.x(3), args.x(3) + PAGE],
                );
            }
            args
        }
        let told = change(&mut seam, &memory, 0x1000..0x3000, (RAM, false));
        assert_eq!(told, [0, 0x2000, REJECT]);
        // One after the page that was done, and then so many without any.
        end(seam, 1 + 1001);
    });
}

#[test]
fn an_interrupted_change_keeps_what_is_done() {
    alone(|| {
        let host = Host::new();
        let mut seam = Seam::new(&host, 1);
        // Over three tables, of which the last two are to be made; a slot in each.
        let slots = [0..2 * MIB, 2 * MIB..4 * MIB, 4 * MIB..16 * MIB];
        let ipas = MIB + PAGE..5 * MIB + PAGE;
        for value in [EMPTY, RAM] {
            let mut interrupted = 0;
            for times in 0.. {
                let memory = Memory::new(&slots);
                memory
                    .private
                    .replace(0..if value == RAM { 16 * MIB } else { 0 });
                memory.signal.set(Some(times));
                ask(&mut seam, ipas.clone(), value, false);
                let first = go_on(&mut seam, &memory);
                if first == Ok(None) {
                    assert_eq!(told(&mut seam), [0, ipas.end, ACCEPT]);
                    break;
                }
                assert_eq!(first, Err(Why::Signal));
                interrupted += 1;
                assert_eq!(go_on(&mut seam, &memory), Ok(None), "{times}");
                assert_eq!(told(&mut seam), [0, ipas.end, ACCEPT], "{times}");
            }
            assert!(interrupted >= 3);
        }
        end(seam, 0);
    });
}

#[test]
fn a_change_that_lacks_memory_goes_on_when_there_is_some() {
    alone(|| {
        let slots = [0..16 * MIB, GIB - MIB..GIB + 4 * MIB];
        // Over two tables of the last level, and of the one above.
        for ipas in [MIB..3 * MIB + PAGE, GIB - PAGE..GIB + 2 * MIB + PAGE] {
            let mut failed = 0;
            for number in 0.. {
                let host = Host::new();
                let mut seam = Seam::new(&host, 1);
                let memory = Memory::new(&slots);
                memory.nomem.set(Some(number));
                ask(&mut seam, ipas.clone(), RAM, false);
                let first = go_on(&mut seam, &memory);
                if first.is_err() {
                    assert_eq!(first, Err(Why::NoMemory));
                    assert_eq!(go_on(&mut seam, &memory), Ok(None), "{number}");
                    failed += 1;
                }
                assert_eq!(told_and_end(seam), [0, ipas.end, ACCEPT], "{number}");
                if first.is_ok() {
                    break;
                }
            }
            assert!(failed >= 1, "{failed}");
        }
    });
}

#[test]
fn what_was_populated_and_taken_away_is_not_ram() {
    alone(|| {
        let host = Host::new();
        let mut guest = Guest::new(&host);
        for page in [0x1000, 0x2000, 0x3000, 2 * MIB - PAGE, 6 * MIB - PAGE] {
            guest.populate(page);
        }
        // In the middle, at the end of a table, and at the end of all.
        for page in [0x2000, 2 * MIB - PAGE, 6 * MIB - PAGE] {
            assert_eq!(guest.unmap(page, PAGE), 1);
        }
        guest.init_ripas(0, 6 * MIB);
        guest.add_rec();
        guest.realm.activate(&host.rmi).unwrap();
        let state = |ipa: u64| {
            let level = RttLevel::L3.raw();
            let args = [guest.rd().raw(), ipa, level];
            host.machine.call(Fid::RTT_READ_ENTRY, &args).x(4)
        };
        let ripas = [
            0,
            0x1000,
            0x2000,
            0x3000,
            2 * MIB - PAGE,
            2 * MIB,
            6 * MIB - PAGE,
        ]
        .map(state);
        assert_eq!(ripas, [1, 1, 2, 1, 2, 1, 2]);
        guest.tear_down();
        host.assert_idle();
    });
}
