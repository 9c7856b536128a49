// SPDX-License-Identifier: GPL-2.0

//! `realm off N`: one CPU turns the machine off while the others are busy in it.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use kvm_bindings::KVM_SYSTEM_EVENT_SHUTDOWN;
use realm_guest::{fid, Op, Order, BASE};

use super::{expect_end, secondary};
use crate::realm::cpu::{Cpu, End};
use crate::realm::signal::{self, Kick};
use crate::realm::vm::{Shape, Vm};
use crate::realm::{debugfs, ensure, Result};

const CPUS: u64 = 4;

/// So many machines. The one that turns itself off says so, however fast the others notice; they wait
/// until a signal gets them out, as those of an ordinary VM do.
pub(crate) fn main(count: u32) -> Result<()> {
    signal::init()?;
    let before = debugfs::delegated()?;
    for realm in [false, true] {
        let count = if realm { count } else { 1 };
        for number in 1..=count {
            let shape = Shape {
                realm,
                cpus: CPUS,
                ..Shape::REALM
            };
            once(shape).map_err(|e| format!("realm: {realm}, number {number}: {e}"))?;
        }
    }
    println!("off {count} times: ok");
    debugfs::expect_delegated(before)
}

fn once(shape: Shape) -> Result<()> {
    let vm = Vm::new(shape)?;
    let kicks: Vec<Kick> = (0..CPUS).map(|_| Kick::default()).collect();
    let cpus = (0..).zip(&kicks).map(|(n, kick)| Cpu::new(&vm, kick, n));
    let mut cpus = cpus.collect::<Result<Vec<_>>>()?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    let mut first = cpus.remove(0);
    first.set_entry(0)?;
    thread::scope(|scope| {
        let threads: Vec<_> = cpus
            .into_iter()
            .map(|mut cpu| {
                scope.spawn(move || {
                    let end = busy(&mut cpu);
                    cpu.kick.nobody();
                    end
                })
            })
            .collect();
        let end = turn_off(&mut first);
        // They have had the time to come back by themselves, if they do.
        thread::sleep(Duration::from_millis(20));
        let by_themselves = threads.iter().filter(|thread| thread.is_finished()).count();
        vm.stop.store(true, Ordering::Release);
        while threads.iter().any(|thread| !thread.is_finished()) {
            kicks[1..].iter().for_each(|kick| {
                kick.kick();
            });
            thread::sleep(Duration::from_millis(1));
        }
        end?;
        ensure!(by_themselves == 0, "{by_themselves} came back");
        for thread in threads {
            let end = thread.join().map_err(|_| "a thread panicked")??;
            expect_end("another CPU", end, End::Stopped)?;
        }
        expect_end("the first CPU again", again(&mut first)?, End::Stopped)
    })
}

/// Starts the others and turns the machine off.
fn turn_off(cpu: &mut Cpu<'_>) -> Result<()> {
    cpu.start()?;
    for number in 1..CPUS {
        let call = [fid::CPU_ON, number, BASE, secondary::CONTEXTS[0] + number];
        let [result, ..] = cpu.order(Order::new(Op::Smc, call.len() as u64), &call)?;
        ensure!(result == 0, "CPU_ON of {number}: {result:#x}");
    }
    let end = cpu.give(Order::new(Op::SystemOff, 0), &[])?;
    expect_end("SYSTEM_OFF", end, End::Event(KVM_SYSTEM_EVENT_SHUTDOWN))
}

/// Exits as often as it can, until something else than its work comes of it.
fn busy(cpu: &mut Cpu<'_>) -> Result<End> {
    let mut end = cpu.run()?;
    while let End::Done(_) | End::Restarted = end {
        end = cpu.give(Order::new(Op::Describe, 0), &[])?;
    }
    Ok(end)
}

/// Runs a CPU of a machine that is off until it is interrupted; [`Vm::stop`] is set.
pub(super) fn again(cpu: &mut Cpu<'_>) -> Result<End> {
    let kick = cpu.kick;
    thread::scope(|scope| {
        let interrupt = scope.spawn(move || {
            while !kick.kick() {
                thread::sleep(Duration::from_millis(1));
            }
            // It may have come before the CPU ran.
            while kick.kick() {
                thread::sleep(Duration::from_millis(1));
            }
        });
        let end = cpu.run();
        kick.nobody();
        interrupt.join().map_err(|_| "a thread panicked")?;
        end
    })
}
