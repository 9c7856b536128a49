// SPDX-License-Identifier: GPL-2.0

//! KVM_ARM_RMI_POPULATE.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kvm_arm_rmi::uapi::{
    KvmArmRmiPopulate,
    KVM_ARM_RMI_POPULATE_FLAGS_MEASURE, //
};
use kvm_bindings::kvm_userspace_memory_region2;
use realm_guest::{BASE, PAGE_SIZE};

use super::{Cases, MIB, SHARED};
use crate::realm::brief::with_cpu;
use crate::realm::memory::{Huge, Mapping};
use crate::realm::signal::Kick;
use crate::realm::vm::{Mode, Shape, Vm};
use crate::realm::{debugfs, ensure, Result};

/// Memory without guest_memfd, and memory with, right after it, in the VM of these tests.
const ORDINARY: u64 = BASE + 64 * MIB;

/// Arguments that are good but for what a test changes.
fn arguments(source: &Mapping, base: u64, size: u64) -> KvmArmRmiPopulate {
    KvmArmRmiPopulate {
        base,
        size,
        source_uaddr: source.address(),
        ..Default::default()
    }
}

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    let mut vm = Vm::new(Shape::REALM)?;
    let ordinary = Mapping::new(MIB, Huge::Never)?;
    vm.set_slot(&kvm_userspace_memory_region2 {
        slot: 100,
        guest_phys_addr: ORDINARY,
        memory_size: MIB,
        userspace_addr: ordinary.address(),
        ..Default::default()
    })?;
    if Mode::get() == Mode::V14 {
        vm.set_private(ORDINARY, MIB, true)?;
    }
    vm.add_memory(ORDINARY + 2 * MIB, MIB)?;
    refused(cases, &vm)?;
    let before = debugfs::delegated()?;
    let mut nothing = KvmArmRmiPopulate::default();
    let other = Vm::new(Shape::REALM)?;
    cases.errno("size 0", other.populate_once(&mut nothing), 0);
    if debugfs::is_there() {
        cases.holds("size 0 makes the realm", debugfs::delegated()? > before);
    }
    drop(other);
    refused(cases, &vm)?;
    partial(cases, &vm)?;
    repeated(cases, &vm)?;
    together(cases, &vm)?;
    own_shared_half(cases, &vm)?;
    drop(vm);

    interrupted(cases)?;

    not_a_realm(cases)?;
    running(cases)
}

/// What is wrong from the start: nothing has been done.
fn refused(cases: &mut Cases, vm: &Vm) -> Result<()> {
    let source = Mapping::new(2 * MIB, Huge::Never)?;
    let good = arguments(&source, BASE, PAGE_SIZE);
    let odd = |base, size, source_uaddr| KvmArmRmiPopulate {
        base,
        size,
        source_uaddr,
        ..good
    };
    let from = source.address();
    let bad = [
        ("an unaligned base", odd(BASE + 8, PAGE_SIZE, from)),
        ("an unaligned size", odd(BASE, PAGE_SIZE - 8, from)),
        ("an unaligned source", odd(BASE, PAGE_SIZE, from + 8)),
        ("no source", odd(BASE, PAGE_SIZE, 0)),
        (
            "a wrap",
            odd(0u64.wrapping_sub(PAGE_SIZE), 2 * PAGE_SIZE, from),
        ),
        ("a huge size", odd(BASE, 0u64.wrapping_sub(PAGE_SIZE), from)),
        (
            "a source that wraps",
            odd(BASE, 2 * PAGE_SIZE, 0u64.wrapping_sub(PAGE_SIZE)),
        ),
        ("the shared half", odd(SHARED, PAGE_SIZE, from)),
        (
            "the shared half, at a slot",
            odd(SHARED | BASE, PAGE_SIZE, from),
        ),
        ("both halves", odd(SHARED - PAGE_SIZE, 2 * PAGE_SIZE, from)),
        ("no slot", odd(0, PAGE_SIZE, from)),
        ("a slot without guest_memfd", odd(ORDINARY, PAGE_SIZE, from)),
        ("shared memory", odd(ORDINARY + 2 * MIB, PAGE_SIZE, from)),
        (
            "reserved",
            KvmArmRmiPopulate {
                reserved: 1,
                ..good
            },
        ),
        ("an unknown flag", KvmArmRmiPopulate { flags: 2, ..good }),
        (
            "all flags",
            KvmArmRmiPopulate {
                flags: u32::MAX,
                ..good
            },
        ),
    ];
    for (what, bad) in bad {
        if what == "shared memory" && Mode::get() == Mode::V15 {
            // All that the file has is private.
            continue;
        }
        let mut left = bad;
        let what = format!("populate: {what}");
        cases.errno(&what, vm.populate_once(&mut left), libc::EINVAL);
        cases.equal(&format!("{what}, what is left"), left, bad);
    }
    let mut left = odd(BASE, PAGE_SIZE, PAGE_SIZE);
    let unmapped = vm.populate_once(&mut left);
    cases.errno("populate: an unmapped source", unmapped, libc::EFAULT);
    Ok(())
}

/// What goes wrong midway: what was done is told.
fn partial(cases: &mut Cases, vm: &Vm) -> Result<()> {
    let source = Mapping::new(MIB, Huge::Never)?;
    let half = MIB / 2;
    source.protect(half, half, libc::PROT_NONE)?;
    let mut left = arguments(&source, BASE + MIB, MIB);
    let whole = left;
    let result = populate_all(vm, &mut left);
    cases.errno("populate: half a source", result, libc::EFAULT);
    let rest = KvmArmRmiPopulate {
        base: whole.base + half,
        size: half,
        source_uaddr: whole.source_uaddr + half,
        ..whole
    };
    cases.equal("populate: half a source, what is left", left, rest);
    source.protect(half, half, libc::PROT_READ | libc::PROT_WRITE)?;
    cases.errno("populate: the other half", populate_all(vm, &mut left), 0);

    // Beyond the end of the slot.
    let end = BASE + Shape::REALM.memory;
    let mut left = arguments(&source, end - half, MIB);
    let result = populate_all(vm, &mut left);
    cases.errno("populate: beyond a slot", result, libc::EINVAL);
    let sound = left.base + left.size == end + half
        && left.base <= end
        && left.source_uaddr - source.address() == left.base - (end - half);
    cases.holds("populate: beyond a slot, what is left", sound);

    source.punch(0, MIB)?;
    let mut left = arguments(&source, BASE, PAGE_SIZE);
    let result = vm.populate_once(&mut left);
    cases.errno("populate: a source that is gone", result, libc::EFAULT);
    Ok(())
}

/// Populates until nothing is left or something is wrong.
fn populate_all(vm: &Vm, left: &mut KvmArmRmiPopulate) -> io::Result<()> {
    while left.size != 0 {
        match vm.populate_once(left) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => result?,
        }
    }
    Ok(())
}

/// The same page twice.
fn repeated(cases: &mut Cases, vm: &Vm) -> Result<()> {
    let source = Mapping::new(4 * PAGE_SIZE, Huge::Never)?;
    let base = BASE + 4 * MIB;
    let once = |base, size, flags| {
        let mut left = KvmArmRmiPopulate {
            flags,
            ..arguments(&source, base, size)
        };
        (populate_all(vm, &mut left), left.size)
    };
    let measure = KVM_ARM_RMI_POPULATE_FLAGS_MEASURE;
    cases.errno("populate", once(base + PAGE_SIZE, PAGE_SIZE, measure).0, 0);
    for flags in [0, measure] {
        let (result, left) = once(base + PAGE_SIZE, PAGE_SIZE, flags);
        cases.errno("populate: the same page", result, libc::EEXIST);
        cases.equal("populate: the same page, what is left", left, PAGE_SIZE);
    }
    let (result, left) = once(base, 4 * PAGE_SIZE, measure);
    cases.errno("populate: around a page", result, libc::EEXIST);
    cases.equal("populate: around a page, what is left", left, 3 * PAGE_SIZE);
    Ok(())
}

/// Two threads at the same time, on different pages and on the same.
fn together(cases: &mut Cases, vm: &Vm) -> Result<()> {
    let source = Mapping::new(2 * MIB, Huge::Never)?;
    let run = |bases: [u64; 2]| {
        thread::scope(|scope| {
            let threads = bases.map(|base| {
                let mut left = arguments(&source, base, 2 * MIB);
                scope.spawn(move || populate_all(vm, &mut left).map(|()| left.size))
            });
            threads.map(|thread| thread.join().map_err(|_| "a thread panicked"))
        })
    };
    let [one, other] = run([BASE + 8 * MIB, BASE + 10 * MIB]);
    cases.errno("populate: one of two threads", one?, 0);
    cases.errno("populate: the other", other?, 0);
    let [one, other] = run([BASE + 12 * MIB, BASE + 12 * MIB]);
    for result in [one?, other?] {
        // Each page is populated by one of them, so that at most one gets to the end.
        let fine = match result {
            Ok(left) => left == 0,
            Err(error) => error.raw_os_error() == Some(libc::EEXIST),
        };
        cases.holds("populate: the same by two threads", fine);
    }
    let mut again = arguments(&source, BASE + 12 * MIB, PAGE_SIZE);
    let result = vm.populate_once(&mut again);
    cases.errno("populate: what two threads did", result, libc::EEXIST);
    Ok(())
}

/// The source may be the slot's own shared half: it is other memory.
fn own_shared_half(cases: &mut Cases, vm: &Vm) -> Result<()> {
    let slot = vm.slots.first().ok_or("no slot")?;
    let offset = 16 * MIB;
    let mut left = KvmArmRmiPopulate {
        base: slot.base + offset,
        size: PAGE_SIZE,
        source_uaddr: slot.shared.address() + offset,
        ..Default::default()
    };
    let result = populate_all(vm, &mut left);
    cases.errno("populate: from the shared half", result, 0);
    Ok(())
}

/// Signals stop it, and it can go on: an error says that nothing was done, so that a VMM that ends for any
/// error ends for none that is none.
fn interrupted(cases: &mut Cases) -> Result<()> {
    let shape = Shape {
        memory: 64 * MIB,
        ..Shape::REALM
    };
    let vm = Vm::new(shape)?;
    let source = Mapping::new(shape.memory, Huge::Never)?;
    let kick = Kick::default();
    kick.me();
    let mut left = arguments(&source, BASE, shape.memory);
    let over = AtomicBool::new(false);
    let (times, wrong) = thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(2));
                kick.kick();
            }
        });
        let (mut times, mut wrong) = (0, 0);
        let result = loop {
            let before = left.size;
            match vm.populate_once(&mut left) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    wrong += u32::from(left.size != before);
                }
                Ok(()) if left.size != 0 => {
                    times += 1;
                    wrong += u32::from(left.size == before);
                }
                result => break result,
            }
        };
        over.store(true, Ordering::Release);
        result.map(|()| (times, wrong))
    })?;
    cases.holds("populate: interrupted", times > 0);
    cases.equal("populate: EINTR with progress, or 0 without", wrong, 0);
    let all = BASE + shape.memory;
    cases.equal("populate: to the end", (left.base, left.size), (all, 0));
    Ok(())
}

fn not_a_realm(cases: &mut Cases) -> Result<()> {
    let ordinary = Vm::new(Shape {
        realm: false,
        ..Shape::REALM
    })?;
    let source = Mapping::new(PAGE_SIZE, Huge::Never)?;
    let mut left = arguments(&source, BASE, PAGE_SIZE);
    let result = ordinary.populate_once(&mut left);
    cases.errno("populate: an ordinary VM", result, libc::EINVAL);
    Ok(())
}

/// Once a realm runs it cannot be populated any more.
fn running(cases: &mut Cases) -> Result<()> {
    let source = Mapping::new(PAGE_SIZE, Huge::Never)?;
    with_cpu(Shape::REALM, |cpu| {
        let vm = cpu.vm;
        for size in [PAGE_SIZE, 0] {
            let mut left = arguments(&source, BASE + 20 * MIB, size);
            let result = vm.populate_once(&mut left);
            let what = format!("populate: {size} bytes, while it runs");
            cases.errno(&what, result, libc::EBUSY);
            ensure!(left.size == size, "{what}: {left:x?} left");
        }
        Ok(())
    })
}
