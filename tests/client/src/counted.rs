// SPDX-License-Identifier: GPL-2.0

//! `rmi-client counted EVENT COMMAND...`: what `perf stat -a -e EVENT COMMAND...` would say, of which the
//! test host has none.

use std::error::Error;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

/// `struct perf_event_attr` of version 5 (`PERF_ATTR_SIZE_VER5`), as <linux/perf_event.h> has it.
#[repr(C)]
#[derive(Default)]
struct Attr {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    bp_type: u32,
    bp_addr: u64,
    bp_len: u64,
    rest: [u64; 5],
}

const TYPE_HARDWARE: u32 = 0;
const TYPE_BREAKPOINT: u32 = 5;
const HW_CYCLES: u64 = 0;
const HW_INSTRUCTIONS: u64 = 1;
const BREAKPOINT_X: u32 = 4;
/// Bits of `flags`.
const DISABLED: u64 = 1 << 0;
const EXCLUDE_USER: u64 = 1 << 4;
const EXCLUDE_HOST: u64 = 1 << 19;
const EXCLUDE_GUEST: u64 = 1 << 20;
/// `_IO('$', 0)`
const IOC_ENABLE: libc::c_ulong = 0x2400;

/// `EVENT`: `instructions:G` (of guests), `instructions:H` (of the host), the same of `cycles`, or
/// `breakpoint:ADDRESS`, of the kernel's code.
fn event(name: &str) -> Result<Attr, Box<dyn Error>> {
    let attr = Attr {
        size: mem::size_of::<Attr>().try_into()?,
        flags: DISABLED,
        ..Attr::default()
    };
    let hardware = |name: &str, flags: u64| Attr {
        kind: TYPE_HARDWARE,
        config: match name {
            "cycles" => HW_CYCLES,
            _ => HW_INSTRUCTIONS,
        },
        flags: DISABLED | flags,
        ..attr
    };
    Ok(match name.split_once(':') {
        Some((name @ ("cycles" | "instructions"), "G")) => hardware(name, EXCLUDE_HOST),
        Some((name @ ("cycles" | "instructions"), "H")) => hardware(name, EXCLUDE_GUEST),
        Some(("breakpoint", address)) => Attr {
            kind: TYPE_BREAKPOINT,
            sample_period: 1 << 62,
            flags: DISABLED | EXCLUDE_USER,
            bp_type: BREAKPOINT_X,
            bp_addr: u64::from_str_radix(address.trim_start_matches("0x"), 16)?,
            bp_len: 8,
            ..attr
        },
        _ => return Err(format!("no event {name}").into()),
    })
}

/// The counter of one CPU.
fn open(attr: &Attr, cpu: i32) -> io::Result<OwnedFd> {
    // SAFETY: `attr` says how long it is.
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr, -1, cpu, -1, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: The kernel has just made it for us.
    let fd = unsafe { OwnedFd::from_raw_fd(fd as i32) };
    // SAFETY: No pointers.
    if unsafe { libc::ioctl(fd.as_raw_fd(), IOC_ENABLE, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(fd)
}

fn count(fd: &OwnedFd) -> io::Result<u64> {
    let mut count = 0u64;
    // SAFETY: There is room for what is read.
    let read = unsafe { libc::read(fd.as_raw_fd(), (&raw mut count).cast(), 8) };
    if read == 8 {
        Ok(count)
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Counts on all CPUs while a command runs, and prints the sum.
pub(crate) fn run(name: &str, command: &[&str]) -> Result<(), Box<dyn Error>> {
    let attr = event(name)?;
    let cpus = std::thread::available_parallelism()?.get();
    let opened: io::Result<Vec<_>> = (0..i32::try_from(cpus)?)
        .map(|cpu| open(&attr, cpu))
        .collect();
    let counters = opened.map_err(|e| format!("{name}: {e}"))?;
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let status = Command::new(program).args(arguments).status()?;
    if !status.success() {
        return Err(format!("{}: {status}", command.join(" ")).into());
    }
    let mut sum = 0;
    for counter in &counters {
        sum += count(counter)?;
    }
    println!("counted {name}: {sum}");
    Ok(())
}
