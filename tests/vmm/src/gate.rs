// SPDX-License-Identifier: GPL-2.0

//! Pausing: whoever works for the guest passes here each time, and waits while it is paused.
//!
//! A CPU in KVM_RUN is called out by a signal, whose handler sets `immediate_exit` of the CPU whose
//! thread it hits. One signal is enough. The thread clears `immediate_exit` before it looks at the
//! gate, and who closes the gate does so before sending the signal: if the signal comes before the
//! clearing the thread finds the gate closed, and if it comes later KVM_RUN returns at once.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use vmm_sys_util::signal::{register_signal_handler, SIGRTMIN};

thread_local! {
    /// `immediate_exit` of the CPU that this thread runs, or null.
    static IMMEDIATE_EXIT: Cell<*mut u8> = const { Cell::new(std::ptr::null_mut()) };
}

/// Longer than anything that happens inside the gate takes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The gate.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    paused: bool,
    stopped: bool,
    /// How many have passed and not left.
    inside: usize,
    /// Threads of CPUs. They are alive while they are here.
    cpus: Vec<libc::pthread_t>,
}

/// Somebody who has passed, and leaves when this is dropped.
#[derive(Debug)]
pub struct Inside<'g>(&'g Gate);

/// A thread that runs a CPU, until this is dropped.
#[derive(Debug)]
pub struct Cpu<'g>(&'g Gate);

impl Gate {
    /// Passes, when it is open. None if everything is to stop.
    pub fn enter(&self) -> Option<Inside<'_>> {
        let mut state = self.state();
        while state.paused && !state.stopped {
            state = self.wait(state);
        }
        if state.stopped {
            return None;
        }
        state.inside += 1;
        Some(Inside(self))
    }

    /// This thread runs a CPU.
    ///
    /// # Safety
    ///
    /// `immediate_exit` is that of the CPU's `kvm_run`, which is mapped until what this returns is
    /// dropped.
    pub unsafe fn join(&self, immediate_exit: *mut u8) -> Cpu<'_> {
        IMMEDIATE_EXIT.set(immediate_exit);
        // SAFETY: It cannot fail.
        self.state().cpus.push(unsafe { libc::pthread_self() });
        Cpu(self)
    }

    /// Closes the gate, and waits until everybody is out. False if that takes too long. Paused a second
    /// time it is as paused as before.
    pub fn pause(&self) -> bool {
        let mut state = self.state();
        state.paused = true;
        state.call_cpus();
        let out = self
            .changed
            .wait_timeout_while(state, PATIENCE, |state| state.inside > 0 && !state.stopped);
        let (state, _) = out.unwrap_or_else(PoisonError::into_inner);
        state.inside == 0 || state.stopped
    }

    /// Opens it again.
    pub fn resume(&self) {
        self.state().paused = false;
        self.changed.notify_all();
    }

    /// Calls everybody out for good.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        state.call_cpus();
        self.changed.notify_all();
    }

    /// The state, also after a panic: it is whole between any two statements that change it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'s>(&self, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
        let state = self.changed.wait(state);
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn call_cpus(&self) {
        for cpu in &self.cpus {
            // SAFETY: The thread takes itself from the list before it ends, for which it needs the
            // lock that we have.
            let _ = unsafe { libc::pthread_kill(*cpu, SIGRTMIN()) };
        }
    }
}

impl Cpu<'_> {
    /// [`Gate::enter`] for a CPU: between that and the next KVM_RUN no call gets lost.
    pub fn enter(&self) -> Option<Inside<'_>> {
        if let Some(flag) = immediate_exit() {
            flag.store(0, Ordering::SeqCst);
        }
        self.0.enter()
    }
}

impl Drop for Cpu<'_> {
    fn drop(&mut self) {
        // SAFETY: It cannot fail.
        let me = unsafe { libc::pthread_self() };
        self.0.state().cpus.retain(|cpu| *cpu != me);
        IMMEDIATE_EXIT.set(std::ptr::null_mut());
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.state().inside -= 1;
        self.0.changed.notify_all();
    }
}

/// The flag of the CPU that this thread runs. A signal handler may ask.
fn immediate_exit<'f>() -> Option<&'f AtomicU8> {
    let flag = IMMEDIATE_EXIT.try_with(Cell::get).ok()?;
    // SAFETY: It is null, or one byte of a mapping that is there: see `join`. The kernel only reads it.
    (!flag.is_null()).then(|| unsafe { AtomicU8::from_ptr(flag) })
}

/// Has the signal by which CPUs are called do that.
///
/// # Errors
///
/// The kernel does not want to.
pub fn prepare() -> io::Result<()> {
    // It does nothing but look at a variable that has neither to be made nor dropped, and set a byte.
    extern "C" fn call(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
        if let Some(flag) = immediate_exit() {
            flag.store(1, Ordering::SeqCst);
        }
    }
    register_signal_handler(SIGRTMIN(), call).map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;
    use std::thread;

    /// What KVM_RUN does: it goes on until `immediate_exit`.
    fn run(flag: &AtomicU8) {
        while flag.load(Ordering::SeqCst) == 0 {
            thread::yield_now();
        }
    }

    /// Waits for something that is sure to happen.
    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    /// Stops everybody at the end, also when a test has failed.
    struct Stopped<'g>(&'g Gate);

    impl Drop for Stopped<'_> {
        fn drop(&mut self) {
            self.0.stop();
        }
    }

    #[test]
    fn cpus_come_out_stay_out_and_go_on() {
        const CPUS: usize = 4;
        prepare().unwrap();
        let gate = Gate::default();
        let entered = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..CPUS {
                scope.spawn(|| {
                    let flag = AtomicU8::new(0);
                    // SAFETY: It is there until the end of this closure.
                    let cpu = unsafe { gate.join(flag.as_ptr()) };
                    while let Some(_inside) = cpu.enter() {
                        entered.fetch_add(1, Ordering::SeqCst);
                        run(&flag);
                    }
                });
            }
            let _stopped = Stopped(&gate);
            let inside = || gate.state().inside;
            for _ in 0..200 {
                until(|| inside() == CPUS);
                assert!(gate.pause());
                let before = entered.load(Ordering::SeqCst);
                assert_eq!(inside(), 0);
                assert!(gate.pause());
                assert_eq!(entered.load(Ordering::SeqCst), before);
                gate.resume();
            }
            // It ends while it is paused.
            assert!(gate.pause());
        });
        assert!(gate.state().cpus.is_empty());
        assert!(gate.enter().is_none());
    }

    #[test]
    fn a_pause_waits_for_those_inside() {
        let gate = Gate::default();
        let inside = gate.enter().unwrap();
        thread::scope(|scope| {
            let pause = scope.spawn(|| gate.pause());
            until(|| gate.state().paused);
            assert!(!pause.is_finished());
            drop(inside);
            assert!(pause.join().unwrap());
        });
        gate.resume();
        assert!(gate.enter().is_some());
    }
}
