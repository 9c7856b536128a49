// SPDX-License-Identifier: GPL-2.0

//! Several threads at once, on one realm.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kvm_bindings::kvm_userspace_memory_region2;
use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::{Cases, MIB};
use crate::realm::brief::with_two;
use crate::realm::cpu::{Cpu, End};
use crate::realm::memory::{punch_hole, Huge, Mapping};
use crate::realm::run::chunk;
use crate::realm::run::memory::set_ripas;
use crate::realm::signal::Kick;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{ensure, Result};

const SHAPE: Shape = Shape {
    cpus: 2,
    ..Shape::REALM
};

pub(super) fn cases(cases: &mut Cases) -> Result<()> {
    first_runs(cases)?;
    run_and_populate(cases)?;
    with_two(&Vm::new(SHAPE)?, ping_pong)?;
    with_two(&Vm::new(SHAPE)?, turned_off)?;
    while_it_touches("its slot goes", |vm| {
        let slot = vm.slots.first().ok_or("no slot")?;
        vm.set_slot(&kvm_userspace_memory_region2 {
            memory_size: 0,
            ..vm.region(slot)
        })?;
        Ok(())
    })?;
    while_it_touches("its memory goes", |vm| {
        let slot = vm.slots.first().ok_or("no slot")?;
        let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
        punch_hole(memfd, chunk(0) - BASE, 16 * MIB)?;
        Ok(())
    })?;
    while_it_touches("its memory is shared", |vm| {
        vm.convert(chunk(0), 16 * MIB, false)
    })
}

/// Both CPUs of a realm run for the first time at once.
fn first_runs(cases: &mut Cases) -> Result<()> {
    for _ in 0..5 {
        let vm = Vm::new(SHAPE)?;
        let kicks = [Kick::default(), Kick::default()];
        let mut first = Cpu::new(&vm, &kicks[0], 0)?;
        let mut other = Cpu::new(&vm, &kicks[1], 1)?;
        let _gic = vm.add_gic()?;
        vm.load_guest()?;
        first.set_entry(0)?;
        thread::scope(|scope| {
            let other = scope.spawn(move || {
                let end = other.run();
                other.kick.nobody();
                end
            });
            let started = first.start();
            cases.holds("the first of two", started.is_ok());
            stop(&vm, &kicks[1], || other.is_finished());
            let end = other.join().map_err(|_| "a thread panicked")??;
            cases.equal("the other, which is off", end, End::Stopped);
            started
        })?;
    }
    Ok(())
}

/// Gets a CPU out of KVM_RUN for good.
pub(super) fn stop(vm: &Vm, kick: &Kick, is_over: impl Fn() -> bool) {
    vm.stop.store(true, Ordering::Release);
    while !is_over() {
        kick.kick();
        thread::sleep(Duration::from_millis(2));
    }
}

/// A realm starts while it is populated. Either comes first; neither is lost.
fn run_and_populate(cases: &mut Cases) -> Result<()> {
    let source = Mapping::new(8 * MIB, Huge::Never)?;
    for delay in [0, 1, 10] {
        let vm = Vm::new(Shape::REALM)?;
        let kick = Kick::default();
        let mut cpu = Cpu::new(&vm, &kick, 0)?;
        let _gic = vm.add_gic()?;
        vm.load_guest()?;
        cpu.set_entry(0)?;
        thread::scope(|scope| {
            let populating = scope.spawn(|| vm.populate(chunk(0), &source, false));
            thread::sleep(Duration::from_millis(delay));
            cases.holds("starting meanwhile", cpu.start().is_ok());
            let populated = populating.join().map_err(|_| "a thread panicked")?;
            let fine = match populated {
                Ok(()) => true,
                Err(error) => error.to_string().contains("busy"),
            };
            cases.holds("populating meanwhile", fine);
            // Whatever was populated and whatever was not, it is zero.
            cpu.expect(Order::pages(Op::CheckZero, chunk(0), 8 * MIB), &[], 0)
        })?;
    }
    Ok(())
}

/// One CPU gives memory up and takes it back while the other uses it, and gets an abort now and then.
fn ping_pong(first: &mut Cpu<'_>, mut other: Cpu<'_>) -> Result<()> {
    const ROUNDS: u32 = 50;
    let base = chunk(0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let using = scope.spawn(|| -> Result<[u64; 2]> {
            let mut ends = [0, 0];
            while !over.load(Ordering::Acquire) {
                for page in 0..8 {
                    let arguments = [base + page * PAGE_SIZE, 8, page];
                    let [syndrome, ..] = other.order(Order::new(Op::Store, 0), &arguments)?;
                    ends[usize::from(syndrome != 0)] += 1;
                }
            }
            Ok(ends)
        });
        let mut rounds = || -> Result<()> {
            for _ in 0..ROUNDS {
                set_ripas(first, Op::SetEmpty, base, MIB)?;
                set_ripas(first, Op::SetRam, base, MIB)?;
            }
            Ok(())
        };
        let result = rounds();
        over.store(true, Ordering::Release);
        let [good, aborted] = using.join().map_err(|_| "a thread panicked")??;
        println!("ping-pong: {good} stores, and {aborted} aborts");
        result
    })
}

/// One CPU turns the realm off while the other is busy in it.
fn turned_off(first: &mut Cpu<'_>, mut other: Cpu<'_>) -> Result<()> {
    let vm = first.vm;
    let kick = other.kick;
    thread::scope(|scope| {
        let busy = scope.spawn(move || loop {
            match other.give(Order::pages(Op::Touch, chunk(1), MIB), &[])? {
                End::Done(_) => {}
                end => {
                    other.kick.nobody();
                    return Ok::<End, crate::realm::Error>(end);
                }
            }
        });
        thread::sleep(Duration::from_millis(20));
        let end = first.give(Order::new(Op::SystemOff, 0), &[])?;
        ensure!(matches!(end, End::Event(_)), "SYSTEM_OFF: {end:?}");
        thread::sleep(Duration::from_millis(20));
        stop(vm, kick, || busy.is_finished());
        let end = busy.join().map_err(|_| "a thread panicked")??;
        ensure!(end == End::Stopped, "a CPU of a realm that is off: {end:?}");
        Ok(())
    })
}

/// The VMM does something to memory that a CPU is just filling. What becomes of the CPU is its own
/// affair; the host goes on, and gets everything back.
fn while_it_touches(what: &str, act: fn(&Vm) -> Result<()>) -> Result<()> {
    for delay in [0, 2, 20] {
        let vm = Vm::new(Shape::REALM)?;
        let kick = Kick::default();
        let mut cpu = Cpu::new(&vm, &kick, 0)?;
        let _gic = vm.add_gic()?;
        vm.load_guest()?;
        cpu.set_entry(0)?;
        cpu.start()?;
        thread::scope(|scope| {
            let touching = scope.spawn(move || {
                let end = cpu.give(Order::pages(Op::Touch, chunk(0), 16 * MIB), &[]);
                cpu.kick.nobody();
                end.map_or_else(|error| error.to_string(), |end| format!("{end:?}"))
            });
            thread::sleep(Duration::from_millis(delay));
            act(&vm).map_err(|e| format!("{what}: {e}"))?;
            // It may wait for memory for ever.
            thread::sleep(Duration::from_millis(200));
            stop(&vm, &kick, || touching.is_finished());
            let end = touching.join().map_err(|_| "a thread panicked")?;
            println!("{what} after {delay} ms: {end}");
            Ok::<(), crate::realm::Error>(())
        })?;
    }
    Ok(())
}
