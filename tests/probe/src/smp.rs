// SPDX-License-Identifier: GPL-2.0

//! The other CPUs: each waits for something to do, does it, and waits again.

use core::hint::spin_loop;
use core::sync::atomic::{AtomicU8, Ordering};

use crate::layout::CPUS;
use crate::{arch, gic, vmm};

/// What a CPU can be told to do with the REC of its number.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Job {
    /// Nothing; the CPU waits.
    Nothing,
    /// The CPU is not up.
    Down,
    /// Run it until it is off.
    Run,
    /// Enter it once.
    Enter,
}

/// The CPUs' jobs.
static JOBS: [AtomicU8; CPUS] = [const { AtomicU8::new(Job::Down as u8) }; CPUS];

/// Turns on all CPUs but the first, and waits until they are up.
pub(crate) fn start() {
    for cpu in 1..CPUS {
        assert!(arch::cpu_on(cpu as u64), "EL3 does not turn on CPU {cpu}");
        wait(cpu);
    }
}

/// What a CPU does all its life.
pub(crate) fn serve(cpu: usize) -> ! {
    gic::enable(cpu);
    loop {
        JOBS[cpu].store(Job::Nothing as u8, Ordering::Release);
        while job(cpu) == Job::Nothing as u8 {
            gic::sleep();
        }
        if job(cpu) == Job::Run as u8 {
            vmm::run(cpu);
        } else {
            vmm::enter_once(cpu);
        }
    }
}

/// Gives an idle CPU a job. What the caller has written before, the CPU sees.
pub(crate) fn give(cpu: usize, job: Job) {
    JOBS[cpu].store(job as u8, Ordering::Release);
    gic::wake(cpu);
}

/// Waits until a CPU has nothing to do. What it has written before, the caller sees.
pub(crate) fn wait(cpu: usize) {
    while job(cpu) != Job::Nothing as u8 {
        spin_loop();
    }
}

fn job(cpu: usize) -> u8 {
    JOBS[cpu].load(Ordering::Acquire)
}
