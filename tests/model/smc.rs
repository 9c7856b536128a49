// SPDX-License-Identifier: GPL-2.0

//! SMC calls.

use super::machine::machine;
use crate::rmi::Regs;

/// The SMC instruction.
#[derive(Debug)]
pub struct Smc(());

impl Smc {
    /// The instruction.
    pub fn new() -> Option<Self> {
        Some(Self(()))
    }

    /// Makes a call.
    pub fn call(&self, args: &Regs, _realm: impl FnOnce() -> u64) -> Regs {
        machine().smc(args)
    }
}
