// SPDX-License-Identifier: GPL-2.0

//! The CPU's performance counters, as perf has them: they count, and they interrupt.

use crate::{Check, Context, Error, Verdict};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{fence, Ordering};

/// `struct perf_event_attr` of version 5 (`PERF_ATTR_SIZE_VER5`), as <linux/perf_event.h> has it.
#[repr(C)]
#[derive(Clone, Default)]
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
    rest: [u64; 7],
}

const TYPE_HARDWARE: u32 = 0;
const CYCLES: u64 = 0;
const INSTRUCTIONS: u64 = 1;
/// Bits of `flags`.
const DISABLED: u64 = 1 << 0;
const EXCLUDE_KERNEL: u64 = 1 << 5;
const EXCLUDE_HV: u64 = 1 << 6;
/// `_IO('$', 0)` and `_IO('$', 1)`
const IOC_ENABLE: libc::c_ulong = 0x2400;
const IOC_DISABLE: libc::c_ulong = 0x2401;
/// A record of a sample, and a sample's address of the code.
const RECORD_SAMPLE: u32 = 9;
const SAMPLE_IP: u64 = 1;
/// Where `struct perf_event_mmap_page` has `data_head`.
const DATA_HEAD: usize = 1024;

/// A sample for so many cycles.
const PERIOD: u64 = 1_000_000;
/// Samples that are waited for.
const SAMPLES: usize = 20;
/// How often there is something to compute until they have come at the latest.
const PATIENCE: usize = 5000;
/// Pages for them.
const PAGES: usize = 8;
/// Rounds of a loop, of at least two instructions each.
const ROUNDS: u64 = 1_000_000;

/// A counter of this thread's, which stands still.
struct Counter(OwnedFd);

impl Counter {
    fn new(config: u64, sample_period: u64) -> io::Result<Self> {
        let attr = Attr {
            kind: TYPE_HARDWARE,
            size: size_of::<Attr>() as u32,
            config,
            sample_period,
            sample_type: SAMPLE_IP,
            flags: DISABLED | EXCLUDE_KERNEL | EXCLUDE_HV,
            ..Attr::default()
        };
        // SAFETY: `attr` says how long it is.
        let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attr, 0, -1, -1, 0) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: The kernel has just made it for us.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd as i32) }))
    }

    fn set(&self, request: libc::c_ulong) -> io::Result<()> {
        // SAFETY: No pointers.
        match unsafe { libc::ioctl(self.0.as_raw_fd(), request as libc::Ioctl, 0) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn value(&self) -> io::Result<u64> {
        let mut value = 0u64;
        // SAFETY: There is room for what is read.
        match unsafe { libc::read(self.0.as_raw_fd(), (&raw mut value).cast(), 8) } {
            8 => Ok(value),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// What is counted while `f` runs.
    fn over(&self, f: impl FnOnce()) -> io::Result<u64> {
        let before = self.value()?;
        self.set(IOC_ENABLE)?;
        f();
        self.set(IOC_DISABLE)?;
        Ok(self.value()? - before)
    }
}

/// Takes a while.
fn compute() {
    for n in 0..ROUNDS {
        std::hint::black_box(n);
    }
}

/// Cycles and instructions are counted, and those of nobody else; samples come by interrupts.
pub(crate) fn check() -> Check {
    let devices = fs::read_dir("/sys/bus/event_source/devices").context("devices of perf")?;
    let names = devices.flatten().map(|device| device.file_name());
    let Some(name) = names
        .flat_map(|name| name.into_string())
        .find(|name| name.starts_with("armv8"))
    else {
        return Ok(Verdict::Skipped("no PMU".into()));
    };
    let cycles = Counter::new(CYCLES, 0).context("counting cycles")?;
    let counted = cycles.over(compute).context("counting cycles")?;
    if counted == 0 {
        return Err("no cycles are counted".into());
    }
    let idle = cycles.value().context("cycles")?;
    compute();
    if cycles.value().context("cycles")? != idle {
        return Err("cycles are counted when nobody wants them".into());
    }
    let instructions = match Counter::new(INSTRUCTIONS, 0) {
        Ok(counter) => {
            let counted = counter.over(compute).context("counting instructions")?;
            // A loop has a few instructions a round, and nothing else runs in this thread.
            if !(2 * ROUNDS..100 * ROUNDS).contains(&counted) {
                return Err(format!("{counted} instructions in {ROUNDS} rounds").into());
            }
            format!("{counted} instructions")
        }
        // An event that the CPU does not have.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => "no instructions".into(),
        Err(error) => return Err(format!("counting instructions: {error}").into()),
    };
    let samples = sampled()?;
    Ok(Verdict::Ok(format!(
        "{name}: {counted} cycles, {instructions}, {samples} samples"
    )))
}

/// Samples that have come when enough have, each by an interrupt: one for [`PERIOD`] cycles.
fn sampled() -> Result<usize, Error> {
    let counter = Counter::new(CYCLES, PERIOD).context("sampling")?;
    let bytes = (1 + PAGES) * 4096;
    // SAFETY: New memory, which is ours.
    let ring = unsafe {
        libc::mmap(
            ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            counter.0.as_raw_fd(),
            0,
        )
    };
    if ring == libc::MAP_FAILED {
        return Err(format!("samples: {}", io::Error::last_os_error()).into());
    }
    let ring: *const u8 = ring.cast();
    // SAFETY: The first page has the word, which the kernel writes at any time.
    let head = || unsafe { ring.add(DATA_HEAD).cast::<u64>().read_volatile() } as usize;
    counter.set(IOC_ENABLE).context("sampling")?;
    // A record of a sample has a header and a word.
    for _ in 0..PATIENCE {
        if head() >= SAMPLES * 16 {
            break;
        }
        compute();
    }
    counter.set(IOC_DISABLE).context("sampling")?;
    let total = counter.value().context("sampling")?;
    let end = head().min(PAGES * 4096);
    fence(Ordering::Acquire);
    let (mut at, mut samples) = (0, 0);
    while at < end {
        // SAFETY: It is in the ring, where the kernel has written a record's header.
        let header = unsafe { ring.add(4096 + at).cast::<u64>().read_volatile() };
        // The type, and from bit 48 on the bytes.
        samples += usize::from(header as u32 == RECORD_SAMPLE);
        at += ((header >> 48) as usize).max(8);
    }
    // SAFETY: Nobody uses it any more.
    unsafe { libc::munmap(ring.cast_mut().cast(), bytes) };
    let periods = (total / PERIOD) as usize;
    // Others were lost if the kernel found that there were too many.
    if samples < SAMPLES || samples > periods + 1 {
        return Err(format!("{samples} samples in {periods} periods").into());
    }
    Ok(samples)
}
