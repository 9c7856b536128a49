// SPDX-License-Identifier: GPL-2.0

//! `realm parallel N...`: what it costs when all vCPUs of a realm do something at once, each on a CPU of its
//! own. However many there are, together they do as much: so what a page or a call costs more with many of
//! them is what they cost each other.

use std::mem::size_of_val;
use std::sync::Barrier;
use std::thread;

use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::{phase::Phases, CALLS, MIB, POPULATED, SHAPE};
use crate::realm::cpu::Cpu;
use crate::realm::memory::check;
use crate::realm::signal::{self, Kick};
use crate::realm::vm::{Shape, Vm};
use crate::realm::{debugfs, ensure, Error, Result};

/// What all vCPUs together touch, in each of two ways.
const SIZE: u64 = 64 * MIB;
/// An even piece for each vCPU, which it touches in order, and then converts to and fro.
const DISJOINT: u64 = BASE + POPULATED;
/// Pages that are by turns one vCPU's and another's.
const INTERLEAVED: u64 = DISJOINT + SIZE;

/// What vCPU `n` of `count` does.
type Does = fn(cpu: &mut Cpu<'_>, n: u64, count: u64) -> Result<()>;

/// What they do at once, one after the other: name, units in all, and what each does.
const PARTS: [(&str, u64, Does); 5] = [
    ("disjoint", SIZE / PAGE_SIZE, |cpu, n, count| {
        piece(cpu, Op::Touch, n, count)
    }),
    ("interleaved", SIZE / PAGE_SIZE, |cpu, n, count| {
        let base = INTERLEAVED + n * PAGE_SIZE;
        let order = Order::pages(Op::TouchEvery, base, SIZE / count);
        cpu.expect(order, &[count * PAGE_SIZE], 0)
    }),
    ("give_up", SIZE / PAGE_SIZE, |cpu, n, count| {
        piece(cpu, Op::GiveUp, n, count)
    }),
    ("take_back", SIZE / PAGE_SIZE, |cpu, n, count| {
        piece(cpu, Op::TakeBack, n, count)
    }),
    ("hypercall", 16 * CALLS, |cpu, _, count| {
        cpu.expect(Order::new(Op::AskVersion, 16 * CALLS / count), &[], 0)
    }),
];

/// An order on the piece of vCPU `n`.
fn piece(cpu: &mut Cpu<'_>, op: Op, n: u64, count: u64) -> Result<()> {
    let size = SIZE / count;
    cpu.expect(Order::pages(op, DISJOINT + n * size, size), &[], 0)
}

/// `realm parallel N...`: realms with so many vCPUs, one after the other.
pub(in crate::realm) fn main(counts: &[&str]) -> Result<()> {
    signal::init()?;
    let before = debugfs::delegated()?;
    let mut phases = Phases::default();
    for count in counts {
        let count = count.parse()?;
        realm(&mut phases, count).map_err(|e| format!("{count} vCPUs: {e}"))?;
        debugfs::expect_delegated(before)?;
    }
    print!("{phases}");
    Ok(())
}

fn realm(phases: &mut Phases, count: u64) -> Result<()> {
    let cpus = thread::available_parallelism()?.get() as u64;
    ensure!(count <= cpus, "the host has {cpus} CPUs");
    ensure!(
        count.is_power_of_two() && count <= 16,
        "no even parts of {SIZE:#x} bytes"
    );
    let mut vm = Vm::new(Shape {
        cpus: count,
        memory: POPULATED + 2 * SIZE,
        ..SHAPE
    })?;
    vm.keeps_both = true;
    let kicks: Vec<Kick> = (0..count).map(|_| Kick::default()).collect();
    let cpus = (0..).zip(&kicks).map(|(n, kick)| Cpu::new(&vm, kick, n));
    let mut cpus = cpus.collect::<Result<Vec<_>>>()?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    let (first, others) = cpus.split_first_mut().ok_or("no vCPU")?;
    first.set_entry(0)?;
    first.start()?;
    for (n, other) in (1..).zip(others) {
        first.expect(Order::new(Op::CpuOn, n), &[], 0)?;
        other.start()?;
    }
    at_once(phases, &mut cpus)
}

/// Has all vCPUs do all that there is to do, each part together.
fn at_once(phases: &mut Phases, cpus: &mut [Cpu<'_>]) -> Result<()> {
    let count = cpus.len() as u64;
    let together = Barrier::new(cpus.len() + 1);
    let meet = || {
        together.wait();
    };
    thread::scope(|scope| {
        let run = |n: u64, cpu: &mut Cpu<'_>| {
            let mut result = stay_on_cpu(n);
            for (name, _, does) in PARTS {
                meet();
                // Whoever has failed keeps the others from nothing.
                if result.is_ok() {
                    let done = does(cpu, n, count);
                    result = done.map_err(|e| format!("{name}, vCPU {n}: {e}").into());
                }
                meet();
            }
            result
        };
        let threads = (0..).zip(cpus);
        let threads = threads.map(|(n, cpu)| scope.spawn(move || run(n, cpu)));
        let threads: Vec<_> = threads.collect();
        let mut result = Ok(());
        for (name, units, _) in PARTS {
            let mut met = false;
            let phase = phases.run_on(count, &format!("{name}_{count}"), units, || {
                met = true;
                meet();
                meet();
                Ok(())
            });
            if !met {
                meet();
                meet();
            }
            result = result.and(phase);
        }
        for thread in threads {
            let one = thread.join().map_err(|_| "a thread panicked")?;
            result = result.and(one);
        }
        result
    })
}

/// Keeps this thread on a CPU.
fn stay_on_cpu(n: u64) -> Result<()> {
    let cpu = usize::try_from(n).map_err(|e| -> Error { e.into() })?;
    // SAFETY: All zeroes is an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: The set is as large as it is said to be, and has room for more CPUs than a test uses.
    check(unsafe {
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set)
    })?;
    Ok(())
}
