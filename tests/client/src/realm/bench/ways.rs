// SPDX-License-Identifier: GPL-2.0

//! Private memory as no realm has it unless its host says so: in blocks of 2 MiB at the first touch, and in
//! windows of 64 KiB.

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

/// What a fault brings in, and names of phases.
struct Way {
    around: u64,
    sequential: &'static str,
    scattered: &'static str,
    teardown: &'static str,
}

const BLOCKS: Way = Way {
    around: BLOCK,
    sequential: "touch_2m_sequential",
    scattered: "touch_2m_scattered",
    teardown: "teardown_2m",
};
const WINDOWS: Way = Way {
    around: 64 << 10,
    sequential: "touch_64k_sequential",
    scattered: "touch_64k_scattered",
    teardown: "teardown_64k",
};

/// In a realm of its own for each way.
pub(super) fn ways(phases: &mut Phases) -> Result<()> {
    for way in [BLOCKS, WINDOWS] {
        let _way = Setting::always(way.around)?;
        let vm = Vm::new(Shape {
            memory: 92 * MIB,
            ..SHAPE
        })?;
        on_cpu(&vm, |cpu| each(phases, cpu, &way))?;
        let granules = debugfs::delegated()?;
        phases.run(way.teardown, granules, move || {
            drop(vm);
            Ok(())
        })?;
    }
    Ok(())
}

fn each(phases: &mut Phases, cpu: &mut Cpu<'_>, way: &Way) -> Result<()> {
    let sequential = Order::pages(Op::Touch, SEQUENTIAL, SEQUENTIAL_SIZE);
    pages(phases, cpu, way.sequential, sequential)?;
    let scattered = Order::pages(Op::TouchScattered, SCATTERED, SCATTERED_SIZE);
    pages(phases, cpu, way.scattered, scattered)?;
    if way.around < BLOCK {
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
