// SPDX-License-Identifier: GPL-2.0

//! Private memory in blocks of 2 MiB: at the first touch, and as much as a realm has shown that it uses.

use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::{
    pages, phase::Phases, MIB, SCATTERED, SCATTERED_SIZE, SEQUENTIAL, SEQUENTIAL_SIZE, SHAPE,
};
use crate::realm::brief::on_cpu;
use crate::realm::cpu::Cpu;
use crate::realm::memory::punch_hole;
use crate::realm::parameters::Setting;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{debugfs, Result};

/// Bytes of a block.
const BLOCK: u64 = 2 * MIB;

/// Names of phases.
struct Names {
    sequential: &'static str,
    scattered: &'static str,
    teardown: &'static str,
}

const ALWAYS: Names = Names {
    sequential: "touch_2m_sequential",
    scattered: "touch_2m_scattered",
    teardown: "teardown_2m",
};
const ADAPTIVE: Names = Names {
    sequential: "adapt_sequential",
    scattered: "adapt_scattered",
    teardown: "teardown_adapted",
};

/// In a realm of its own for each way.
pub(super) fn blocks(phases: &mut Phases) -> Result<()> {
    for (adaptive, names) in [(false, ALWAYS), (true, ADAPTIVE)] {
        let _blocks = Setting::blocks(adaptive)?;
        let vm = Vm::new(Shape {
            memory: 92 * MIB,
            ..SHAPE
        })?;
        on_cpu(&vm, |cpu| each(phases, cpu, adaptive, &names))?;
        let granules = debugfs::delegated()?;
        phases.run(names.teardown, granules, move || {
            drop(vm);
            Ok(())
        })?;
    }
    Ok(())
}

fn each(phases: &mut Phases, cpu: &mut Cpu<'_>, adaptive: bool, names: &Names) -> Result<()> {
    let sequential = Order::pages(Op::Touch, SEQUENTIAL, SEQUENTIAL_SIZE);
    pages(phases, cpu, names.sequential, sequential)?;
    let scattered = Order::pages(Op::TouchScattered, SCATTERED, SCATTERED_SIZE);
    pages(phases, cpu, names.scattered, scattered)?;
    if adaptive {
        return Ok(());
    }
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
    // A page in each block.
    let holes = (SCATTERED..SCATTERED + SCATTERED_SIZE).step_by(BLOCK as usize);
    phases.run("punch_in_block", SCATTERED_SIZE / BLOCK, || {
        for block in holes {
            punch_hole(memfd, block + 9 * PAGE_SIZE - BASE, PAGE_SIZE)?;
        }
        Ok(())
    })
}
