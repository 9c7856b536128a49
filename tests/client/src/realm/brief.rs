// SPDX-License-Identifier: GPL-2.0

//! Short lives, many of them: one after another, at the same time, and beside ordinary VMs.

use std::io::Read;
use std::sync::Barrier;
use std::thread;

use kvm_bindings::KVM_SYSTEM_EVENT_SHUTDOWN;
use realm_guest::{fid, Op, Order, BASE};

use super::cpu::{Cpu, End};
use super::run::memory::{fill, share_and_take_back};
use super::run::{chunk, devices};
use super::signal::Kick;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};

/// Memory that a short life fills.
const SIZE: u64 = 0x10_0000;

/// Makes a VM, starts its first CPU, and hands that to `f`.
pub(super) fn with_cpu<R>(shape: Shape, f: impl FnOnce(&mut Cpu<'_>) -> Result<R>) -> Result<R> {
    on_cpu(&Vm::new(shape)?, f)
}

/// The same in a VM that has nothing yet but memory.
pub(super) fn on_cpu<R>(vm: &Vm, f: impl FnOnce(&mut Cpu<'_>) -> Result<R>) -> Result<R> {
    let kick = Kick::default();
    let mut cpu = Cpu::new(vm, &kick, 0)?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    cpu.set_entry(0)?;
    cpu.start()?;
    f(&mut cpu)
}

/// Makes two CPUs in a VM that has nothing yet but memory, and hands them to `f` when the first has only
/// to be started.
pub(super) fn with_two_ready<R>(
    vm: &Vm,
    f: impl FnOnce(&mut Cpu<'_>, Cpu<'_>) -> Result<R>,
) -> Result<R> {
    let kicks = [Kick::default(), Kick::default()];
    let mut first = Cpu::new(vm, &kicks[0], 0)?;
    let other = Cpu::new(vm, &kicks[1], 1)?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    first.set_entry(0)?;
    f(&mut first, other)
}

/// The same when both are in the guest.
pub(super) fn with_two<R>(
    vm: &Vm,
    f: impl FnOnce(&mut Cpu<'_>, Cpu<'_>) -> Result<R>,
) -> Result<R> {
    with_two_ready(vm, |first, mut other| {
        first.start()?;
        let call = [fid::CPU_ON, 1, BASE, 0];
        let [result, ..] = first.order(Order::new(Op::Smc, 4), &call)?;
        ensure!(result == 0, "CPU_ON: {result:#x}");
        other.start()?;
        f(first, other)
    })
}

/// Something of everything, and the end.
fn live(cpu: &mut Cpu<'_>) -> Result<()> {
    let base = chunk(0);
    fill(cpu, base, SIZE)?;
    if cpu.vm.shape.realm {
        share_and_take_back(cpu, base, SIZE)?;
    }
    devices::check(cpu)?;
    turn_off(cpu)
}

fn turn_off(cpu: &mut Cpu<'_>) -> Result<()> {
    let end = cpu.give(Order::new(Op::SystemOff, 0), &[])?;
    ensure!(
        end == End::Event(KVM_SYSTEM_EVENT_SHUTDOWN),
        "SYSTEM_OFF: {end:?}"
    );
    Ok(())
}

/// `realm spin [--ordinary]`: its CPU has nothing to do for a good while.
pub(super) fn spin(realm: bool) -> Result<()> {
    const TICKS: u64 = 200_000_000;
    let shape = Shape {
        realm,
        ..Shape::REALM
    };
    with_cpu(shape, |cpu| {
        cpu.order(Order::new(Op::Spin, TICKS), &[])?;
        turn_off(cpu)
    })
}

/// `realm many N`: so many, one after another.
pub(super) fn many(count: u64) -> Result<()> {
    let before = debugfs::delegated()?;
    for number in 1..=count {
        with_cpu(Shape::REALM, live).map_err(|e| format!("realm {number}: {e}"))?;
        debugfs::expect_delegated(before).map_err(|e| format!("after {number} realms: {e}"))?;
        if number % 10 == 0 {
            println!("{number} of {count}");
        }
    }
    Ok(())
}

/// `realm at-once N`: so many, all of them there at the same time.
pub(super) fn at_once(count: usize) -> Result<()> {
    let before = debugfs::delegated()?;
    let all = Barrier::new(count + 1);
    thread::scope(|scope| {
        let one = || -> Result<()> {
            let mut met = false;
            let result = with_cpu(Shape::REALM, |cpu| {
                fill(cpu, chunk(0), SIZE)?;
                met = true;
                all.wait();
                live_on(cpu)
            });
            if !met {
                // Those who wait must not do so for ever.
                all.wait();
            }
            result
        };
        let threads: Vec<_> = (0..count).map(|_| scope.spawn(one)).collect();
        all.wait();
        let delegated = debugfs::delegated()?;
        println!("{count} realms: {} granules", delegated - before);
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<(), super::Error>(())
    })?;
    debugfs::expect_delegated(before)
}

/// The same memory again, and the end.
fn live_on(cpu: &mut Cpu<'_>) -> Result<()> {
    cpu.expect(Order::pages(Op::Check, chunk(0), SIZE), &[], 0)?;
    share_and_take_back(cpu, chunk(0), SIZE)?;
    turn_off(cpu)
}

/// `realm side-by-side`: ordinary VMs and realms, each busy while the other is.
pub(super) fn side_by_side() -> Result<()> {
    const ROUNDS: u32 = 3;
    let before = debugfs::delegated()?;
    let ordinary = Shape {
        realm: false,
        ..Shape::REALM
    };
    let rounds = |shape: Shape| -> Result<()> {
        for round in 1..=ROUNDS {
            with_cpu(shape, live).map_err(|e| format!("{shape:?}, round {round}: {e}"))?;
        }
        Ok(())
    };
    thread::scope(|scope| {
        let threads = [ordinary, Shape::REALM].map(|shape| scope.spawn(move || rounds(shape)));
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok::<(), super::Error>(())
    })?;
    debugfs::expect_delegated(before)
}

/// `realm hold`: a realm that is there until standard input ends.
pub(super) fn hold() -> Result<()> {
    let _vm = Vm::empty(Shape::REALM)?;
    println!("held");
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// `realm hold running`: a realm that has run, and has private memory, until standard input ends;
/// then it runs on to its end.
pub(super) fn hold_running() -> Result<()> {
    with_cpu(Shape::REALM, |cpu| {
        fill(cpu, chunk(0), SIZE)?;
        println!("held");
        std::io::stdin().read_to_end(&mut Vec::new())?;
        live_on(cpu)
    })
}

/// `realm refused`: there can be no realms.
pub(super) fn refused() -> Result<()> {
    match Vm::empty(Shape::REALM) {
        Ok(_) => Err("there can be realms".into()),
        Err(error) => {
            let einval = error.raw_os_error() == Some(libc::EINVAL);
            ensure!(einval, "{error} instead of EINVAL");
            Ok(())
        }
    }
}

/// `realm churn N`: so many VMs that are closed right away, which is how VMMs find out what there
/// is. The host's memory is there afterwards.
pub(super) fn churn(count: u64) -> Result<()> {
    /// What a VM loses would show, if it were a page, after a quarter of them.
    const ALLOWED_KIB_PER_VM: u64 = 1;
    let one = || Vm::empty(Shape::REALM).map(drop);
    // Whatever is kept for the next one is kept once.
    for _ in 0..count / 4 {
        one()?;
    }
    // What is lost is lost every time; what the kernel's caches take it seldom is.
    let mut least = u64::MAX;
    for _ in 0..3 {
        let before = free_kib()?;
        for _ in 0..count {
            one()?;
        }
        let after = free_kib()?;
        println!("{count} VMs: {before} KiB free before, {after} KiB after");
        least = least.min(before.saturating_sub(after));
    }
    ensure!(
        least < count * ALLOWED_KIB_PER_VM,
        "{count} VMs cost {least} KiB"
    );
    Ok(())
}

/// Free memory of the host, when all that can be freed is: what the zones have, and what is on its way
/// to them in the lists of each CPU, which alone may be more than some hundred VMs lose.
fn free_kib() -> Result<u64> {
    /// A page, and the host's are as large as a granule.
    const PAGE_KIB: u64 = 4;
    std::thread::sleep(std::time::Duration::from_millis(500));
    // Where the kernel has no such file what it keeps for later shows, and is not much.
    let _ = std::fs::write("/proc/sys/vm/drop_caches", "3");
    let text = std::fs::read_to_string("/proc/zoneinfo")?;
    let mut pages = 0;
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let count = match (words.next(), words.next(), words.next()) {
            // Once for each zone.
            (Some("pages"), Some("free"), Some(count)) => count,
            // Once for each CPU of a zone.
            (Some("count:"), Some(count), None) => count,
            _ => continue,
        };
        pages += count
            .parse::<u64>()
            .map_err(|_| "/proc/zoneinfo: no number")?;
    }
    ensure!(pages > 0, "/proc/zoneinfo: no free pages");
    Ok(pages * PAGE_KIB)
}
