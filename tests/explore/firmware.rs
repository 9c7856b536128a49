// SPDX-License-Identifier: GPL-2.0

//! The embedded RMM on its machine in memory, as the firmware of the model's machine; and the CPU that
//! realms run on, which goes by their tables.

use crate::injection;
use crate::rmm_machine::{pa, Machine, Pas, BANK2, RAM_TOP};
use kvm_arm_rmi::rmi::{Fid, PhysAddr, Regs, ReturnCode, Status, GRANULE_SIZE};
use kvm_arm_rmi::sys::guest::{Guest, Op};
use kvm_arm_rmi::sys::machine::Firmware;
use rmm::granule::State;
use rmm::rec::{Context, Trap};
use rmm::rtt::{block_size, Entry, Table, ENTRIES};
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// Where the stage 2 tables of a realm start.
#[derive(Clone, Copy, Debug)]
struct Root {
    table: u64,
    level: i8,
    lpa2: bool,
    tables: u64,
    bits: u32,
}

/// ESR_EL2 of an SMC.
const SMC: u64 = 0x17 << 26 | 1 << 25;
/// ESR_EL2 of a load from what is not mapped, at level 3.
const LOAD: u64 = 0x24 << 26 | 1 << 25 | 7;
/// The same, of a store.
const STORE: u64 = LOAD | 1 << 6;
/// The same, where something is mapped.
const PERMISSION: u64 = 8;

/// Event counters of the CPU's PMU.
pub(crate) const PMU_COUNTERS: u8 = 6;

/// See the file.
pub(crate) struct Embedded {
    machine: Arc<Machine>,
    realms: RefCell<BTreeMap<u64, Root>>,
}

thread_local! {
    static MACHINE: RefCell<Option<Arc<Machine>>> = const { RefCell::new(None) };
    /// The realm that was made last.
    static RD: Cell<u64> = const { Cell::new(0) };
}

/// The level of the table that has an entry for a private granule of the realm that was made last.
pub(crate) fn level(gfn: u64) -> u64 {
    let args = [RD.get(), gfn * GRANULE_SIZE, 3];
    let mut regs = Regs::new(Fid::RTT_READ_ENTRY.raw().into(), &args);
    machine().rmm.handle(&mut regs);
    assert_eq!(regs.x(0), 0);
    regs.x(1)
}

/// The machine under the test that runs.
///
/// # Panics
///
/// There is none.
pub(crate) fn machine() -> Arc<Machine> {
    let machine = MACHINE.with_borrow(Clone::clone);
    machine.expect("an embedded RMM")
}

/// What is at an IPA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum At {
    Nothing,
    Realm(u64),
    Host(u64),
    /// May not be written.
    ReadOnly(u64),
}

impl Embedded {
    pub(crate) fn new() -> Self {
        injection::reset();
        let machine = Arc::new(Machine::new());
        machine.fake().cpu.set_counter(1);
        machine.fake().set_pmu_counters(PMU_COUNTERS);
        MACHINE.set(Some(machine.clone()));
        Self {
            machine,
            realms: RefCell::default(),
        }
    }

    /// The realms that can run.
    fn realms(&self) -> Vec<Root> {
        let (realms, granules) = (self.realms.borrow(), self.machine.rmm.granules());
        let is = |rd: u64| granules.state(PhysAddr::new(rd)) == Some(State::Rd);
        let realms = realms.iter().filter(|(rd, _)| is(**rd));
        realms.map(|(_, root)| *root).collect()
    }

    /// Keeps account of where tables start.
    fn note(&self, args: &Regs, results: &Regs) {
        let fid = Fid::from_raw(args.x(0) as u32);
        // It may be no more than the beginning of an operation.
        let status = ReturnCode::new(results.x(0)).status();
        let begun = matches!(status, Status::Success | Status::Incomplete);
        if fid == Fid::REALM_CREATE && begun {
            let params = self.machine.fake().data(args.x(2));
            let root = Root {
                table: params[0x808 / 8],
                level: params[0x810 / 8] as i8,
                lpa2: params[0] & 1 != 0,
                tables: params[0x818 / 8],
                bits: params[1] as u32,
            };
            self.realms.borrow_mut().insert(args.x(1), root);
            RD.set(args.x(1));
        }
        if fid == Fid::REALM_TERMINATE && status == Status::Success {
            // It never runs again, and what is mapped for it is of no use to anybody.
            self.realms.borrow_mut().remove(&args.x(1));
        }
    }
}

/// Follows the tables.
fn translate(machine: &Machine, root: Root, ipa: u64) -> At {
    let first = ipa / block_size(root.level) / ENTRIES as u64;
    let mut table = root.table + first * GRANULE_SIZE;
    for level in root.level.. {
        let mut data = machine.fake().data(table);
        let index = (ipa / block_size(level)) as usize % ENTRIES;
        let offset = ipa % block_size(level);
        let entry = Table::view(&mut data, level, root.lpa2).get(index);
        return match entry {
            Entry::Table(next) => {
                table = next.raw();
                continue;
            }
            Entry::Assigned(rmm::rtt::Ripas::Ram, pa) => At::Realm(pa.raw() + offset),
            // S2AP: bit 7 of the entry allows for stores.
            Entry::AssignedNs(_, pa) if entry.encode(level, root.lpa2) & 1 << 7 == 0 => {
                At::ReadOnly(pa.raw() + offset)
            }
            Entry::AssignedNs(_, pa) => At::Host(pa.raw() + offset),
            _ => At::Nothing,
        };
    }
    At::Nothing
}

/// Calls `found` for the memory of the host's that the entries `indices` of a table map, and those below.
fn each_shared(
    machine: &Machine,
    (table, level, lpa2): (u64, i8, bool),
    indices: Range<usize>,
    found: &mut impl FnMut(Range<u64>),
) {
    let mut data = machine.fake().data(table);
    let view = Table::view(&mut data, level, lpa2);
    for index in indices {
        match view.get(index) {
            Entry::Table(next) => {
                each_shared(machine, (next.raw(), level + 1, lpa2), 0..ENTRIES, found);
            }
            Entry::AssignedNs(_, pa) => found(pa.raw()..pa.raw() + block_size(level)),
            _ => {}
        }
    }
}

impl Root {
    /// Calls `found` for the memory of the host's in its upper half.
    fn each_shared(&self, machine: &Machine, found: &mut impl FnMut(Range<u64>)) {
        let entries = 1 << (self.bits - block_size(self.level).ilog2());
        for n in 0..self.tables {
            let first = n as usize * ENTRIES;
            let half = (entries / 2usize).clamp(first, first + ENTRIES) - first;
            let end = entries.clamp(first, first + ENTRIES) - first;
            let table = (self.table + n * GRANULE_SIZE, self.level, self.lpa2);
            each_shared(machine, table, half..end, found);
        }
    }
}

impl Firmware for Embedded {
    fn smc(&self, args: &Regs) -> Regs {
        injection::call(args, &|args| {
            self.machine
                .fake()
                .interrupt_after(injection::interrupted_after());
            let mut regs = *args;
            self.machine.rmm.handle(&mut regs);
            self.note(args, &regs);
            regs
        })
    }

    fn enter(&self, args: &Regs, guest: &mut Guest) -> Regs {
        let shared = Arc::new(Mutex::new(std::mem::take(guest)));
        let (machine, inside) = (Arc::downgrade(&self.machine), shared.clone());
        let realms = self.realms();
        let cpu = &self.machine.fake().cpu;
        cpu.forget();
        cpu.then(move |ctx| {
            let machine = machine.upgrade().expect("it runs");
            let mut guest = inside.lock().unwrap();
            let root = ctx.el2.vttbr_el2 & 0xffff_ffff_f000;
            let root = realms.iter().find(|realm| realm.table == root);
            stay(&machine, *root.expect("a realm"), &mut guest, ctx)
        });
        let results = self.smc(args);
        cpu.forget();
        *guest = std::mem::take(&mut *shared.lock().unwrap());
        results
    }

    fn is_delegated(&self, pa: u64) -> bool {
        self.machine.fake().pas(pa) != Pas::NonSecure
    }

    fn reached(&self, pas: &[u64]) -> Option<u64> {
        let pas: BTreeSet<u64> = pas.iter().copied().collect();
        if pas.is_empty() {
            return None;
        }
        let mut reached = None;
        let mut found = |memory| reached = reached.or(pas.range(memory).next().copied());
        for root in self.realms() {
            root.each_shared(&self.machine, &mut found);
        }
        reached
    }

    fn mapped(&self, ipa: u64, shared: bool) -> Option<u64> {
        self.realms().iter().find_map(|root| {
            let half = if shared { 1 << (root.bits - 1) } else { 0 };
            match translate(&self.machine, *root, ipa | half) {
                At::Nothing => None,
                At::Realm(pa) | At::Host(pa) | At::ReadOnly(pa) => Some(pa),
            }
        })
    }

    fn read(&self, pa: u64) -> u64 {
        self.machine.fake().word(pa)
    }

    fn write(&self, pa: u64, value: u64) {
        self.machine.fake().host_write_word(pa, value);
    }

    fn clear(&self, pa: u64) {
        self.machine.fake().host_write(pa, &[0; 512]);
    }

    fn ram(&self) -> Vec<Range<u64>> {
        // The first hole is memory that is somebody else's, the second none.
        vec![
            pa(256)..pa(320),
            pa(512)..RAM_TOP,
            BANK2..BANK2 + 4 * GRANULE_SIZE,
        ]
    }
}

/// The realm is in its CPU, until it has done one thing or cannot go on.
fn stay(machine: &Machine, root: Root, guest: &mut Guest, ctx: &mut Context) -> Trap {
    let call = |ctx: &mut Context, args: &[u64]| {
        ctx.gprs[..args.len()].copy_from_slice(args);
        Trap::Sync {
            esr: SMC,
            far: 0,
            hpfar: 0,
        }
    };
    let Some(op) = guest.ops.front().cloned() else {
        return Trap::Irq;
    };
    if let Some(pc) = guest.pc.take().filter(|pc| *pc != ctx.pc) {
        // It has taken an exception instead.
        ctx.pc = pc;
        guest.done(false);
        return Trap::Irq;
    }
    if guest.called {
        let (result, at, response) = (ctx.gprs[0], ctx.gprs[1], ctx.gprs[2]);
        match op {
            Op::Ripas {
                end,
                ram,
                destroyed,
                ..
            } if result == 0 && at < end * GRANULE_SIZE && response == 0 => {
                // As far as that: the rest is asked for.
                guest.called = false;
                let first = at / GRANULE_SIZE;
                guest.ops[0] = Op::Ripas {
                    first,
                    end,
                    ram,
                    destroyed,
                };
            }
            Op::Ripas { .. } => guest.done(result == 0 && response == 0),
            _ => guest.done(result == 0),
        }
        return Trap::Irq;
    }
    let half = 1 << (root.bits - 1);
    match op {
        Op::Private(gfn) | Op::Shared(gfn) | Op::Load(gfn) => {
            let shared = !matches!(op, Op::Private(_));
            let loads = matches!(op, Op::Load(_));
            let ipa = gfn * GRANULE_SIZE | if shared { half } else { 0 };
            let there = translate(machine, root, ipa);
            match there {
                At::Realm(pa) if !shared => {
                    assert_eq!(machine.fake().pas(pa), Pas::Realm, "{pa:#x} faults");
                    guest.done(true);
                    Trap::Irq
                }
                At::Host(pa) | At::ReadOnly(pa) if shared && (loads || there == At::Host(pa)) => {
                    assert_eq!(machine.fake().pas(pa), Pas::NonSecure, "{pa:#x} faults");
                    assert!(
                        !kvm_arm_rmi::sys::machine::machine().is_free(pa),
                        "a realm touches page {pa:#x}, which is free"
                    );
                    guest.done(true);
                    Trap::Irq
                }
                _ => {
                    guest.pc = Some(ctx.pc);
                    Trap::Sync {
                        esr: match there {
                            At::ReadOnly(_) => STORE | PERMISSION,
                            _ if loads => LOAD,
                            _ => STORE,
                        },
                        far: ipa & 0xfff,
                        hpfar: ipa >> 8 & !0xf,
                    }
                }
            }
        }
        Op::Ripas {
            first,
            end,
            ram,
            destroyed,
        } => {
            guest.called = true;
            let (first, end) = (first * GRANULE_SIZE, end * GRANULE_SIZE);
            call(
                ctx,
                &[0xc400_0197, first, end, ram.into(), destroyed.into()],
            )
        }
        Op::TurnOn(mpidr) => {
            guest.called = true;
            call(ctx, &[0xc400_0003, mpidr, 0, 0])
        }
        Op::TurnOff => {
            guest.done(true);
            call(ctx, &[0x8400_0002])
        }
        Op::SystemOff => {
            guest.done(true);
            call(ctx, &[0x8400_0008])
        }
    }
}
