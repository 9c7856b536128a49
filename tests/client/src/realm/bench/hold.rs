// SPDX-License-Identifier: GPL-2.0

//! How long KVM's `mmu_lock` is held for writing while much memory is taken at once: whoever wants to
//! have a fault dealt with, or anything unmapped, waits for that long. It must not depend on how much
//! memory it is.

use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::{phase::Phases, MIB, SHAPE};
use crate::realm::brief::on_cpu;
use crate::realm::cpu::Cpu;
use crate::realm::memory::punch_hole;
use crate::realm::run::memory::set_ripas;
use crate::realm::vm::{Shape, Vm};
use crate::realm::Result;

/// What is taken, from here on; all of it has been touched by pages.
const BASE_OF_ALL: u64 = BASE + 4 * MIB;
/// How much, and the names of the phases: a hole; private memory that becomes shared; shared memory that
/// becomes private.
const SIZES: [(u64, [&str; 3]); 3] = [
    (32 * MIB, ["punch_32", "share_32", "unshare_32"]),
    (64 * MIB, ["punch_64", "share_64", "unshare_64"]),
    (128 * MIB, ["punch_128", "share_128", "unshare_128"]),
];

/// In a realm of its own, each piece of memory is taken in each way.
pub(super) fn holds(phases: &mut Phases) -> Result<()> {
    let mut vm = Vm::new(Shape {
        memory: 140 * MIB,
        ..SHAPE
    })?;
    vm.keeps_both = true;
    on_cpu(&vm, |cpu| each(phases, cpu))
}

fn each(phases: &mut Phases, cpu: &mut Cpu<'_>) -> Result<()> {
    let vm = cpu.vm;
    let slot = vm.slots.first().ok_or("no slot")?;
    let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
    for (size, [punch, share, unshare]) in SIZES {
        let pages = size / PAGE_SIZE;
        let touch = Order::pages(Op::Touch, BASE_OF_ALL, size);
        cpu.expect(touch, &[], 0)?;
        phases.run(punch, pages, || {
            Ok(punch_hole(memfd, BASE_OF_ALL - BASE, size)?)
        })?;
        set_ripas(cpu, Op::SetRam, BASE_OF_ALL, size)?;
        cpu.expect(touch, &[], 0)?;
        phases.run(share, pages, || {
            Ok(vm.set_private(BASE_OF_ALL, size, false)?)
        })?;
        cpu.expect(touch.shared(), &[], 0)?;
        phases.run(unshare, pages, || {
            Ok(vm.set_private(BASE_OF_ALL, size, true)?)
        })?;
        set_ripas(cpu, Op::SetRam, BASE_OF_ALL, size)?;
        slot.shared.discard(BASE_OF_ALL - BASE, size)?;
    }
    Ok(())
}
