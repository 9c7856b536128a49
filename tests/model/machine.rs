// SPDX-License-Identifier: GPL-2.0

//! The host's memory, page by page, its firmware, its tasks; and running tests on it.

use super::{debugfs::Contents, guest::Guest, platform::Lacks, prelude::*, trace::Event};
use crate::rmi::{Fid, Regs, GRANULE_SIZE};
use shuttle::rand::RngCore as _;
use shuttle::thread::ThreadId;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::rc::Rc;

/// What is at the other end of the SMC, and the memory that it shares with the host.
pub trait Firmware {
    /// A call, in one step: what RMM and host do at the same time is not explored.
    fn smc(&self, args: &Regs) -> Regs;

    /// The same for RMI_REC_ENTER of a REC whose realm then does what `guest` says.
    fn enter(&self, args: &Regs, guest: &mut Guest) -> Regs;

    /// True if the page at `pa` is not the host's.
    fn is_delegated(&self, pa: u64) -> bool;

    /// One of these pages of the host's that a realm can reach.
    fn reached(&self, pas: &[u64]) -> Option<u64>;

    /// The page that a realm has at `ipa` of its lower half, or of its upper one.
    fn mapped(&self, ipa: u64, shared: bool) -> Option<u64>;

    /// Reads a word of the host's memory.
    fn read(&self, pa: u64) -> u64;

    /// Writes a word of the host's memory.
    fn write(&self, pa: u64, value: u64);

    /// Clears a page of the host's memory.
    fn clear(&self, pa: u64);

    /// The memory that the host can use, in the order of addresses, with holes.
    fn ram(&self) -> Vec<Range<u64>>;
}

/// What is known of a task.
#[derive(Default)]
struct Task {
    /// Spinning locks that it holds.
    spinning: u32,
    signal: bool,
}

/// The machine that a test runs on.
pub struct Machine {
    firmware: Box<dyn Firmware>,
    /// References to pages that are not free.
    references: RefCell<BTreeMap<u64, u32>>,
    free: RefCell<BTreeSet<u64>>,
    bad: RefCell<BTreeSet<u64>>,
    offline: RefCell<Range<u64>>,
    /// Firmware has told of an external abort, and nobody has asked since.
    sea: Cell<bool>,
    /// How often it was asked.
    asked_for_sea: Cell<u64>,
    /// Allocations until one fails; 0 for never.
    fails: Cell<u64>,
    /// Those that come later fail as well.
    fails_on: Cell<bool>,
    allocations: Cell<u64>,
    /// A VM is dead: it will never run again, whatever the RMM has mapped for it.
    killed: Cell<bool>,
    tasks: RefCell<HashMap<ThreadId, Task>>,
    log: RefCell<Vec<String>>,
    /// Files in debugfs, by their paths.
    files: RefCell<BTreeMap<String, Contents>>,
    events: RefCell<Vec<Event>>,
    lacks: Cell<Option<Lacks>>,
    dump: Cell<u64>,
    fault_around: Cell<(u32, bool)>,
    /// No kernel will ever take over.
    kept: Cell<bool>,
    /// The component is not unloaded.
    stays: Cell<bool>,
    sleeps: Cell<u64>,
    rescheds: Cell<u64>,
    /// Something shared, to be looked at where tasks may change places.
    point: shuttle::sync::atomic::AtomicBool,
}

thread_local! {
    static MACHINE: RefCell<Option<Rc<Machine>>> = const { RefCell::new(None) };
}

/// The machine of the test that runs.
///
/// # Panics
///
/// None runs.
pub fn machine() -> Rc<Machine> {
    let machine = MACHINE.with(|machine| machine.borrow().clone());
    machine.expect("inside of machine::on()")
}

/// Runs `test` on a new machine with that firmware; inside of `shuttle`.
pub fn on<R>(firmware: impl Firmware + 'static, test: impl FnOnce(&Machine) -> R) -> R {
    let ram = firmware.ram().into_iter();
    let pages = |range: Range<u64>| range.step_by(GRANULE_SIZE as usize);
    let machine = Rc::new(Machine {
        firmware: Box::new(firmware),
        references: RefCell::default(),
        free: RefCell::new(ram.flat_map(pages).collect()),
        bad: RefCell::default(),
        offline: RefCell::new(0..0),
        sea: Cell::new(false),
        asked_for_sea: Cell::new(0),
        fails: Cell::new(0),
        fails_on: Cell::new(false),
        allocations: Cell::new(0),
        killed: Cell::new(false),
        tasks: RefCell::default(),
        log: RefCell::default(),
        files: RefCell::default(),
        events: RefCell::default(),
        lacks: Cell::new(None),
        dump: Cell::new(0),
        fault_around: Cell::new((4 * GRANULE_SIZE as u32, false)),
        kept: Cell::new(false),
        stays: Cell::new(false),
        sleeps: Cell::new(0),
        rescheds: Cell::new(0),
        point: shuttle::sync::atomic::AtomicBool::new(false),
    });
    MACHINE.with(|current| *current.borrow_mut() = Some(machine.clone()));
    let _end = End;
    test(&machine)
}

/// The machine and the process go with the test, however that ends.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        super::mm::forget();
        let machine = MACHINE.with(|current| current.borrow_mut().take());
        if let Some(machine) = machine.as_ref().filter(|_| std::thread::panicking()) {
            eprint!("{}", machine.log.borrow().concat());
        }
        drop(machine);
    }
}

/// The process that the test plays has ended.
pub fn forget_process() {
    super::mm::forget();
}

impl Machine {
    /// The firmware.
    pub fn firmware(&self) -> &dyn Firmware {
        &*self.firmware
    }

    /// Another task may run here.
    pub fn switch(&self) {
        let _ = self.point.load(core::sync::atomic::Ordering::Relaxed);
    }

    /// What takes far longer than anything the host does between two calls, now and then: others get on.
    pub(super) fn take_a_while(&self) {
        let mut random = shuttle::rand::thread_rng();
        let steps = match random.next_u64() % 8 {
            0 => 1 + random.next_u64() % 32,
            _ => 1,
        };
        (0..steps).for_each(|_| self.switch());
    }

    pub(super) fn smc(&self, args: &Regs) -> Regs {
        self.take_a_while();
        if args.x(0) == u64::from(Fid::GRANULE_RANGE_DELEGATE.raw()) {
            self.check_delegation(args.x(1)..args.x(2));
        }
        let results = self.firmware.smc(args);
        self.switch();
        results
    }

    /// A host delegates only what it has allocated and not delegated before. It must not rely on the RMM
    /// to say so if it does: one that passes over what is delegated already would not.
    fn check_delegation(&self, range: Range<u64>) {
        for pa in range.step_by(GRANULE_SIZE as usize) {
            let delegated = self.firmware.is_delegated(pa);
            assert!(!delegated, "{pa:#x} is delegated twice");
            let allocated = self.references.borrow().contains_key(&pa);
            assert!(allocated, "{pa:#x} is delegated and not allocated");
        }
    }

    /// A VM is dead.
    pub(super) fn kill(&self) {
        self.killed.set(true);
    }

    /// One of these pages of the host's that a realm can reach which may run.
    pub(super) fn reached(&self, pas: &[u64]) -> Option<u64> {
        match self.killed.get() {
            true => None,
            false => self.firmware.reached(pas),
        }
    }

    fn task<R>(&self, f: impl FnOnce(&mut Task) -> R) -> R {
        let me = shuttle::thread::current().id();
        f(self.tasks.borrow_mut().entry(me).or_default())
    }

    /// The current task has taken a spinning lock, or dropped it.
    pub(super) fn spinning(&self, is: bool) {
        self.task(|task| match is {
            true => task.spinning += 1,
            false => task.spinning -= 1,
        });
    }

    /// The current task is about to sleep, perhaps.
    #[track_caller]
    pub(super) fn may_sleep(&self, what: &str) {
        let spinning = self.task(|task| task.spinning);
        assert!(
            spinning == 0 || std::thread::panicking(),
            "{what} where a spinning lock is held"
        );
    }

    pub(super) fn signal_pending(&self) -> bool {
        self.task(|task| task.signal)
    }

    /// Sends task `id` a signal, which waits for ever.
    pub fn signal(&self, id: ThreadId) {
        self.tasks.borrow_mut().entry(id).or_default().signal = true;
    }

    /// Module parameters: bytes to map around a private fault at most, and whether the realm has to show
    /// that it uses them.
    pub fn set_fault_around(&self, bytes: u32, adaptive: bool) {
        self.fault_around.set((bytes, adaptive));
    }

    pub(super) fn fault_around(&self) -> u32 {
        self.fault_around.get().0
    }

    pub(super) fn fault_adaptive(&self) -> bool {
        self.fault_around.get().1
    }

    /// From now on the `n`th allocation fails, counted from 1; 0 for none.
    pub fn fail_allocation(&self, n: u64) {
        self.fails.set(n);
        self.fails_on.set(false);
        self.allocations.set(0);
    }

    /// From now on the `n`th allocation fails, and all that come later.
    pub fn fail_allocations_from(&self, n: u64) {
        self.fail_allocation(n);
        self.fails_on.set(true);
    }

    /// Allocations since [`Self::fail_allocation`].
    pub fn allocations(&self) -> u64 {
        self.allocations.get()
    }

    pub(super) fn allocate(&self) -> Result {
        self.may_sleep("an allocation");
        let number = self.allocations.get() + 1;
        self.allocations.set(number);
        let fails = match self.fails_on.get() {
            true => number >= self.fails.get(),
            false => number == self.fails.get(),
        };
        match fails {
            true => Err(ENOMEM),
            false => Ok(()),
        }
    }

    /// Allocates `1 << order` pages, aligned to their size, each with one reference.
    pub(super) fn alloc_pages(&self, order: u32) -> Result<u64> {
        self.allocate()?;
        let bytes = GRANULE_SIZE << order;
        let mut free = self.free.borrow_mut();
        let all = |base: u64| (base..base + bytes).step_by(GRANULE_SIZE as usize);
        let fits = |base: &u64| base % bytes == 0 && all(*base).all(|pa| free.contains(&pa));
        let base = free.iter().copied().find(fits).ok_or(ENOMEM)?;
        for pa in all(base) {
            free.remove(&pa);
            self.references.borrow_mut().insert(pa, 1);
        }
        Ok(base)
    }

    /// One more reference to a page.
    pub(super) fn get_page(&self, pa: u64) {
        let mut references = self.references.borrow_mut();
        *references.get_mut(&pa).expect("the page is free") += 1;
    }

    /// References to a page; 0 if it is free.
    pub fn references(&self, pa: u64) -> u32 {
        self.references.borrow().get(&pa).copied().unwrap_or(0)
    }

    /// One more reference to a page, unless it is free.
    pub(super) fn try_get_page(&self, pa: u64) -> bool {
        let mut references = self.references.borrow_mut();
        references.get_mut(&pa).map(|count| *count += 1).is_some()
    }

    /// One reference less.
    ///
    /// # Panics
    ///
    /// There was none; or it was the last, and the page is not the host's.
    pub(super) fn put_page(&self, pa: u64) {
        self.put_pages(&[pa]);
    }

    /// The same for many, once each.
    pub(super) fn put_pages(&self, pas: &[u64]) {
        let mut references = self.references.borrow_mut();
        let last = |pa: &u64| {
            let count = references.get_mut(pa).expect("the page is free");
            *count -= 1;
            *count == 0
        };
        let gone: Vec<u64> = pas.iter().copied().filter(last).collect();
        if std::thread::panicking() {
            return;
        }
        let reached = self.reached(&gone);
        assert_eq!(reached, None, "a page is freed, and a realm can reach it");
        for pa in gone {
            references.remove(&pa);
            assert!(
                !self.firmware.is_delegated(pa),
                "page {pa:#x} is freed, and the realm world has it"
            );
            // Who has a bad page keeps it from others at the end.
            assert!(self.is_bad(pa) || self.free.borrow_mut().insert(pa));
        }
    }

    /// This memory is there, and not online.
    pub fn set_offline(&self, range: Range<u64>) {
        self.offline.replace(range);
    }

    pub(super) fn next_online(&self, range: Range<u64>) -> u64 {
        let offline = self.offline.borrow();
        match offline.contains(&range.start) {
            true => offline.end.min(range.end),
            false => range.start,
        }
    }

    /// The host is told that a page is bad.
    pub fn poison(&self, pa: u64) {
        self.bad.borrow_mut().insert(pa);
    }

    /// How many pages the host has been told of.
    pub(super) fn bad_pages(&self) -> u64 {
        self.bad.borrow().len() as u64
    }

    pub(super) fn is_bad(&self, pa: u64) -> bool {
        self.bad.borrow().contains(&pa)
    }

    /// Firmware tells of an external abort: the host's RAS deals with it when it is asked next.
    pub fn tell_of_sea(&self) {
        self.sea.set(true);
    }

    pub(super) fn claim_sea(&self) -> bool {
        self.asked_for_sea.set(self.asked_for_sea.get() + 1);
        self.sea.take()
    }

    /// How often the host's RAS was asked for an external abort so far.
    pub fn asked_for_sea(&self) -> u64 {
        self.asked_for_sea.get()
    }

    /// True if nobody has the page.
    pub fn is_free(&self, pa: u64) -> bool {
        self.free.borrow().contains(&pa)
    }

    /// Pages that are not free.
    pub fn pages_in_use(&self) -> usize {
        self.references.borrow().len()
    }

    /// Writes a line to the log, which a test that fails shows.
    #[doc(hidden)]
    pub fn log(&self, line: core::fmt::Arguments<'_>) {
        self.log.borrow_mut().push(line.to_string());
    }

    /// The machine does not have that, from now on.
    pub fn lack(&self, what: Option<Lacks>) {
        self.lacks.set(what);
    }

    pub(super) fn lacks(&self) -> Option<Lacks> {
        self.lacks.get()
    }

    pub(super) fn set_dump(&self, list: u64) {
        self.dump.set(list);
    }

    /// Where a crash kernel begins to look for realms, or 0.
    pub fn dump(&self) -> u64 {
        self.dump.get()
    }

    pub(super) fn keep(&self) {
        self.kept.set(true);
    }

    pub(super) fn stay_loaded(&self) {
        self.stays.set(true);
    }

    /// True if the component cannot be unloaded.
    pub fn stays_loaded(&self) -> bool {
        self.stays.get()
    }

    /// True if no other kernel can take over as long as the machine is not reset.
    pub fn is_kept(&self) -> bool {
        self.kept.get()
    }

    pub(super) fn sleep(&self) {
        self.sleeps.set(self.sleeps.get() + 1);
    }

    /// How often a task has slept for a millisecond so far.
    pub fn sleeps(&self) -> u64 {
        self.sleeps.get()
    }

    pub(super) fn resched(&self) {
        self.rescheds.set(self.rescheds.get() + 1);
    }

    /// How often a task has let others run so far.
    pub fn rescheds(&self) -> u64 {
        self.rescheds.get()
    }

    pub(super) fn add_file(&self, path: String, contents: Contents) {
        self.files.borrow_mut().insert(path, contents);
    }

    /// Removes the files whose paths begin so.
    pub(super) fn remove_files(&self, path: &str) {
        let mut files = self.files.borrow_mut();
        let gone: Vec<_> = files
            .extract_if(.., |name, _| name.starts_with(path))
            .collect();
        drop(files);
        drop(gone);
    }

    /// Reads the file in debugfs whose path begins and ends so; `None` if there is none.
    pub fn read_file(&self, begin: &str, end: &str) -> Option<String> {
        let files = self.files.borrow();
        let mut files = files.iter();
        let file = files.find(|(path, _)| path.starts_with(begin) && path.ends_with(end));
        let contents = file.map(|(_, contents)| contents.clone());
        contents.map(|contents| contents())
    }

    pub(super) fn hear(&self, event: Event) {
        self.events.borrow_mut().push(event);
    }

    /// The events since this was asked for last.
    pub fn events(&self) -> Vec<Event> {
        self.events.take()
    }

    /// How many lines of the log have this in them.
    pub fn told(&self, what: &str) -> usize {
        let log = self.log.borrow();
        log.iter().filter(|line| line.contains(what)).count()
    }

    /// The log.
    pub fn lines(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}
