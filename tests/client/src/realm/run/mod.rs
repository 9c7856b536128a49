// SPDX-License-Identifier: GPL-2.0

//! A whole life of a realm: everything that it can exit for, on as many CPUs as wanted.

pub(super) mod devices;
pub(crate) mod measurement;
pub(super) mod memory;
pub(super) mod off;
mod power;
mod secondary;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use realm_guest::{Op, Order, BASE, IMAGE_SIZE};

use super::cpu::{Cpu, End};
use super::host_cpu::stay_on;
use super::signal::{self, Kick};
use super::vm::{Mode, Shape, Vm};
use super::{debugfs, ensure, Result};

/// What the first CPU gets in x0.
const X0: u64 = 0x1122_3344_5566_7788;
/// Memory that each CPU fills, converts and checks. What is below is the guest's own.
const FIRST_CHUNK: u64 = BASE + 0x20_0000;
const CHUNK: u64 = 0x40_0000;
const _: () = assert!(BASE + IMAGE_SIZE <= FIRST_CHUNK);

/// The memory of CPU `number`.
pub(super) const fn chunk(number: u64) -> u64 {
    FIRST_CHUNK + number * CHUNK
}

/// `realm run [--ordinary] [--mode v14|v15] [--vcpus N] [--memory MiB] [--pinned]`.
pub(crate) fn main(mut options: &[&str]) -> Result<()> {
    let mut shape = Shape::REALM;
    loop {
        options = match options {
            [] => break,
            ["--ordinary", rest @ ..] => {
                shape.realm = false;
                rest
            }
            ["--mode", name, rest @ ..] => {
                Mode::set(name)?;
                rest
            }
            ["--vcpus", n, rest @ ..] => {
                shape.cpus = n.parse()?;
                rest
            }
            ["--memory", mib, rest @ ..] => {
                shape.memory = mib.parse::<u64>()? << 20;
                rest
            }
            ["--pinned", rest @ ..] => {
                shape.pinned = true;
                rest
            }
            other => return Err(format!("realm run: {other:?}?").into()),
        };
    }
    let needed = chunk(shape.cpus) - BASE;
    ensure!(
        shape.memory >= needed,
        "it takes {} MiB of memory",
        needed >> 20
    );
    signal::init()?;
    if !shape.realm {
        return life(shape);
    }
    let before = debugfs::delegated()?;
    life(shape)?;
    debugfs::expect_delegated(before)
}

/// Makes a VM, has it do everything, and lets it go.
pub(crate) fn life(shape: Shape) -> Result<()> {
    let vm = Vm::new(shape)?;
    let kicks: Vec<Kick> = (0..shape.cpus).map(|_| Kick::default()).collect();
    let cpus = (0..).zip(&kicks).map(|(n, kick)| Cpu::new(&vm, kick, n));
    let mut cpus = cpus.collect::<Result<Vec<_>>>()?;
    let _gic = vm.add_gic()?;
    devices::forward_calls(&vm)?;
    vm.load_guest()?;
    if shape.realm {
        measurement::populate_more(&vm)?;
    }
    let mut first = cpus.remove(0);
    first.set_entry(X0)?;

    let failed = AtomicBool::new(false);
    thread::scope(|scope| {
        let mut threads = Vec::new();
        for (n, mut cpu) in (1..).zip(cpus) {
            let failed = &failed;
            threads.push(scope.spawn(move || {
                let result = place(shape, n).and_then(|()| secondary::run(&mut cpu));
                failed.fetch_or(result.is_err(), Ordering::Release);
                cpu.kick.nobody();
                result
            }));
        }
        let mut result = place(shape, 0).and_then(|()| primary(&mut first, &failed));
        vm.stop.store(true, Ordering::Release);
        while threads.iter().any(|thread| !thread.is_finished()) {
            kicks[1..].iter().for_each(|kick| {
                kick.kick();
            });
            thread::sleep(Duration::from_millis(5));
        }
        for thread in threads {
            let other = thread.join().map_err(|_| "a thread panicked")?;
            // The others may fail because the first has; its own error says more.
            result = result.and(other);
        }
        result
    })
}

/// Has the calling thread, which is that of CPU `number`, run where it is to.
fn place(shape: Shape, number: usize) -> Result<()> {
    match shape.pinned {
        true => stay_on(number),
        false => Ok(()),
    }
}

/// What the first CPU does.
fn primary(cpu: &mut Cpu<'_>, failed: &AtomicBool) -> Result<()> {
    cpu.start()?;
    let frequency = describe(cpu)?;
    devices::check(cpu)?;
    if cpu.vm.shape.realm {
        devices::check_calls(cpu)?;
        measurement::check(cpu)?;
    }
    memory::check(cpu)?;
    power::check_timer(cpu, frequency)?;
    power::check_interrupted(cpu, frequency)?;
    power::check_others(cpu, failed)?;
    println!("{:?}, {:?} conversions", cpu.tally, cpu.vm.conversions());
    power::turn_off(cpu)
}

/// Checks what the guest knows of itself; returns the frequency of its counter.
fn describe(cpu: &mut Cpu<'_>) -> Result<u64> {
    let shape = cpu.vm.shape;
    let [_, ipa_bits, x0, mpidr, _, frequency, ..] = cpu.order(Order::new(Op::Describe, 0), &[])?;
    let wanted = match (shape.realm, shape.ipa_bits) {
        (false, _) => 0,
        (true, 0) => 40,
        (true, bits) => bits,
    };
    ensure!(
        ipa_bits == wanted && x0 == X0 && mpidr & 0xff_00ff_ffff == 0,
        "the guest sees IPA bits {ipa_bits}, x0 {x0:#x}, MPIDR {mpidr:#x}"
    );
    println!("started: ok");
    Ok(frequency)
}

/// Stops a test unless an order ended so.
fn expect_end(what: &str, end: End, wanted: End) -> Result<()> {
    ensure!(end == wanted, "{what}: {end:?} instead of {wanted:?}");
    Ok(())
}
