// SPDX-License-Identifier: GPL-2.0

//! Memory slots, guest_memfd and memory attributes.

use std::os::fd::AsRawFd;

use kvm_bindings::{
    kvm_create_guest_memfd,
    kvm_memory_attributes,
    kvm_userspace_memory_region2,
    KVM_MEM_GUEST_MEMFD,
    KVM_MEM_LOG_DIRTY_PAGES,
    KVM_MEM_READONLY, //
};
use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::{Cases, MIB, SHARED};
use crate::realm::brief::with_cpu;
use crate::realm::memory::{Huge, Mapping};
use crate::realm::run::chunk;
use crate::realm::vm::{Shape, Slot, Vm};
use crate::realm::{ensure, Result};

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    made(cases)?;
    attributes(cases)?;
    with_cpu(Shape::REALM, |cpu| {
        changed(cases, cpu.vm)?;
        cpu.expect(Order::pages(Op::Touch, chunk(0), MIB), &[], 0)
    })?;
    deleted(cases)
}

/// A slot without guest_memfd.
pub(super) fn ordinary(slot: u32, base: u64, memory: &Mapping) -> kvm_userspace_memory_region2 {
    kvm_userspace_memory_region2 {
        slot,
        guest_phys_addr: base,
        memory_size: memory.size(),
        userspace_addr: memory.address(),
        ..Default::default()
    }
}

/// Slots that are made.
fn made(cases: &mut Cases) -> Result<()> {
    let vm = Vm::empty(Shape::REALM)?;
    let memory = Mapping::new(MIB, Huge::Never)?;
    let good = ordinary(0, BASE, &memory);
    for (flags, name) in [
        (KVM_MEM_READONLY, "read-only"),
        (
            KVM_MEM_READONLY | KVM_MEM_LOG_DIRTY_PAGES,
            "read-only, and logged",
        ),
    ] {
        let region = kvm_userspace_memory_region2 { flags, ..good };
        let what = format!("a slot that is {name}");
        cases.errno(&what, vm.set_slot(&region), libc::EINVAL);
    }
    for (base, name) in [
        (SHARED, "in the shared half"),
        (SHARED - PAGE_SIZE, "in both halves"),
        (SHARED | BASE, "deep in the shared half"),
    ] {
        let what = format!("a slot {name}");
        let result = vm.set_slot(&ordinary(0, base, &memory));
        cases.errno(&what, result, libc::EFAULT);
    }
    let last = ordinary(7, SHARED - MIB, &memory);
    cases.errno(
        "a slot at the end of the private half",
        vm.set_slot(&last),
        0,
    );
    cases.errno("a slot without guest_memfd", vm.set_slot(&good), 0);
    let region = kvm_userspace_memory_region2 {
        flags: KVM_MEM_READONLY,
        ..good
    };
    let what = "a slot that becomes read-only";
    cases.errno(what, vm.set_slot(&region), libc::EINVAL);
    memfds(cases, &vm, &memory)
}

/// Slots with guest_memfd.
fn memfds(cases: &mut Cases, vm: &Vm, memory: &Mapping) -> Result<()> {
    const MMAP: u64 = 1;
    let memfd = vm.guest_memfd(2 * MIB)?;
    let good = kvm_userspace_memory_region2 {
        flags: KVM_MEM_GUEST_MEMFD,
        guest_memfd: memfd.as_raw_fd() as u32,
        ..ordinary(1, BASE + 16 * MIB, memory)
    };
    let logged = KVM_MEM_GUEST_MEMFD | KVM_MEM_LOG_DIRTY_PAGES;
    let read_only = KVM_MEM_GUEST_MEMFD | KVM_MEM_READONLY;
    let other = Vm::empty(Shape::REALM)?;
    let foreign = other.guest_memfd(2 * MIB)?;
    let refused = [
        (
            "logged",
            kvm_userspace_memory_region2 {
                flags: logged,
                ..good
            },
        ),
        (
            "read-only",
            kvm_userspace_memory_region2 {
                flags: read_only,
                ..good
            },
        ),
        (
            "of another realm",
            kvm_userspace_memory_region2 {
                guest_memfd: foreign.as_raw_fd() as u32,
                ..good
            },
        ),
        (
            "beyond the end of the file",
            kvm_userspace_memory_region2 {
                guest_memfd_offset: MIB + PAGE_SIZE,
                ..good
            },
        ),
    ];
    for (name, region) in refused {
        let what = format!("a guest_memfd slot, {name}");
        cases.errno(&what, vm.set_slot(&region), libc::EINVAL);
    }
    cases.errno("a guest_memfd slot", vm.set_slot(&good), 0);
    let again = kvm_userspace_memory_region2 {
        slot: 2,
        guest_phys_addr: BASE + 32 * MIB,
        ..good
    };
    let twice = vm.set_slot(&again);
    cases.errno("the same memory in two slots", twice, libc::EEXIST);

    // Memory that this process could map.
    let arguments = kvm_create_guest_memfd {
        size: MIB,
        flags: MMAP,
        ..Default::default()
    };
    let Ok(fd) = vm.fd.create_guest_memfd(arguments) else {
        return Ok(());
    };
    // SAFETY: The kernel has just made it for us.
    let _fd = unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd) };
    let mappable = kvm_userspace_memory_region2 {
        guest_memfd: fd as u32,
        ..again
    };
    let result = vm.set_slot(&mappable);
    cases.errno("guest_memfd that can be mapped", result, libc::EINVAL);
    Ok(())
}

fn attributes(cases: &mut Cases) -> Result<()> {
    let vm = Vm::empty(Shape::REALM)?;
    let set = |address, size, attributes| {
        vm.fd.set_memory_attributes(kvm_memory_attributes {
            address,
            size,
            attributes,
            flags: 0,
        })
    };
    for (what, result) in [
        ("unknown attributes", set(BASE, MIB, 1)),
        ("attributes of nothing", set(BASE, 0, 8)),
        ("attributes, unaligned", set(BASE + 1, MIB, 8)),
        (
            "attributes that wrap",
            set(0u64.wrapping_sub(PAGE_SIZE), 2 * PAGE_SIZE, 8),
        ),
    ] {
        cases.errno(what, result, libc::EINVAL);
    }
    cases.errno("attributes where no slot is", set(BASE, MIB, 8), 0);
    let ordinary = Vm::empty(Shape {
        realm: false,
        ..Shape::REALM
    })?;
    let result = ordinary.set_private(BASE, MIB, true);
    // Without anything private KVM has no attributes at all.
    cases.errno("attributes of an ordinary VM", result, libc::EINVAL);
    Ok(())
}

/// Slots of a realm that runs.
fn changed(cases: &mut Cases, vm: &Vm) -> Result<()> {
    let slot: &Slot = vm.slots.first().ok_or("no slot")?;
    let region = vm.region(slot);
    let elsewhere = Mapping::new(slot.shared.size(), Huge::Never)?;
    let changes = [
        (
            "moved",
            kvm_userspace_memory_region2 {
                guest_phys_addr: region.guest_phys_addr + 256 * MIB,
                ..region
            },
        ),
        (
            "resized",
            kvm_userspace_memory_region2 {
                memory_size: region.memory_size / 2,
                ..region
            },
        ),
        (
            "logged",
            kvm_userspace_memory_region2 {
                flags: region.flags | KVM_MEM_LOG_DIRTY_PAGES,
                ..region
            },
        ),
        (
            "read-only",
            kvm_userspace_memory_region2 {
                flags: region.flags | KVM_MEM_READONLY,
                ..region
            },
        ),
        (
            "without guest_memfd",
            kvm_userspace_memory_region2 { flags: 0, ..region },
        ),
        (
            "with other memory",
            kvm_userspace_memory_region2 {
                userspace_addr: elsewhere.address(),
                ..region
            },
        ),
    ];
    for (name, change) in changes {
        let what = format!("a slot of a realm that runs, {name}");
        cases.errno(&what, vm.set_slot(&change), libc::EINVAL);
    }
    Ok(())
}

/// A slot that goes while the realm uses it: the realm gets no further, and the VMM is told.
fn deleted(cases: &mut Cases) -> Result<()> {
    let told = with_cpu(Shape::REALM, |cpu| {
        let slot = cpu.vm.slots.first().ok_or("no slot")?;
        cpu.expect(Order::pages(Op::Touch, chunk(0), MIB), &[], 0)?;
        let gone = kvm_userspace_memory_region2 {
            memory_size: 0,
            ..cpu.vm.region(slot)
        };
        cases.errno("deleting a slot that is used", cpu.vm.set_slot(&gone), 0);
        let end = cpu.give(Order::pages(Op::Touch, chunk(0), MIB), &[]);
        let told = end.as_ref().err().map(ToString::to_string);
        told.ok_or_else(|| format!("the realm went on: {end:?}").into())
    })?;
    ensure!(told.contains("fault"), "{told}");
    Ok(())
}
