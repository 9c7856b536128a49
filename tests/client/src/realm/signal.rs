// SPDX-License-Identifier: GPL-2.0

//! Getting a thread out of KVM_RUN.

use std::io::{Error, Result};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// A thread that can be sent a signal while it runs.
#[derive(Debug, Default)]
pub(crate) struct Kick(AtomicU64);

impl Kick {
    /// Has [`Self::kick`] mean the calling thread.
    pub(crate) fn me(&self) {
        // SAFETY: Always succeeds.
        let me = unsafe { libc::pthread_self() };
        self.0.store(me, Ordering::Release);
    }

    /// The thread that was meant is about to end.
    pub(crate) fn nobody(&self) {
        self.0.store(0, Ordering::Release);
    }

    /// Sends the thread a signal that does nothing but interrupt it. False if there is none.
    pub(crate) fn kick(&self) -> bool {
        match self.0.load(Ordering::Acquire) {
            0 => false,
            thread => {
                // SAFETY: The threads of a test are joined later than anybody is kicked.
                unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
                true
            }
        }
    }
}

/// Has the signal interrupt system calls, instead of ending the process.
pub(crate) fn init() -> Result<()> {
    extern "C" fn nothing(_signal: i32) {}
    // SAFETY: All zeroes is a valid sigaction, without flags and mask.
    let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    action.sa_sigaction = nothing as extern "C" fn(i32) as usize;
    // SAFETY: The handler does nothing, so that it may run at any time.
    match unsafe { libc::sigaction(libc::SIGUSR1, &action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
