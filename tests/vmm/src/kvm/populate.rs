// SPDX-License-Identifier: GPL-2.0

//! Contents for a realm, before it runs.

use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::mpsc::Receiver;

use kvm_arm_rmi::uapi::{
    KvmArmRmiPopulate,
    KVM_ARM_RMI_POPULATE,
    KVM_ARM_RMI_POPULATE_FLAGS_MEASURE, //
};

use super::vm::Vm;
use crate::end::News;
use crate::error::{Error, Result};
use crate::layout::RAM;
use crate::progress::Progress;
use crate::stats::Stats;

/// What one call is asked to do, so that there is something to show.
const CHUNK: u64 = 0x20_0000;

/// Moves what was loaded into a realm's shared memory to its private memory, where it becomes part
/// of the realm's measurement; in this order, which whoever computes it as well has to know.
///
/// It takes a while, so that there may be news meanwhile: they are a reason to stop.
///
/// # Errors
///
/// Those of KVM_ARM_RMI_POPULATE.
pub fn populate(
    vm: &Vm,
    ranges: &[Range<u64>],
    listen: &Receiver<News>,
    quiet: bool,
    stats: &Stats,
) -> News {
    let total = ranges.iter().map(|range| range.end - range.start).sum();
    let mut progress = Progress::new("populate", total, quiet);
    for range in ranges {
        let news = progress.in_pieces(range, CHUNK, listen, |at, size| chunk(vm, at, size))?;
        if let Some(news) = news {
            return news;
        }
        // The realm has a copy: nobody looks at this one any more.
        vm.memory
            .discard(range.start - RAM, range.end - range.start)?;
    }
    stats.populate_bytes.add(total);
    stats.populate_microseconds.set_time(progress.elapsed());
    Ok(None)
}

fn chunk(vm: &Vm, base: u64, size: u64) -> Result<()> {
    let mut left = KvmArmRmiPopulate {
        base,
        size,
        source_uaddr: vm.memory.address() + (base - RAM),
        flags: KVM_ARM_RMI_POPULATE_FLAGS_MEASURE,
        reserved: 0,
    };
    // A call may return before all is done, with the arguments for the next one.
    while left.size != 0 {
        let arguments = &raw mut left;
        // SAFETY: The ioctl reads and writes one such structure, and reads the memory that it
        // names, which the kernel checks.
        let result =
            unsafe { libc::ioctl(vm.fd.as_raw_fd(), KVM_ARM_RMI_POPULATE.into(), arguments) };
        if result == 0 {
            continue;
        }
        let error = io::Error::last_os_error();
        let advice = match error.raw_os_error() {
            Some(libc::EINTR) => continue,
            Some(libc::ENOMEM) => "the host has too little memory: stop something else",
            Some(libc::EIO) => "the RMM refuses; see dmesg",
            _ => "see KVM_ARM_RMI_POPULATE in uapi/README.md",
        };
        return Err(
            Error::new(format!("KVM_ARM_RMI_POPULATE at {:#x}", left.base), error).advise(advice),
        );
    }
    Ok(())
}
