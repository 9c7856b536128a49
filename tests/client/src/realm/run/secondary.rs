// SPDX-License-Identifier: GPL-2.0

//! What all CPUs but the first do.

use std::sync::atomic::Ordering;

use realm_guest::{Op, Order};

use super::power;
use crate::realm::cpu::{Cpu, End};
use crate::realm::{ensure, Result};

/// The first CPU turns the others on so many times, with this and their number in x0.
pub(super) const CONTEXTS: [u64; 2] = [0xabcd_0000, 0x1_dcba_0000];

/// Runs a CPU until there is nothing left to do, or the test is over.
pub(super) fn run(cpu: &mut Cpu<'_>) -> Result<()> {
    let cpus = cpu.vm.shape.cpus;
    let mut end = cpu.run()?;
    for context in CONTEXTS {
        if end == End::Stopped && cpu.vm.stop.load(Ordering::Acquire) {
            return Ok(());
        }
        ensure!(end == End::Restarted, "a CPU that was turned on: {end:?}");
        let [_, _, x0, mpidr, ..] = cpu.order(Order::new(Op::Describe, 0), &[])?;
        let number = mpidr & 0xff;
        ensure!(
            x0 == context + number,
            "CPU {number} started with x0 {x0:#x}"
        );
        if context == CONTEXTS[0] {
            cpu.expect(Order::new(Op::InitGic, 0), &[], 0)?;
            power::work(cpu, cpus)?;
        }
        end = cpu.give(Order::new(Op::CpuOff, 0), &[])?;
    }
    ensure!(end == End::Stopped, "a CPU that is off: {end:?}");
    Ok(())
}
