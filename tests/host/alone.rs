// SPDX-License-Identifier: GPL-2.0

//! For tests of parts that have something shared in them: the model's locks and atomics work in a test
//! that `shuttle` runs.

use kvm_arm_rmi::rmi::Regs;
use kvm_arm_rmi::sys::guest::Guest;
use kvm_arm_rmi::sys::machine::{self, Firmware};
use shuttle::scheduler::RoundRobinScheduler;
use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
use std::ops::Range;
use std::sync::Mutex;

/// Runs a test that has one task and needs nothing of the model's machine.
pub(crate) fn alone(test: impl FnOnce() + Send + 'static) {
    let mut config = Config::new();
    config.stack_size = 1 << 20;
    config.failure_persistence = FailurePersistence::None;
    config.max_steps = MaxSteps::None;
    let test = Mutex::new(Some(test));
    Runner::new(RoundRobinScheduler::new(1), config).run(move || {
        let test = test.lock().unwrap().take().expect("one run");
        machine::on(Nothing, |_| test());
    });
}

/// There is no memory, and nobody to call.
struct Nothing;

impl Firmware for Nothing {
    fn smc(&self, args: &Regs) -> Regs {
        panic!("{args:x?}")
    }

    fn enter(&self, args: &Regs, _: &mut Guest) -> Regs {
        panic!("{args:x?}")
    }

    fn is_delegated(&self, _: u64) -> bool {
        false
    }

    fn reached(&self, _: &[u64]) -> Option<u64> {
        None
    }

    fn mapped(&self, _: u64, _: bool) -> Option<u64> {
        None
    }

    fn read(&self, pa: u64) -> u64 {
        panic!("{pa:#x}")
    }

    fn write(&self, pa: u64, _: u64) {
        panic!("{pa:#x}")
    }

    fn clear(&self, pa: u64) {
        panic!("{pa:#x}")
    }

    fn ram(&self) -> Vec<Range<u64>> {
        Vec::new()
    }
}
