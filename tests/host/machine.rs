// SPDX-License-Identifier: GPL-2.0

//! A host on the machine in memory that the embedded RMM's own tests run on: its page allocator,
//! its SMC, and the pages that it shows to the RMM.

use crate::rmm_machine::{pa, Machine, Pas, RAM_TOP};
use kvm_arm_rmi::rmi::cmd::rmm::Version;
use kvm_arm_rmi::rmi::{
    negotiate,
    AddrRange,
    Conduit,
    Counts,
    Dialect,
    Fid,
    GranuleRange,
    Pages,
    PhysAddr,
    Regs,
    Rmi,
    SharedPage,
    Undelegated,
    GRANULE_SIZE, //
};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

/// What is done instead of a call, with its registers and with what the RMM would do about it.
type Instead = Box<dyn FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs>;

/// Addresses of granules.
type Granules = Rc<RefCell<BTreeSet<u64>>>;

/// The SMC instruction of the machine.
pub(crate) struct Smc {
    machine: Rc<Machine>,
    counts: Counts,
    dialect: Dialect,
    instead: RefCell<Option<Instead>>,
    free: Granules,
}

impl Smc {
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// From now on calls are made by `instead`.
    pub(crate) fn replace(
        &self,
        instead: impl FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs + 'static,
    ) {
        *self.instead.borrow_mut() = Some(Box::new(instead));
    }

    /// A host delegates only what it has allocated and not delegated before. It must not rely on the RMM
    /// to say so if it does: one that passes over what is delegated already would not.
    #[track_caller]
    fn check_delegation(&self, range: Range<u64>) {
        for pa in range.step_by(GRANULE_SIZE as usize) {
            let pas = self.machine.fake().pas(pa);
            assert_eq!(pas, Pas::NonSecure, "{pa:#x} is delegated twice");
            let free = self.free.borrow().contains(&pa);
            assert!(!free, "{pa:#x} is delegated and not allocated");
        }
    }
}

impl Conduit for Smc {
    fn smc(&self, args: &Regs) -> Regs {
        if args.x(0) == u64::from(Fid::GRANULE_RANGE_DELEGATE.raw()) {
            self.check_delegation(args.x(1)..args.x(2));
        }
        if args.x(0) == u64::from(Fid::GRANULE_DELEGATE.raw()) {
            self.check_delegation(args.x(1)..args.x(1) + GRANULE_SIZE);
        }
        let rmm = |args: &Regs| {
            let mut regs = *args;
            self.machine.rmm.handle(&mut regs);
            regs
        };
        match &mut *self.instead.borrow_mut() {
            Some(instead) => instead(args, &rmm),
            None => rmm(args),
        }
    }

    fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    fn count(&self, note: impl Fn(&Counts)) {
        note(&self.counts);
    }
}

/// A host.
pub(crate) struct Host {
    pub(crate) machine: Rc<Machine>,
    pub(crate) rmi: Rmi<Smc>,
    free: Granules,
    total: usize,
    /// Allocations so far, and those that fail.
    allocations: Cell<u64>,
    fail: RefCell<Vec<u64>>,
}

impl Host {
    /// A host whose RMM is active. Its memory is what is above the RMM's own.
    pub(crate) fn new() -> Self {
        let machine = Rc::new(Machine::active());
        let free: BTreeSet<u64> = (pa(512)..RAM_TOP).step_by(GRANULE_SIZE as usize).collect();
        let total = free.len();
        let free = Rc::new(RefCell::new(free));
        Self {
            rmi: Rmi::new(Smc {
                machine: machine.clone(),
                counts: Counts::new(),
                dialect: Dialect::new(),
                instead: RefCell::new(None),
                free: free.clone(),
            }),
            machine,
            total,
            free,
            allocations: Cell::new(0),
            fail: RefCell::default(),
        }
    }

    /// A host whose RMM speaks `dialect`.
    pub(crate) fn speaking(dialect: rmm::rmi::Dialect) -> Self {
        let host = Self::new();
        host.machine.rmm.speak(dialect);
        if dialect == rmm::rmi::Dialect::V1 {
            // The host has to know.
            let mut page = host.page();
            let agreed = negotiate(&host.rmi, &mut page).expect("RMI 1.0");
            assert_eq!(agreed.version, Version::V1_0);
            host.put(page);
        }
        host
    }

    /// From now on these allocations fail, by their numbers.
    pub(crate) fn fail(&self, allocations: impl IntoIterator<Item = u64>) {
        self.fail.replace(allocations.into_iter().collect());
    }

    /// Something is allocated. False if that fails.
    pub(crate) fn may_allocate(&self) -> bool {
        let number = self.allocations.get();
        self.allocations.set(number + 1);
        !self.fail.borrow().contains(&number)
    }

    /// Allocations so far, of pages and in tables.
    pub(crate) fn allocations(&self) -> u64 {
        self.allocations.get()
    }

    /// Granules that are allocated.
    pub(crate) fn allocated(&self) -> usize {
        self.total - self.free.borrow().len()
    }

    /// A zeroed page that the RMM may look into.
    pub(crate) fn page(&self) -> Page {
        self.try_page().expect("memory")
    }

    /// The same, if there is memory.
    pub(crate) fn try_page(&self) -> Option<Page> {
        let page = self.alloc(0)?.into_range();
        let pa = page.base();
        self.machine.fake().host_write(pa.raw(), &[0; 512]);
        Some(Page {
            machine: self.machine.clone(),
            pa,
        })
    }

    /// Frees a page.
    pub(crate) fn put(&self, page: Page) {
        self.free.borrow_mut().insert(page.pa.raw());
    }

    /// Granules that are delegated, and leaked.
    pub(crate) fn counts(&self) -> (u64, u64) {
        let counts = self.rmi.conduit().counts();
        (counts.delegated(), counts.leaked())
    }

    /// Commands that failed.
    pub(crate) fn failed(&self) -> Vec<(String, u64)> {
        let commands = self.rmi.conduit().counts().commands();
        let failed = commands.filter(|(.., errors)| *errors != 0);
        failed
            .map(|(fid, _, errors)| (fid.to_string(), errors))
            .collect()
    }

    /// Nothing is delegated, leaked or allocated.
    #[track_caller]
    pub(crate) fn assert_idle(&self) {
        let counts = self.rmi.conduit().counts();
        assert_eq!((counts.delegated(), counts.leaked()), (0, 0));
        assert_eq!(self.machine.fake().realm_granules(), 0);
        assert_eq!(self.allocated(), 0);
    }
}

impl Pages for Host {
    fn alloc(&self, order: u32) -> Option<GranuleRange<Undelegated>> {
        if !self.may_allocate() {
            return None;
        }
        let bytes = GRANULE_SIZE << order;
        let mut free = self.free.borrow_mut();
        let is_free = |base: &u64| {
            base % bytes == 0
                && (*base..base + bytes)
                    .step_by(4096)
                    .all(|pa| free.contains(&pa))
        };
        let base = free.iter().copied().find(is_free)?;
        for pa in (base..base + bytes).step_by(4096) {
            free.remove(&pa);
        }
        let range = AddrRange::new(PhysAddr::new(base), PhysAddr::new(base + bytes));
        // SAFETY: The memory is the fake machine's, and it was free.
        range.map(|range| unsafe { GranuleRange::new(range) })
    }

    fn free(&self, granules: GranuleRange<Undelegated>) {
        let range = granules.into_range();
        for pa in (range.base().raw()..range.top().raw()).step_by(4096) {
            assert_eq!(
                self.machine.fake().pas(pa),
                Pas::NonSecure,
                "{pa:#x} faults"
            );
            assert!(self.free.borrow_mut().insert(pa), "{pa:#x} is free");
        }
    }
}

/// A page of the host.
pub(crate) struct Page {
    machine: Rc<Machine>,
    pa: PhysAddr,
}

impl SharedPage for Page {
    fn pa(&self) -> PhysAddr {
        self.pa
    }

    fn write(&mut self, offset: usize, value: u64) {
        let mut data = self.machine.fake().data(self.pa.raw());
        data[offset / 8] = value;
        self.machine.fake().host_write(self.pa.raw(), &data);
    }

    fn read(&self, offset: usize) -> u64 {
        self.machine.fake().data(self.pa.raw())[offset / 8]
    }
}
