// SPDX-License-Identifier: GPL-2.0

//! SMC calls.

use super::{machine::machine, platform::Lacks};
use crate::rmi::Regs;

/// The SMC instruction.
#[derive(Debug)]
pub struct Smc(());

impl Smc {
    /// The instruction.
    pub fn new() -> Option<Self> {
        (machine().lacks() != Some(Lacks::Smc)).then_some(Self(()))
    }

    /// Makes a call.
    pub fn call(&self, args: &Regs, _realm: impl FnOnce() -> u64) -> Regs {
        machine().smc(args)
    }
}
