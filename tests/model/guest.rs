// SPDX-License-Identifier: GPL-2.0

//! What a realm does on one of its vCPUs.

use std::collections::VecDeque;

/// One thing that it does. Granules are named by their numbers in the lower half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Stores to private memory.
    Private(u64),
    /// Stores to memory that it shares with the host.
    Shared(u64),
    /// Loads from memory that it shares with the host.
    Load(u64),
    /// RSI_IPA_STATE_SET: these granules become RAM, or EMPTY. What was destroyed may be lost.
    Ripas {
        /// The first one.
        first: u64,
        /// The first one after.
        end: u64,
        /// RAM, or EMPTY.
        ram: bool,
        /// What was destroyed may change.
        destroyed: bool,
    },
    /// PSCI_CPU_ON of the vCPU with this number.
    TurnOn(u64),
    /// PSCI_CPU_OFF.
    TurnOff,
    /// PSCI_SYSTEM_OFF.
    SystemOff,
}

/// What is left to do.
#[derive(Clone, Debug, Default)]
pub struct Guest {
    /// The first one is next.
    pub ops: VecDeque<Op>,
    /// The RMM has been called for the first one.
    pub called: bool,
    /// Where it was when it could not go on.
    pub pc: Option<u64>,
    /// What came of those that are done: false if it was refused, or an exception.
    pub results: Vec<bool>,
}

impl Guest {
    /// One that does these.
    pub fn new(ops: impl IntoIterator<Item = Op>) -> Self {
        Self {
            ops: ops.into_iter().collect(),
            ..Self::default()
        }
    }

    /// The first one is done.
    pub fn done(&mut self, result: bool) {
        self.ops.pop_front();
        self.called = false;
        self.pc = None;
        self.results.push(result);
    }
}
