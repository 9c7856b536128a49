// SPDX-License-Identifier: GPL-2.0

//! Time, interrupts, and CPUs that go on and off.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvm_bindings::{
    kvm_mp_state,
    KVM_MP_STATE_RUNNABLE,
    KVM_SYSTEM_EVENT_SHUTDOWN, //
};
use realm_guest::{fid, Op, Order, BASE};

use super::{chunk, expect_end, memory, off, secondary, CHUNK};
use crate::realm::cpu::{Cpu, End};
use crate::realm::{ensure, Result};

/// What PSCI says.
mod psci {
    pub(super) const SUCCESS: u64 = 0;
    pub(super) const NOT_SUPPORTED: u64 = -1i64 as u64;
    pub(super) const INVALID_PARAMETERS: u64 = -2i64 as u64;
    pub(super) const ALREADY_ON: u64 = -4i64 as u64;
    pub(super) const INVALID_ADDRESS: u64 = -9i64 as u64;
    /// AFFINITY_INFO.
    pub(super) const ON: u64 = 0;
    pub(super) const OFF: u64 = 1;
}

/// Conversions of the memory of each CPU, while the others do the same.
pub(super) const ROUNDS: u64 = 3;

/// How long the others may take.
const PATIENCE: Duration = Duration::from_secs(300);

/// The timer fires while the CPU waits for it, in WFI and in CPU_SUSPEND.
pub(super) fn check_timer(cpu: &mut Cpu<'_>, frequency: u64) -> Result<()> {
    cpu.expect(Order::new(Op::InitGic, 0), &[], 0)?;
    for divisor in [1000, 100] {
        cpu.expect(Order::new(Op::Timer, frequency / divisor), &[], 1)?;
    }
    let suspend = Order::new(Op::Suspend, frequency / 100);
    let [interrupts, result, ..] = cpu.order(suspend, &[])?;
    ensure!(
        [interrupts, result] == [1, psci::SUCCESS],
        "CPU_SUSPEND: {interrupts} interrupts, {result:#x}"
    );
    println!("timer: ok");
    Ok(())
}

/// A signal gets a busy CPU out, and it goes on where it was.
pub(super) fn check_interrupted(cpu: &mut Cpu<'_>, frequency: u64) -> Result<()> {
    let before = cpu.tally.interrupted;
    let kick = cpu.kick;
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                thread::sleep(Duration::from_millis(10));
                kick.kick();
            }
        });
        // On a host with much else to do the other thread may not come to it at once.
        let start = Instant::now();
        let mut result = Ok(());
        while result.is_ok() && cpu.tally.interrupted == before && start.elapsed() < PATIENCE {
            result = cpu
                .order(Order::new(Op::Spin, frequency / 5), &[])
                .map(drop);
        }
        over.store(true, Ordering::Release);
        result
    })?;
    let times = cpu.tally.interrupted - before;
    ensure!(times != 0, "no signal came through");
    println!("interrupted {times} times: ok");
    Ok(())
}

/// Makes a PSCI call; returns its result.
fn psci<const N: usize>(cpu: &mut Cpu<'_>, arguments: [u64; N]) -> Result<u64> {
    let [result, ..] = cpu.order(Order::new(Op::Smc, N as u64), &arguments)?;
    Ok(result)
}

fn expect_psci<const N: usize>(cpu: &mut Cpu<'_>, arguments: [u64; N], wanted: u64) -> Result<()> {
    let result = psci(cpu, arguments)?;
    ensure!(
        result == wanted,
        "PSCI {arguments:x?}: {result:#x} instead of {wanted:#x}"
    );
    Ok(())
}

/// Turns the other CPUs on, works beside them, and sees them go off; twice.
pub(super) fn check_others(cpu: &mut Cpu<'_>, failed: &AtomicBool) -> Result<()> {
    let cpus = cpu.vm.shape.cpus;
    let realm = cpu.vm.shape.realm;
    expect_psci(cpu, [fid::AFFINITY_INFO, 0, 0], psci::ON)?;
    expect_psci(cpu, [fid::CPU_ON, 0, BASE, 0], psci::ALREADY_ON)?;
    expect_psci(cpu, [fid::CPU_ON, cpus, BASE, 0], psci::INVALID_PARAMETERS)?;
    // A function that PSCI does not have.
    expect_psci(cpu, [0xc400_001e], psci::NOT_SUPPORTED)?;
    for context in secondary::CONTEXTS {
        for number in 1..cpus {
            expect_psci(cpu, [fid::AFFINITY_INFO, number, 0], psci::OFF)?;
            if realm {
                // A realm's CPUs start in its own memory.
                let entry = super::devices::upper(cpu, BASE);
                let call = [fid::CPU_ON, number, entry, 0];
                expect_psci(cpu, call, psci::INVALID_ADDRESS)?;
            }
            let call = [fid::CPU_ON, number, BASE, context + number];
            expect_psci(cpu, call, psci::SUCCESS)?;
        }
        if context == secondary::CONTEXTS[0] {
            work(cpu, cpus)?;
        }
        for number in 1..cpus {
            wait_off(cpu, number, failed)?;
        }
    }
    println!("{cpus} CPUs: ok");
    Ok(())
}

/// What each CPU does while the others do the same.
pub(super) fn work(cpu: &mut Cpu<'_>, cpus: u64) -> Result<()> {
    let [_, _, _, mpidr, ..] = cpu.order(Order::new(Op::Describe, 0), &[])?;
    let number = mpidr & 0xff;
    let base = chunk(number);
    if number != 0 {
        memory::fill(cpu, base, CHUNK)?;
    }
    if cpu.vm.shape.realm {
        for round in 0..ROUNDS {
            let size = CHUNK >> round;
            memory::share_and_take_back(cpu, base + CHUNK - size, size)?;
        }
    }
    if cpus > 1 {
        let next = (number + 1) % cpus;
        cpu.expect(Order::new(Op::SendSgi, next), &[], 0)?;
        cpu.expect(Order::new(Op::AwaitSgi, 1), &[], 1)?;
    }
    Ok(())
}

fn wait_off(cpu: &mut Cpu<'_>, number: u64, failed: &AtomicBool) -> Result<()> {
    let start = Instant::now();
    while psci(cpu, [fid::AFFINITY_INFO, number, 0])? != psci::OFF {
        ensure!(!failed.load(Ordering::Acquire), "another CPU failed");
        ensure!(start.elapsed() < PATIENCE, "CPU {number} stays on");
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Turns the machine off; a realm stays off.
pub(super) fn turn_off(cpu: &mut Cpu<'_>) -> Result<()> {
    let end = cpu.give(Order::new(Op::SystemOff, 0), &[])?;
    expect_end("SYSTEM_OFF", end, End::Event(KVM_SYSTEM_EVENT_SHUTDOWN))?;
    if cpu.vm.shape.realm {
        // KVM has stopped the CPU; if a VMM goes on all the same the RMM does not let it.
        cpu.fd.set_mp_state(kvm_mp_state {
            mp_state: KVM_MP_STATE_RUNNABLE,
        })?;
        cpu.vm.stop.store(true, Ordering::Release);
        expect_end("after SYSTEM_OFF", off::again(cpu)?, End::Stopped)?;
    }
    println!("off: ok");
    Ok(())
}
