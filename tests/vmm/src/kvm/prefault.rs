// SPDX-License-Identifier: GPL-2.0

//! Private memory that a realm has before it starts.

use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::mpsc::Receiver;

use kvm_bindings::kvm_pre_fault_memory;
use kvm_ioctls::VcpuFd;

use crate::end::News;
use crate::error::{Error, Result};
use crate::progress::Progress;

/// _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
const KVM_PRE_FAULT_MEMORY: libc::c_ulong = 0xc040_aed5;

/// What one call is asked to do, so that there is something to show.
const CHUNK: u64 = 0x100_0000;

/// Makes the realm active, and maps all of its memory. `cpu` is the first CPU, which does not run yet.
///
/// There may be news meanwhile: they are a reason to stop.
///
/// # Errors
///
/// Those of the first KVM_RUN and of KVM_PRE_FAULT_MEMORY.
pub fn prefault(
    cpu: &mut VcpuFd,
    memory: Range<u64>,
    listen: &Receiver<News>,
    quiet: bool,
) -> News {
    activate(cpu)?;
    let mut progress = Progress::new("prefault", memory.end - memory.start, quiet);
    let news = progress.in_pieces(&memory, CHUNK, listen, |at, size| chunk(cpu, at, size))?;
    news.unwrap_or(Ok(None))
}

/// What KVM_RUN does before it enters the CPU.
fn activate(cpu: &mut VcpuFd) -> Result<()> {
    cpu.set_kvm_immediate_exit(1);
    let result = loop {
        match cpu.run().map(drop) {
            // So it ends when all is well, and also if another thread was in its way.
            Err(error) if error.errno() == libc::EINTR => break Ok(()),
            Err(error) if error.errno() == libc::EAGAIN => {}
            other => break other,
        }
    };
    cpu.set_kvm_immediate_exit(0);
    result.map_err(|error| Error::new("the first KVM_RUN", error))
}

fn chunk(cpu: &VcpuFd, gpa: u64, size: u64) -> Result<()> {
    let mut left = kvm_pre_fault_memory {
        gpa,
        size,
        ..Default::default()
    };
    // A call may return before all is done, with the arguments for the next one.
    while left.size != 0 {
        let (request, arguments) = (KVM_PRE_FAULT_MEMORY, &raw mut left);
        // SAFETY: The ioctl reads and writes one such structure.
        if unsafe { libc::ioctl(cpu.as_raw_fd(), request, arguments) } == 0 {
            continue;
        }
        let error = io::Error::last_os_error();
        let advice = match error.raw_os_error() {
            Some(libc::EINTR | libc::EAGAIN) => continue,
            Some(libc::ENOMEM) => "the host has too little memory: stop something else",
            _ => "see KVM_PRE_FAULT_MEMORY in uapi/README.md",
        };
        return Err(
            Error::new(format!("KVM_PRE_FAULT_MEMORY at {:#x}", left.gpa), error).advise(advice),
        );
    }
    Ok(())
}
