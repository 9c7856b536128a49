// SPDX-License-Identifier: GPL-2.0

//! How a call reaches the RMM, and the memory that a call may point to.

use super::{Counts, Dialect, Fid, PhysAddr};

/// Number of registers in an SMCCC 1.2 call: x0..x17.
pub const NREGS: usize = 18;

/// The registers of a call, x0 first: the function and its arguments going in, the results coming
/// back. Laid out as `struct arm_smccc_1_2_regs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Regs(pub [u64; NREGS]);

impl Regs {
    /// The call `x0, args...`; registers without an argument are 0.
    pub fn new(x0: u64, args: &[u64]) -> Self {
        let mut regs = Self::default();
        let [function, rest @ ..] = &mut regs.0;
        *function = x0;
        for (reg, value) in rest.iter_mut().zip(args) {
            *reg = *value;
        }
        regs
    }

    /// Register `n`. Numbers past the block read as 0.
    pub fn x(&self, n: usize) -> u64 {
        self.0.get(n).copied().unwrap_or(0)
    }
}

/// What a command returns: x0 to x4, as no command has results in more registers than that.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Results([u64; 5]);

impl Results {
    /// Those among the registers that a call left.
    pub(super) fn of(regs: &Regs) -> Self {
        let [x0, x1, x2, x3, x4, ..] = &regs.0;
        Self([*x0, *x1, *x2, *x3, *x4])
    }

    /// Register `n`. Numbers past the last result read as 0.
    pub(super) fn x(&self, n: usize) -> u64 {
        self.0.get(n).copied().unwrap_or(0)
    }
}

/// The way to the RMM. The kernel's is the SMC instruction, that of a host test a model of the RMM.
pub trait Conduit {
    /// Makes the call in `args` and returns what the RMM left in the registers.
    ///
    /// The RMM reads and writes the physical memory that the arguments name. Whoever builds an
    /// argument answers for that memory; the typed wrappers in [`super::cmd`] do, and the rest of
    /// the project calls nothing else.
    fn smc(&self, args: &Regs) -> Regs;

    /// Called between two tries of a call that the RMM could not serve yet, and between the parts
    /// of a long range. May sleep, where the conduit's maker may.
    fn pause(&self) {}

    /// Called between two tries of a call that waits for an operation which somebody else has to end:
    /// sleeps a little, where the conduit's maker may.
    fn wait(&self) {}

    /// False where a lock is held that spins: who is told BLOCKED gets that back at once, to wait without
    /// the lock.
    fn may_wait(&self) -> bool {
        true
    }

    /// False if it was waited for this command in vain: it is tried, and not waited for. What takes a realm
    /// apart makes as many calls as the realm has tables, and must come to an end if none is served.
    fn is_patient(&self, _fid: Fid) -> bool {
        true
    }

    /// It was waited for this command in vain, or it is served again.
    fn set_patience(&self, _fid: Fid, _patient: bool) {}

    /// False if the RMM must not be asked this, see [`super::Error::Withheld`].
    fn may_ask(&self, _fid: Fid, _args: &[u64]) -> bool {
        true
    }

    /// What is known of how the RMM behind this wants things put.
    fn dialect(&self) -> &Dialect;

    /// Hands `note` each set of counters that keeps account of what goes this way.
    fn count(&self, note: impl Fn(&Counts));
}

/// One granule of ordinary host memory that the RMM may read or write during a call.
pub trait SharedPage {
    /// Where the granule is: granule aligned, Non-secure, and nobody else's.
    fn pa(&self) -> PhysAddr;

    /// Writes a 64-bit word at byte `offset`, a multiple of 8 below the granule size.
    fn write(&mut self, offset: usize, value: u64);

    /// Reads the 64-bit word at byte `offset`, a multiple of 8 below the granule size.
    fn read(&self, offset: usize) -> u64;
}
