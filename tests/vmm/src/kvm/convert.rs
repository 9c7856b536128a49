// SPDX-License-Identifier: GPL-2.0

//! A realm's memory, from private to shared and back.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::PoisonError;

use kvm_arm_rmi::uapi::KVM_ARM_RMI_FAULT_RIPAS;

use super::vm::Vm;
use crate::args::Mode;
use crate::error::{Error, Result, Trying};
use crate::layout::RAM;
use crate::stats::Stats;

/// Does what a realm wants that ended KVM_RUN with KVM_EXIT_MEMORY_FAULT: shares a range of its
/// memory, or gives it to the realm alone.
///
/// A realm may ask for anything. It gets what is memory, and nothing else.
///
/// # Errors
///
/// There is no memory in the range at all, or the kernel does not want to.
pub fn convert(vm: &Vm, base: u64, size: u64, private: bool, stats: &Stats) -> Result<()> {
    let top = RAM + vm.memory.size();
    let (start, end) = (base.max(RAM), base.saturating_add(size).min(top));
    let Some(memfd) = vm.private.as_ref().filter(|_| start < end) else {
        let half = if private { "private" } else { "shared" };
        return Err(Error::plain(format!(
            "the guest wants {size:#x} bytes at {base:#x} to be {half} memory: there is none"
        )));
    };
    let (offset, size) = (start - RAM, end - start);

    let _one = vm.converting.lock().unwrap_or_else(PoisonError::into_inner);
    // First the attributes, if there are any, which make the kernel take the old half from the realm; then
    // the old half's memory. Until the vCPU runs again the realm has not got the new one.
    if vm.mode == Mode::V14 {
        vm.set_private(start, size, private)?;
    }
    if private {
        vm.memory.discard(offset, size)?;
        stats.to_private.add(1);
        stats.to_private_bytes.add(size);
    } else {
        punch_hole(memfd, offset, size).trying("fallocate of a hole in the guest_memfd")?;
        stats.to_shared.add(1);
        stats.to_shared_bytes.add(size);
    }
    Ok(())
}

/// True if the realm is to be refused memory that it has asked for, as often as `--reject` says.
pub fn refuses(vm: &Vm, private: bool, cause: u64) -> bool {
    let one_less = |left: u64| left.checked_sub(1);
    private
        && cause == KVM_ARM_RMI_FAULT_RIPAS
        && vm
            .rejects
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less)
            .is_ok()
}

fn punch_hole(memfd: &File, offset: u64, size: u64) -> io::Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let offset = offset.try_into().map_err(io::Error::other)?;
    let size = size.try_into().map_err(io::Error::other)?;
    // SAFETY: It changes the file only.
    match unsafe { libc::fallocate(memfd.as_raw_fd(), mode, offset, size) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
