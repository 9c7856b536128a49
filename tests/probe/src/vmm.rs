// SPDX-License-Identifier: GPL-2.0

//! What a host does for the workers: runs a REC, and does for each exit what it calls for.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use kvm_arm_rmi::rmi::{Conduit, Fid, Regs, ReturnCode, Status, GRANULE_SIZE};
use realm_payload::{fid, work, RECS};

use crate::arch::Smc;
use crate::descriptor::{MapFlags, Range};
use crate::gic;
use crate::memory;
use crate::params::{run, Shape};
use crate::show::{reason, Code, Exit};
use crate::smp::{self, Job};
use crate::tally::{count, TALLY};
use crate::v1;
use crate::world::{Realm, Rec};

/// What all CPUs need to know of the realm that they run. It changes only while they are idle.
pub(crate) struct Machine {
    /// The number of the round.
    pub(crate) round: AtomicU64,
    /// The RMM speaks RMI 1.0.
    v1: AtomicBool,
    /// The realm's descriptor.
    rd: AtomicU64,
    /// The RECs.
    recs: [AtomicU64; RECS],
    /// Their run pages.
    runs: [AtomicU64; RECS],
    /// The granule that each REC can spare.
    spares: [AtomicU64; RECS],
    /// What each emulated register holds.
    registers: [AtomicU64; RECS],
}

/// The machine.
pub(crate) static MACHINE: Machine = Machine {
    round: AtomicU64::new(0),
    v1: AtomicBool::new(false),
    rd: AtomicU64::new(0),
    recs: [const { AtomicU64::new(0) }; RECS],
    runs: [const { AtomicU64::new(0) }; RECS],
    spares: [const { AtomicU64::new(0) }; RECS],
    registers: [const { AtomicU64::new(0) }; RECS],
};

impl Machine {
    /// Puts in a realm with its RECs, of which each has a page to spare from `spares` on.
    pub(crate) fn load(&self, v1: bool, realm: Realm, recs: &[Rec], spares: u64) {
        self.v1.store(v1, Ordering::Relaxed);
        self.rd.store(realm.rd, Ordering::Relaxed);
        for (index, rec) in recs.iter().enumerate() {
            let spare = spares + index as u64 * GRANULE_SIZE;
            self.recs[index].store(rec.rec, Ordering::Relaxed);
            self.runs[index].store(rec.run, Ordering::Relaxed);
            self.spares[index].store(spare, Ordering::Relaxed);
        }
    }
}

/// First IPA of the unprotected half.
const UNPROTECTED: u64 = Shape::USUAL.unprotected();

/// Runs the REC of this number until it is off.
pub(crate) fn run(index: usize) {
    let cpu = Cpu::new(index);
    gic::reset_virtual();
    while cpu.enter() && cpu.handle() {}
}

/// Enters the REC of this number until it exits for something else than an interrupt.
pub(crate) fn enter_once(index: usize) {
    let cpu = Cpu::new(index);
    gic::reset_virtual();
    while cpu.enter() && cpu.get(run::REASON) == reason::IRQ {
        gic::acknowledge();
    }
}

/// A CPU and its REC.
struct Cpu {
    index: usize,
    v1: bool,
    rd: u64,
    rec: u64,
    run: u64,
}

impl Cpu {
    fn new(index: usize) -> Self {
        Self {
            index,
            v1: MACHINE.v1.load(Ordering::Relaxed),
            rd: MACHINE.rd.load(Ordering::Relaxed),
            rec: MACHINE.recs[index].load(Ordering::Relaxed),
            run: MACHINE.runs[index].load(Ordering::Relaxed),
        }
    }

    fn get(&self, offset: u64) -> u64 {
        memory::read(self.run + offset)
    }

    fn set(&self, offset: u64, value: u64) {
        memory::write(self.run + offset, value);
    }

    /// Makes a call until the RMM is not busy.
    fn call(&self, fid: Fid, args: &[u64]) -> Regs {
        loop {
            let regs = Smc.smc(&Regs::new(fid.raw().into(), args));
            if ReturnCode::new(regs.x(0)).status() != Status::Busy {
                return regs;
            }
        }
    }

    /// Makes a call that has to succeed.
    fn must(&self, fid: Fid, args: &[u64]) -> Regs {
        let regs = self.call(fid, args);
        let code = Code(ReturnCode::new(regs.x(0)));
        assert!(regs.x(0) == 0, "{} {args:x?}: {code}", fid.name());
        regs
    }

    /// Enters the REC. Returns false if its realm is off.
    fn enter(&self) -> bool {
        gic::enable_virtual();
        let regs = self.call(Fid::REC_ENTER, &[self.rec, self.run]);
        self.set(run::FLAGS, 0);
        let code = ReturnCode::new(regs.x(0));
        let off = code.status() == Status::ErrorRealm;
        assert!(off || regs.x(0) == 0, "REC_ENTER: {}", Code(code));
        if self.v1 && !off {
            v1::keep_list_registers(self.run);
        }
        !off
    }

    /// Does what the exit calls for. Returns false if the REC is off.
    fn handle(&self) -> bool {
        /// CNTV_CTL_EL0: enabled, not masked, and due.
        const DUE: u64 = 1 | 1 << 2;
        if self.get(run::CNTV_CTL) == DUE && self.inject_timer() {
            count(&TALLY.interrupts);
        }
        match self.get(run::REASON) {
            reason::IRQ => gic::acknowledge(),
            reason::SYNC => self.abort(),
            reason::HOST_CALL => self.host_call(),
            reason::RIPAS => self.ripas_change(),
            reason::PSCI => return self.psci(),
            _ => panic!("REC {}: {}", self.index, Exit(self.run)),
        }
        true
    }

    /// Makes the timer's interrupt pending for the REC, unless it is already. Returns whether it did.
    fn inject_timer(&self) -> bool {
        match self.v1 {
            true => v1::inject_timer(self.run),
            false => gic::inject_timer(),
        }
    }

    fn host_call(&self) {
        count(&TALLY.calls);
        let [first, second] = [0, 8].map(|offset| self.get(run::EXIT_GPRS + offset));
        let answer = match self.get(run::IMM) {
            work::START => MACHINE.round.load(Ordering::Relaxed),
            work::ECHO => !first,
            work::REPORT => {
                for (bit, worked) in TALLY.worked.iter().enumerate() {
                    worked.fetch_add(second >> bit & 1, Ordering::Relaxed);
                }
                0
            }
            imm => panic!("REC {}: host call {imm:#x}", self.index),
        };
        self.set(run::ENTER_GPRS, answer);
    }

    /// The realm gives its spare page up, or wants it back. In the first case the host takes it; in
    /// the second, it waits until the page is touched.
    fn ripas_change(&self) {
        const EMPTY: u64 = 0;
        count(&TALLY.ripas);
        let [base, top] = [run::RIPAS_BASE, run::RIPAS_TOP].map(|offset| self.get(offset));
        let mut at = base;
        while at < top {
            at = self
                .must(Fid::RTT_SET_RIPAS, &[self.rd, self.rec, at, top])
                .x(1);
        }
        if self.get(run::RIPAS_VALUE) == EMPTY {
            let page = match self.v1 {
                true => self.must(Fid::DATA_DESTROY, &[self.rd, base]).x(1),
                false => {
                    let unmap = [self.rd, base, top, MapFlags::SINGLE.0, 0];
                    Range(self.must(Fid::RTT_DATA_UNMAP, &unmap).x(2)).base()
                }
            };
            assert!(page == self.spare(), "another page came back");
            match self.v1 {
                true => self.must(Fid::GRANULE_UNDELEGATE, &[page]),
                false => self.must(Fid::GRANULE_RANGE_UNDELEGATE, &[page, page + GRANULE_SIZE]),
            };
        }
    }

    fn spare(&self) -> u64 {
        MACHINE.spares[self.index].load(Ordering::Relaxed)
    }

    /// An access to the spare page, or to an emulated register.
    fn abort(&self) {
        const ISV: u64 = 1 << 24;
        const WRITE: u64 = 1 << 6;
        let esr = self.get(run::ESR);
        let ipa = self.get(run::HPFAR) << 8;
        let device = UNPROTECTED + work::DEVICE;
        if ipa == work::SPARE + self.index as u64 * GRANULE_SIZE {
            count(&TALLY.faults);
            count(&TALLY.moved);
            let page = self.spare();
            if self.v1 {
                self.must(Fid::GRANULE_DELEGATE, &[page]);
                self.must(Fid::DATA_CREATE_UNKNOWN, &[self.rd, page, ipa]);
                return;
            }
            let range = Range::pages(page, 1).0;
            self.must(Fid::GRANULE_RANGE_DELEGATE, &[page, page + GRANULE_SIZE]);
            let map = [self.rd, ipa, ipa + GRANULE_SIZE, MapFlags::SINGLE.0, range];
            self.must(Fid::RTT_DATA_MAP, &map);
        } else if ipa == device && esr & ISV != 0 {
            count(&TALLY.emulated);
            // Each REC has a register of 8 bytes.
            let register = &MACHINE.registers[self.get(run::FAR) as usize / 8 % RECS];
            if esr & WRITE != 0 {
                register.store(self.get(run::EXIT_GPRS), Ordering::Relaxed);
            } else {
                self.set(run::ENTER_GPRS, register.load(Ordering::Relaxed) + 1);
            }
            self.set(run::FLAGS, run::EMULATED);
        } else {
            panic!("REC {}: {}", self.index, Exit(self.run));
        }
    }

    /// A PSCI call. Returns false if it turned the REC off.
    fn psci(&self) -> bool {
        const SUCCESS: u64 = 0;
        match self.get(run::EXIT_GPRS) {
            fid::CPU_ON => {
                count(&TALLY.turned_on);
                let index = self.get(run::EXIT_GPRS + 8) as usize;
                let target = MACHINE.recs[index].load(Ordering::Relaxed);
                self.must(Fid::PSCI_COMPLETE, &[self.rec, target, SUCCESS]);
                smp::give(index, Job::Run);
                true
            }
            fid::CPU_OFF => false,
            fid::SYSTEM_OFF => {
                count(&TALLY.turned_off);
                false
            }
            _ => panic!("REC {}: {}", self.index, Exit(self.run)),
        }
    }
}
