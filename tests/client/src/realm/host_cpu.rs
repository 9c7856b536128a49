// SPDX-License-Identifier: GPL-2.0

//! Which of the host's CPUs a thread runs on.

use super::{ensure, Result};

/// Has the calling thread run on that CPU only, from now on.
pub(crate) fn stay_on(cpu: usize) -> Result<()> {
    // SAFETY: All zeroes is an empty set of CPUs, and the call reads that.
    let pinned = unsafe {
        let mut cpus: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut cpus);
        libc::sched_setaffinity(0, size_of_val(&cpus), &cpus)
    };
    ensure!(pinned == 0, "cannot stay on CPU {cpu}");
    Ok(())
}
