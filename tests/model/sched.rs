// SPDX-License-Identifier: GPL-2.0

//! The current task, and others that want the CPU.

use super::machine::machine;

/// Others may run.
pub fn cond_resched() {
    machine().may_sleep("cond_resched()");
    machine().resched();
    shuttle::thread::yield_now();
}

/// A signal waits for the current task.
pub fn signal_pending() -> bool {
    machine().signal_pending()
}

/// Lets others run for a moment.
pub fn wait_a_little() {
    machine().may_sleep("a sleep");
    shuttle::thread::yield_now();
}

/// Sleeps for a millisecond.
pub fn sleep_1ms() {
    machine().sleep();
    wait_a_little();
}

/// The current task's PID.
pub fn current_pid() -> i32 {
    1
}
