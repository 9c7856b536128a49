// SPDX-License-Identifier: GPL-2.0

//! An RMM that answers as a test tells it, and memory for it to look into.

use kvm_arm_rmi::rmi::{Conduit, Counts, Dialect, Fid, PhysAddr, Regs, Rmi, SharedPage, Status};
use std::cell::{Cell, RefCell};

/// Answers every call by a closure that gets the registers of the call.
pub(crate) struct Fake<F> {
    answer: RefCell<F>,
    pauses: Cell<u64>,
    waits: Cell<u64>,
    counts: Counts,
    dialect: Dialect,
}

impl<F> Fake<F> {
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How often an operation of somebody else's was waited for.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.get()
    }

    /// How often others could run.
    pub(crate) fn pauses(&self) -> u64 {
        self.pauses.get()
    }
}

impl<F: FnMut(Fid, &Regs) -> Regs> Conduit for Fake<F> {
    fn smc(&self, args: &Regs) -> Regs {
        let fid = Fid::from_raw(u32::try_from(args.x(0)).expect("a function identifier is 32 bit"));
        (self.answer.borrow_mut())(fid, args)
    }

    fn pause(&self) {
        self.pauses.set(self.pauses.get() + 1);
    }

    fn wait(&self) {
        self.waits.set(self.waits.get() + 1);
    }

    fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    fn count(&self, note: impl Fn(&Counts)) {
        note(&self.counts);
    }
}

/// The host's end of an RMM that answers by `answer`.
pub(crate) fn rmm<F: FnMut(Fid, &Regs) -> Regs>(answer: F) -> Rmi<Fake<F>> {
    Rmi::new(Fake {
        answer: RefCell::new(answer),
        pauses: Cell::new(0),
        waits: Cell::new(0),
        counts: Counts::new(),
        dialect: Dialect::new(),
    })
}

/// An answer that is only a status.
pub(crate) fn status(status: Status) -> Regs {
    Regs::new(status.raw().into(), &[])
}

/// SUCCESS with results from x1 on.
pub(crate) fn success(results: &[u64]) -> Regs {
    Regs::new(0, results)
}

/// What EL3 says to a function that it does not know.
pub(crate) fn not_forwarded() -> Regs {
    Regs::new(u64::MAX, &[])
}

/// INCOMPLETE with a memory request (0 none, 1 donate, 2 reclaim), cancellable or not.
pub(crate) fn incomplete(request: u64, can_cancel: bool, handle: u64) -> Regs {
    let x0 = u64::from(Status::Incomplete.raw()) | (request << 8) | (u64::from(can_cancel) << 10);
    Regs::new(x0, &[handle])
}

/// A page that only the host looks into.
pub(crate) struct Page(pub(crate) [u64; 512]);

impl Page {
    pub(crate) fn new() -> Self {
        Self([0; 512])
    }
}

impl SharedPage for Page {
    fn pa(&self) -> PhysAddr {
        PhysAddr::new(0x8000_0000)
    }

    fn write(&mut self, offset: usize, value: u64) {
        self.0[offset / 8] = value;
    }

    fn read(&self, offset: usize) -> u64 {
        self.0[offset / 8]
    }
}
