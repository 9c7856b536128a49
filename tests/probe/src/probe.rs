// SPDX-License-Identifier: GPL-2.0

//! The probe: makes calls, prints them, and keeps account of granules.

use kvm_arm_rmi::rmi::{Conduit, Fid, Regs, ReturnCode, Status, GRANULE_SIZE};

use crate::arch::Smc;
use crate::console::say;
use crate::gic;
use crate::memory::{self, Pool, BLOCK_PAGES, BLOCK_SIZE};
use crate::names::Names;
use crate::params::{run, Change};
use crate::show::{reason, Call, Code};

/// What is put in the registers that no command takes an argument in.
const CANARY: u64 = 0x5afe_5afe_5afe_5afe;
/// The first register that no command takes an argument in, nor gives a result in.
const FIRST_SPARE: usize = 8;

/// The probe.
pub(crate) struct Probe {
    /// Names of addresses and handles.
    pub(crate) names: Names,
    /// The memory to give to the RMM.
    pub(crate) pool: Pool,
    /// The RMM speaks RMI 1.0.
    pub(crate) v1: bool,
    title: &'static str,
    calls: u32,
    spilled: u32,
}

impl Probe {
    /// A probe that has not called anything.
    pub(crate) const fn new() -> Self {
        Self {
            names: Names::new(),
            pool: Pool::new(),
            v1: false,
            title: "",
            calls: 0,
            spilled: 0,
        }
    }

    /// Begins a part of the walk, with nothing left of the one before.
    pub(crate) fn begin(&mut self, title: &'static str) {
        if !self.title.is_empty() {
            say!("");
        }
        say!("# {title}");
        self.title = title;
        self.begin_quietly();
    }

    /// The same without a line.
    pub(crate) fn begin_quietly(&mut self) {
        self.names.reset();
        self.pool.reset();
    }

    /// Ends a part of the walk: every granule has to come back.
    pub(crate) fn end(&mut self) {
        let mut leaked = 0;
        for page in self.pool.outstanding() {
            if !self.undelegate(page) {
                leaked += 1;
                say!("leaked: {}", self.names.address(page));
            }
        }
        assert!(leaked == 0, "{}: {leaked} granules leaked", self.title);
    }

    /// Prints a line that says what the next ones are about.
    pub(crate) fn about(&self, text: &str) {
        say!("## {text}");
    }

    /// Prints the totals.
    pub(crate) fn finish(&self) {
        say!("");
        say!("calls: {}", self.calls);
        say!(
            "calls that changed registers without results: {}",
            self.spilled
        );
        say!("granules delegated: {}", self.pool.given);
        say!("granules undelegated: {}", self.pool.returned);
    }

    /// Makes a call and prints it.
    pub(crate) fn call(&mut self, fid: Fid, args: &[u64]) -> Regs {
        self.call_noted(fid, args, "")
    }

    /// Makes a call and prints it with a note on what is in memory.
    pub(crate) fn call_noted(&mut self, fid: Fid, args: &[u64], note: &str) -> Regs {
        let regs = self.smc(fid, args);
        let number = self.number();
        let call = Call {
            fid,
            args,
            note,
            regs: &regs,
            names: &self.names,
        };
        say!("{number:04} {call}");
        regs
    }

    /// The number of the next line.
    pub(crate) fn number(&mut self) -> u32 {
        self.calls += 1;
        self.calls
    }

    /// Makes a call for each set of arguments.
    pub(crate) fn each<const N: usize>(&mut self, fid: Fid, table: &[[u64; N]]) {
        for args in table {
            self.call(fid, args);
        }
    }

    /// Makes the same call for each of the changes to the structure in `page`, one at a time.
    pub(crate) fn each_change(&mut self, fid: Fid, args: &[u64], page: u64, changes: &[Change]) {
        for (note, offset, value) in changes {
            let before = memory::read(page + offset);
            memory::write(page + offset, *value);
            self.call_noted(fid, args, note);
            memory::write(page + offset, before);
        }
    }

    /// Makes a call that has to succeed, without printing it.
    pub(crate) fn must(&mut self, fid: Fid, args: &[u64]) -> Regs {
        let regs = self.smc(fid, args);
        let code = ReturnCode::new(regs.x(0));
        assert!(
            code.status() == Status::Success,
            "{}: preparation failed: {} {args:x?}: {}",
            self.title,
            fid.name(),
            Code(code)
        );
        regs
    }

    /// Makes a call. An interrupt is no news: a REC that exited for one is entered again.
    pub(crate) fn smc(&mut self, fid: Fid, args: &[u64]) -> Regs {
        let mut input = Regs::new(fid.raw().into(), args);
        input.0[FIRST_SPARE..].fill(CANARY);
        loop {
            let regs = Smc.smc(&input);
            if regs.0[FIRST_SPARE..] != input.0[FIRST_SPARE..] {
                self.spilled += 1;
            }
            self.account(fid, args, &regs);
            if fid == Fid::REC_ENTER && regs.x(0) == 0 {
                let run = args[1];
                let interrupted = memory::read(run + run::REASON) == reason::IRQ;
                memory::write(run + run::FLAGS, 0);
                if interrupted {
                    gic::acknowledge();
                    continue;
                }
            }
            return regs;
        }
    }

    /// Keeps account of granules, and of operations that have begun.
    fn account(&mut self, fid: Fid, args: &[u64], regs: &Regs) {
        let pages = || {
            let top = regs.x(1);
            let inside = args[0] < top && top <= args[1];
            assert!(inside, "{}: {args:x?}: done up to {top:#x}", fid.name());
            (args[0]..top).step_by(GRANULE_SIZE as usize)
        };
        match (fid, ReturnCode::new(regs.x(0)).status()) {
            (Fid::GRANULE_RANGE_DELEGATE, Status::Success) => {
                pages().for_each(|page| self.pool.give(page));
            }
            (Fid::GRANULE_RANGE_UNDELEGATE, Status::Success) => {
                pages().for_each(|page| self.pool.take_back(page));
            }
            (Fid::GRANULE_DELEGATE, Status::Success) => self.pool.give(args[0]),
            (Fid::GRANULE_UNDELEGATE, Status::Success) => self.pool.take_back(args[0]),
            (fid, Status::Incomplete) if !is_continuation(fid) => self.names.add_handle(regs.x(1)),
            _ => {}
        }
    }

    /// A page that the RMM does not have, zeroed.
    pub(crate) fn page(&mut self, name: &'static str) -> u64 {
        self.pages(name, 1)
    }

    /// Pages that the RMM does not have, zeroed.
    pub(crate) fn pages(&mut self, name: &'static str, count: u64) -> u64 {
        let base = self.pool.take(count, GRANULE_SIZE);
        self.names.add(name, base, count, GRANULE_SIZE);
        for n in 0..count {
            memory::fill(base + n * GRANULE_SIZE, 0);
        }
        base
    }

    /// A granule that the RMM has.
    pub(crate) fn granule(&mut self, name: &'static str) -> u64 {
        self.granules(name, 1)
    }

    /// Granules that the RMM has.
    pub(crate) fn granules(&mut self, name: &'static str, count: u64) -> u64 {
        let base = self.pages(name, count);
        self.delegate(base, count);
        base
    }

    /// Level 2 blocks that the RMM does not have.
    pub(crate) fn blocks(&mut self, name: &'static str, count: u64) -> u64 {
        let base = self.pool.take(count * BLOCK_PAGES, BLOCK_SIZE);
        self.names.add(name, base, count, BLOCK_SIZE);
        base
    }

    /// Gives pages to the RMM.
    pub(crate) fn delegate(&mut self, base: u64, count: u64) {
        let top = base + count * GRANULE_SIZE;
        let mut at = base;
        while at < top && self.v1 {
            self.must(Fid::GRANULE_DELEGATE, &[at]);
            at += GRANULE_SIZE;
        }
        while at < top {
            at = self.must(Fid::GRANULE_RANGE_DELEGATE, &[at, top]).x(1);
        }
    }

    /// Takes a page back. Returns false if the RMM keeps it.
    pub(crate) fn undelegate(&mut self, page: u64) -> bool {
        let regs = match self.v1 {
            true => self.smc(Fid::GRANULE_UNDELEGATE, &[page]),
            false => self.smc(Fid::GRANULE_RANGE_UNDELEGATE, &[page, page + GRANULE_SIZE]),
        };
        regs.x(0) == 0
    }
}

/// True if the command goes on with an operation instead of beginning one.
pub(crate) fn is_continuation(fid: Fid) -> bool {
    matches!(
        fid,
        Fid::OP_CONTINUE | Fid::OP_CANCEL | Fid::OP_MEM_DONATE | Fid::OP_MEM_RECLAIM
    )
}
