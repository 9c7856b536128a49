// SPDX-License-Identifier: GPL-2.0

//! KVM_PRE_FAULT_MEMORY: private memory that is there before the realm asks.

use kvm_bindings::KVM_CAP_PRE_FAULT_MEMORY;
use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::{Cases, MIB, SHARED};
use crate::realm::brief::with_cpu;
use crate::realm::cpu::Cpu;
use crate::realm::memory::punch_hole;
use crate::realm::signal::Kick;
use crate::realm::vm::{Mode, Shape, Vm};
use crate::realm::{debugfs, ensure, Result};

/// True if this host has it.
pub(in crate::realm) fn is_offered() -> Result<bool> {
    let vm = Vm::empty(Shape::REALM)?;
    Ok(vm.fd.check_extension_raw(KVM_CAP_PRE_FAULT_MEMORY.into()) > 0)
}

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let cpu = Cpu::new(&vm, &kick, 0)?;
    let (result, _) = cpu.pre_fault(BASE, MIB, 0);
    cases.errno("before the first run", result, libc::EOPNOTSUPP);
    drop(cpu);
    drop(vm);
    ordinary(cases)?;
    with_cpu(Shape::REALM, |cpu| running(cases, cpu))
}

/// Ordinary VMs have no such call.
fn ordinary(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape {
        realm: false,
        ..Shape::REALM
    })?;
    let kick = Kick::default();
    let cpu = Cpu::new(&vm, &kick, 0)?;
    let (result, _) = cpu.pre_fault(BASE, MIB, 0);
    cases.errno("of an ordinary VM", result, libc::EINVAL);
    Ok(())
}

/// A realm that runs, of whose memory only the guest's image was touched.
fn running(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    let end = BASE + cpu.vm.shape.memory;
    for (what, gpa, size, flags, errno) in [
        ("nothing", BASE, 0, 0, libc::EINVAL),
        ("half a page", BASE, PAGE_SIZE / 2, 0, libc::EINVAL),
        ("unaligned", BASE + 1, PAGE_SIZE, 0, libc::EINVAL),
        (
            "what wraps",
            PAGE_SIZE.wrapping_neg(),
            2 * PAGE_SIZE,
            0,
            libc::EINVAL,
        ),
        ("with a flag", BASE, PAGE_SIZE, 1, libc::EINVAL),
        ("outside of slots", end, PAGE_SIZE, 0, libc::ENOENT),
        (
            "in the shared half",
            SHARED | BASE,
            PAGE_SIZE,
            0,
            libc::ENOENT,
        ),
        ("far away", 1 << 62, PAGE_SIZE, 0, libc::ENOENT),
    ] {
        let (result, left) = cpu.pre_fault(gpa, size, flags);
        cases.errno(what, result, errno);
        cases.equal(what, left, (gpa, size));
    }

    // All memory is touched without a single exit, and what the realm has already stays.
    let (from, size) = (BASE + 2 * MIB, cpu.vm.shape.memory - 2 * MIB);
    cpu.expect(Order::pages(Op::Touch, from, 3 * PAGE_SIZE), &[], 0)?;
    let (result, left) = cpu.pre_fault(from, size, 0);
    cases.errno("all memory", result, 0);
    cases.equal("what is left", left, (end, 0));
    cpu.expect(Order::pages(Op::Check, from, 3 * PAGE_SIZE), &[], 0)?;
    let before = debugfs::is_there().then(private_maps).transpose()?;
    cpu.expect(Order::pages(Op::Touch, from + MIB, size - MIB), &[], 0)?;
    if let Some(before) = before {
        cases.equal("faults of memory that is there", private_maps()?, before);
    }
    let (result, left) = cpu.pre_fault(end - PAGE_SIZE, 2 * PAGE_SIZE, 0);
    cases.errno("past the end of the slot", result, 0);
    cases.equal("what is left there", left, (end, PAGE_SIZE));

    // Memory that is shared now, and memory that was taken away.
    if Mode::get() == Mode::V14 {
        cpu.vm.set_private(from, PAGE_SIZE, false)?;
        let (result, _) = cpu.pre_fault(from, PAGE_SIZE, 0);
        cases.errno("what is shared", result, libc::ENOENT);
        cpu.vm.set_private(from, PAGE_SIZE, true)?;
    }
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    let file = slot.memfd.as_ref().ok_or("no guest_memfd")?;
    punch_hole(file, from - slot.base, PAGE_SIZE)?;
    let (result, left) = cpu.pre_fault(from, PAGE_SIZE, 0);
    cases.errno("what was punched out", result, 0);
    cases.equal("what is left of it", left, (from + PAGE_SIZE, 0));
    Ok(())
}

/// The commands that map private memory, of RMI 2.0 and of 1.0.
const MAPS: [&str; 2] = ["RTT_DATA_MAP", "DATA_CREATE_UNKNOWN"];

/// How often private memory was mapped for the realm.
fn private_maps() -> Result<u64> {
    let smcs = debugfs::smcs()?;
    let calls = MAPS.iter().filter_map(|name| smcs.get(*name));
    let maps = calls.map(|(calls, _)| *calls).sum();
    ensure!(maps > 0, "nothing is mapped");
    Ok(maps)
}
