// SPDX-License-Identifier: GPL-2.0

//! The current task, and others that want the CPU.

use super::ffi;
use super::kernel::{
    current,
    time::{delay::fsleep, Delta}, //
};

/// `cond_resched()`.
pub fn cond_resched() {
    ffi::kvm_rmi_helper_cond_resched();
}

/// `signal_pending(current)`.
pub fn signal_pending() -> bool {
    ffi::kvm_rmi_helper_signal_pending()
}

/// Lets others run for a moment, where trying again at once would only be in their way.
pub fn wait_a_little() {
    fsleep(Delta::from_micros(50));
}

/// Sleeps for a millisecond.
pub fn sleep_1ms() {
    fsleep(Delta::from_millis(1));
}

/// The current task's PID.
pub fn current_pid() -> i32 {
    current!().pid()
}
