// SPDX-License-Identifier: GPL-2.0

//! First KVM_RUNs that have to wait for somebody: that somebody gets on, everybody else does, and a
//! signal ends the wait.
//!
//! What waits for ever where it should not is sent signals from when [`PATIENCE`] is over, so that
//! its case fails, and the others have their turn.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kvm_bindings::RegList;
use kvm_ioctls::VcpuFd;
use realm_guest::BASE;

use super::Cases;
use crate::realm::brief::with_two_ready;
use crate::realm::cpu::{Cpu, PC};
use crate::realm::host_cpu::stay_on;
use crate::realm::memory::check;
use crate::realm::signal::Kick;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{ensure, Result};

/// What takes longer does not end by itself.
const PATIENCE: Duration = Duration::from_secs(20);

const SHAPE: Shape = Shape {
    cpus: 2,
    ..Shape::REALM
};

pub(super) fn cases(cases: &mut Cases) -> Result<()> {
    against_registers(cases)?;
    sparse_at_once(cases)?;
    // In a thread of its own, since it decides where that runs.
    thread::scope(|scope| {
        let test = scope.spawn(|| against_a_long_ioctl(cases));
        test.join().map_err(|_| "a thread panicked")?
    })
}

/// Waits until something is so. False if that takes too long.
fn comes(is: impl Fn() -> bool) -> bool {
    let begin = Instant::now();
    while !is() && begin.elapsed() < PATIENCE {
        thread::sleep(Duration::from_millis(1));
    }
    is()
}

/// Waits for threads, and interrupts them from when that takes too long.
fn end_of(vm: &Vm, kicks: &[Kick], is_over: impl Fn() -> bool) {
    if comes(&is_over) {
        return;
    }
    vm.stop.store(true, Ordering::Release);
    while !is_over() {
        for kick in kicks {
            kick.kick();
        }
        thread::sleep(Duration::from_millis(2));
    }
}

/// A realm starts while a register of its other CPU is set, again and again.
fn against_registers(cases: &mut Cases) -> Result<()> {
    const ROUNDS: u32 = 10;
    for _ in 0..ROUNDS {
        let vm = Vm::new(SHAPE)?;
        let started = with_two_ready(&vm, |first, other| {
            let (kick, over) = (first.kick, AtomicBool::new(false));
            thread::scope(|scope| {
                scope.spawn(|| {
                    while !over.load(Ordering::Acquire) {
                        // It fails when the realm has started.
                        let _ = other.fd.set_one_reg(PC, &BASE.to_le_bytes());
                    }
                });
                let starting = scope.spawn(|| {
                    let started = first.start();
                    first.kick.nobody();
                    started
                });
                end_of(&vm, std::slice::from_ref(kick), || starting.is_finished());
                over.store(true, Ordering::Release);
                Ok(starting.join().map_err(|_| "a thread panicked")?)
            })
        })?;
        cases.holds("starting while a register is set", started.is_ok());
    }
    Ok(())
}

/// Both of two CPUs whose numbers have a hole run for the first time at once.
fn sparse_at_once(cases: &mut Cases) -> Result<()> {
    const ROUNDS: u32 = 3000;
    let vm = Vm::new(SHAPE)?;
    let kicks = [Kick::default(), Kick::default()];
    let mut cpus = [Cpu::new(&vm, &kicks[0], 0)?, Cpu::new(&vm, &kicks[1], 5)?];
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    let errnos = thread::scope(|scope| {
        let running = cpus.each_mut().map(|cpu| {
            scope.spawn(move || {
                cpu.kick.me();
                let mut run = || cpu.fd.run().err().map(|error| error.errno());
                let errnos = (0..ROUNDS).map(|_| run());
                let other = errnos.into_iter().find(|got| *got != Some(libc::EINVAL));
                cpu.kick.nobody();
                other
            })
        });
        end_of(&vm, &kicks, || running.iter().all(|one| one.is_finished()));
        running.map(|one| one.join().map_err(|_| "a thread panicked"))
    });
    for other in errnos {
        cases.equal("what CPUs 0 and 5 get but EINVAL", other?, None);
    }
    let size = vm.shape.memory;
    cases.errno("attributes after that", vm.set_private(BASE, size, true), 0);
    Ok(())
}

/// A thread is at work on a CPU and does not get done. Meanwhile the first KVM_RUN of another waits,
/// and nothing else does.
///
/// What keeps the thread from its work is a thread of a higher priority, on the same one of the
/// host's CPUs. Whether it is inside the ioctl then is tried out, until it is.
fn against_a_long_ioctl(cases: &mut Cases) -> Result<()> {
    with_two_ready(&Vm::new(SHAPE)?, |first, other| {
        held_up(cases, first, &other.fd)
    })
}

fn held_up(cases: &mut Cases, first: &mut Cpu<'_>, other: &VcpuFd) -> Result<()> {
    const ATTEMPTS: u32 = 100;
    let over = AtomicBool::new(false);
    let seen = thread::scope(|scope| -> Result<Option<Seen>> {
        let at_work = scope.spawn(|| -> Result<()> {
            run_on(BUSY_CPU, 1)?;
            let mut list = RegList::new(500)?;
            while !over.load(Ordering::Acquire) {
                other.get_reg_list(&mut list)?;
            }
            Ok(())
        });
        // Nobody else may be where nothing gets done.
        run_on(1 - BUSY_CPU, 0)?;
        let mut seen = Ok(None);
        for _ in 0..ATTEMPTS {
            seen = while_held(first.vm, first, other);
            if !matches!(seen, Ok(None)) {
                break;
            }
        }
        over.store(true, Ordering::Release);
        at_work.join().map_err(|_| "a thread panicked")??;
        seen
    })?;
    let Seen { attributes, run } = seen.ok_or("no ioctl was held up")?;
    cases.holds("attributes while a first KVM_RUN waits", attributes);
    cases.equal("the first KVM_RUN, interrupted", run, Some(libc::EINTR));
    cases.holds("it starts when it need not wait", first.start().is_ok());
    Ok(())
}

/// What was seen while a thread was held up inside an ioctl.
struct Seen {
    /// Attributes could be set.
    attributes: bool,
    /// How KVM_RUN of another CPU failed after a signal.
    run: Option<i32>,
}

/// The one of the host's CPUs on which nothing gets done.
const BUSY_CPU: usize = 1;

/// Holds up whoever is at work on `other`. Returns `None` if that is not inside an ioctl.
fn while_held(vm: &Vm, first: &mut Cpu<'_>, other: &VcpuFd) -> Result<Option<Seen>> {
    let (held, holds) = (AtomicBool::new(true), AtomicBool::new(false));
    let free = AtomicBool::new(false);
    let kick = first.kick;
    thread::scope(|scope| {
        let holding = scope.spawn(|| -> Result<()> {
            let result = run_on(BUSY_CPU, 2);
            holds.store(true, Ordering::Release);
            while result.is_ok() && held.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
            result
        });
        comes(|| holds.load(Ordering::Acquire));
        // This gets done as soon as nobody else is at work on the CPU.
        scope.spawn(|| {
            let _ = other.get_one_reg(PC, &mut [0; 8]);
            free.store(true, Ordering::Release);
        });
        thread::sleep(Duration::from_millis(50));
        if free.load(Ordering::Acquire) {
            held.store(false, Ordering::Release);
            holding.join().map_err(|_| "a thread panicked")??;
            return Ok(None);
        }

        let run = scope.spawn(move || {
            kick.me();
            let errno = first.fd.run().err().map(|error| error.errno());
            kick.nobody();
            errno
        });
        thread::sleep(Duration::from_millis(50));
        let set = scope.spawn(|| vm.set_private(BASE, vm.shape.memory, true));
        let attributes = comes(|| set.is_finished());
        let begin = Instant::now();
        while !run.is_finished() && begin.elapsed() < PATIENCE {
            kick.kick();
            thread::sleep(Duration::from_millis(2));
        }
        let was_held = !free.load(Ordering::Acquire);
        held.store(false, Ordering::Release);
        holding.join().map_err(|_| "a thread panicked")??;
        let run = run.join().map_err(|_| "a thread panicked")?;
        set.join().map_err(|_| "a thread panicked")??;
        Ok(was_held.then_some(Seen { attributes, run }))
    })
}

/// Has the calling thread run on one of the host's CPUs only: with a real-time priority, unless
/// that is 0.
fn run_on(cpu: usize, priority: i32) -> Result<()> {
    // SAFETY: Always succeeds.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    ensure!(cpus > cpu as i64, "the host has {cpus} CPUs");
    let policy = match priority {
        0 => libc::SCHED_OTHER,
        _ => libc::SCHED_FIFO,
    };
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    stay_on(cpu)?;
    // SAFETY: The call reads what it is passed.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) })?;
    Ok(())
}
