// SPDX-License-Identifier: GPL-2.0

//! Whole lives of VMs on an RMM that goes wrong at one place, or has others to serve: every granule comes
//! back or is known to be leaked, and the end is reached.

mod bad_memory;
mod blocked;
mod dialects;
mod dumped;
mod faults;
mod kept;
mod lies;
mod nomem;
mod refused;
mod skipped;
mod starts;
mod v1;

pub(crate) use crate::firmware::machine as rmm_machine;
pub(crate) use crate::injection::{calls, refuse_some, replace, replace_some};
pub(crate) use ::rmm::granule::State;
pub(crate) use ::rmm::rmi::Dialect;
pub(crate) use kvm_arm_rmi::rmi::{Fid, Regs, Status, GRANULE_SIZE};
pub(crate) use kvm_arm_rmi::sys::prelude::{EIO, ENOMEM};
pub(crate) use std::collections::BTreeMap;

use crate::firmware::Embedded;
use crate::injection::{signal_after, Calls};
use crate::scenarios::{private, ripas, shared};
use crate::world::{hvas, start, World, SHARED};
use kvm_arm_rmi::kvm::AllVms;
use kvm_arm_rmi::rmi::PhysAddr;
use kvm_arm_rmi::sys::gmem::Gmem;
use kvm_arm_rmi::sys::guest::{Guest, Op};
use kvm_arm_rmi::sys::machine;
use kvm_arm_rmi::sys::prelude::{Arc, Error};
use kvm_arm_rmi::sys::vcpu::Exit;
use std::sync::{Arc as StdArc, Mutex};

/// Why a life has come to nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Why {
    /// An ioctl has failed.
    Errno(Error),
    /// KVM_EXIT_INTERNAL_ERROR.
    InternalError,
    /// The realm was refused something, or has taken an exception.
    Refused,
}

impl From<Error> for Why {
    fn from(error: Error) -> Self {
        Self::Errno(error)
    }
}

pub(crate) type Result = std::result::Result<(), Why>;

/// Bits of an IPA: there are tables at levels 2 and 3, below one at level 1.
const IPA_BITS: u32 = 39;

/// Calls after which a VMM has had enough of a vCPU that does not get on. A life has some 200; an
/// operation that gets nowhere is given up after 1000.
const PATIENCE: u64 = 20_000;

/// A host with an RMM that is active.
pub(crate) struct Host {
    all: Arc<AllVms>,
    /// Pages in use before there is a VM.
    pages: usize,
    /// Granules that the realm world has, before.
    realm: usize,
}

/// What there is after a life, or several.
pub(crate) struct Outcome {
    /// How it went.
    pub(crate) result: Result,
    /// Granules that the host has in its count as delegated, and as leaked.
    pub(crate) counts: (u64, u64),
    /// The component cannot be unloaded.
    pub(crate) stays: bool,
    /// Pages in use, and granules of the realm world, apart from those that others had before.
    pub(crate) pages: u64,
    pub(crate) realm: u64,
    /// The calls.
    pub(crate) calls: Calls,
    /// How many allocations there were.
    pub(crate) allocations: u64,
}

/// Does something, alone, on a new host whose RMM speaks that dialect.
pub(crate) fn on_host<R: Send + 'static>(
    dialect: Dialect,
    test: impl FnOnce(&mut Host) -> R + Send + 'static,
) -> R {
    once(move || {
        let firmware = Embedded::new();
        rmm_machine().rmm.speak(dialect);
        machine::on(firmware, |machine| {
            let mut host = Host {
                all: start(),
                pages: 0,
                realm: 0,
            };
            host.begin(machine);
            test(&mut host)
        })
    })
}

/// Does something alone.
fn once<R: Send + 'static>(test: impl FnOnce() -> R + Send + 'static) -> R {
    let (test, result) = (Mutex::new(Some(test)), StdArc::new(Mutex::new(None)));
    let told = result.clone();
    crate::alone(move || {
        let test = test.lock().unwrap().take().expect("one run");
        let result = test();
        *told.lock().unwrap() = Some(result);
    });
    let result = result.lock().unwrap().take();
    result.expect("it has run")
}

impl Host {
    fn begin(&mut self, machine: &machine::Machine) {
        self.pages = machine.pages_in_use();
        self.realm = rmm_machine().fake().realm_granules();
        machine.fail_allocation(0);
        signal_after(PATIENCE);
    }

    /// What there is now is not this host's.
    pub(crate) fn leave_out_what_is_there(&mut self) {
        self.begin(&machine::machine());
    }

    /// Granules that the host has in its count as delegated, and as leaked.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let counts = self.all.host.rmi.conduit().counts();
        (counts.delegated(), counts.leaked())
    }

    /// A VM with two vCPUs.
    pub(crate) fn vm(&self) -> std::result::Result<World, Error> {
        World::new(&[0, 1], &self.all, IPA_BITS)
    }

    /// A VM whose realm is New.
    pub(crate) fn bystander(&self) -> World {
        let world = self.vm().unwrap();
        world.begin().unwrap();
        world
    }

    /// A whole life of a VM.
    pub(crate) fn life(&self) -> Result {
        let world = self.vm()?;
        let result = live(&world);
        world.end();
        result
    }

    /// What there is after a life that went so.
    pub(crate) fn outcome(&self, result: Result) -> Outcome {
        let machine = machine::machine();
        Outcome {
            result,
            counts: self.counts(),
            stays: machine.stays_loaded(),
            pages: (machine.pages_in_use() - self.pages) as u64,
            realm: (rmm_machine().fake().realm_granules() - self.realm) as u64,
            calls: calls(),
            allocations: machine.allocations(),
        }
    }
}

/// Granules of a second slot, the first of which is in a table with the first slot's.
const NEAR: u64 = 0x100;
const NEAR_END: u64 = 0x410;
/// The first granule of a third slot, which has a table to itself.
const ALONE: u64 = 0x800;

/// Everything that a host does with a realm.
fn live(world: &World) -> Result {
    let vm = &world.vm;
    let (near, alone) = (Gmem::new(), Gmem::new());
    vm.add_slot(NEAR..NEAR_END, 0x4000_0000, Some((&near, 0)))?;
    vm.add_slot(ALONE..ALONE + 512, 0x5000_0000, Some((&alone, 0)))?;
    vm.set_private(NEAR..NEAR_END, true)?;
    vm.set_private(ALONE..ALONE + 512, true)?;
    world.populate(0x10..0x12)?;
    run(world, 0, private(NEAR..NEAR + 12))?;
    // Two pages go, and come back apart from each other and from the next.
    near.punch(8..9);
    near.punch(10..11);
    run(world, 0, private(NEAR + 12..NEAR + 14))?;
    run(world, 0, vec![Op::Private(NEAR + 0x300), Op::TurnOn(1)])?;
    run(world, 1, private(4..6))?;
    // A table has no purpose any more, and is folded.
    let all = ALONE..ALONE + 512;
    run(world, 0, vec![Op::Private(ALONE), ripas(all, false, true)])?;
    let some = NEAR..NEAR + 4;
    let there_and_back = [false, true].map(|ram| ripas(some.clone(), ram, true));
    run(world, 0, there_and_back.to_vec())?;
    run(
        world,
        0,
        vec![ripas(NEAR + 0x2f0..NEAR + 0x304, true, true)],
    )?;
    run(world, 0, private(some))?;
    run(world, 0, shared(SHARED..SHARED + 1))?;
    world.mm.discard(hvas(SHARED..SHARED + 1));
    run(world, 0, shared(SHARED..SHARED + 1))
}

/// A vCPU does that, and its VMM converts what it asks for.
fn run(world: &World, n: usize, ops: Vec<Op>) -> Result {
    let mut guest = Guest::new(ops);
    let left = world.go_on(n, &mut guest);
    if let Exit::InternalError(_) = left.map_err(|(error, _)| error)? {
        return Err(Why::InternalError);
    }
    let all_done = guest.ops.is_empty() && guest.results.iter().all(|done| *done);
    all_done.then_some(()).ok_or(Why::Refused)
}

impl Outcome {
    /// What the RMM has is what is counted, and nobody waits for any of it.
    #[track_caller]
    pub(crate) fn assert_accounted(&self, what: &str) {
        let (delegated, leaked) = self.counts;
        assert_eq!(delegated, leaked, "{what}: delegated and leaked");
        assert_eq!(
            self.stays,
            leaked != 0,
            "{what}: the component stays loaded"
        );
        self.assert_pages(leaked, what);
        let held = self.realm;
        assert!(held <= leaked, "{what}: the RMM has {held} of {leaked}");
    }

    /// So many pages are in use; or more, where some are lost: of what an RMM has in part nobody knows which
    /// part, so that the file keeps all, and what was thought lost stays so.
    #[track_caller]
    pub(crate) fn assert_pages(&self, counted: u64, what: &str) {
        let (pages, is_lost) = (self.pages, self.counts.1 != 0);
        assert!(
            pages == counted || is_lost && pages > counted,
            "{what}: {pages} pages in use"
        );
    }

    /// Nothing is delegated, leaked or allocated.
    #[track_caller]
    pub(crate) fn assert_idle(&self, what: &str) {
        let left = (self.counts, self.pages, self.realm);
        assert_eq!(left, ((0, 0), 0, 0), "{what}");
    }

    /// Commands that failed, and how often.
    pub(crate) fn failed(&self) -> Vec<(Fid, u64)> {
        let failed = self.calls.iter().filter(|(_, (_, failed))| *failed != 0);
        let failed = failed.map(|(fid, (_, failed))| (Fid::from_raw(*fid), *failed));
        failed.collect()
    }

    /// How often a command was called.
    pub(crate) fn calls(&self, fid: Fid) -> u64 {
        self.calls.get(&fid.raw()).map_or(0, |(calls, _)| *calls)
    }
}

/// The granules of the host's memory, and what the RMM has made of each.
pub(crate) fn granules() -> Vec<(u64, State)> {
    let rmm = rmm_machine();
    let state = |pa: u64| Some((pa, rmm.rmm.granules().state(PhysAddr::new(pa))?));
    let ram = machine::machine().firmware().ram().into_iter();
    ram.flat_map(|range| range.step_by(GRANULE_SIZE as usize))
        .filter_map(state)
        .collect()
}

/// A good life.
pub(crate) fn good_life(dialect: Dialect) -> Outcome {
    let outcome = on_host(dialect, |host| host.outcome(host.life()));
    assert_eq!(outcome.result, Ok(()));
    outcome.assert_idle("a good life");
    outcome
}

/// A life in which the calls `from..from + times` of command `fid` are made by `wrong`.
pub(crate) fn with_fault(
    dialect: Dialect,
    fid: Fid,
    (from, times): (u64, u64),
    wrong: impl FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs + Send + 'static,
) -> Outcome {
    on_host(dialect, move |host| {
        replace_some(fid, (from, times), wrong);
        host.outcome(host.life())
    })
}

/// The first, the second, one in the middle and the last.
pub(crate) fn places(calls: u64) -> Vec<u64> {
    let mut places = vec![0, 1, calls / 2, calls.saturating_sub(1)];
    places.retain(|n| *n < calls);
    places.sort_unstable();
    places.dedup();
    places
}
