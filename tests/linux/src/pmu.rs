// SPDX-License-Identifier: GPL-2.0

//! The CPU's performance counters, as perf has them: they count, and they interrupt.

use crate::{Check, Context, Error, Verdict};
use perf_event::events::Hardware;
use perf_event::{Builder, Counter, SampleFlag};
use std::fs;
use std::io;

/// `PERF_RECORD_SAMPLE`, which a record of a sample is.
const RECORD_SAMPLE: u32 = 9;
/// A sample for so many cycles.
const PERIOD: u64 = 1_000_000;
/// Samples that are waited for.
const SAMPLES: u64 = 20;
/// How often there is something to compute until they have come at the latest.
const PATIENCE: usize = 5000;
/// Bytes for them.
const BUFFER: usize = 32 << 10;
/// Rounds of a loop, of at least two instructions each.
const ROUNDS: u64 = 1_000_000;

/// A counter of this thread's, which stands still.
fn counter(event: Hardware) -> io::Result<Counter> {
    Builder::new(event).build()
}

/// What is counted while `f` runs.
fn over(counter: &mut Counter, f: impl FnOnce()) -> io::Result<u64> {
    let before = counter.read()?;
    counter.enable()?;
    f();
    counter.disable()?;
    Ok(counter.read()? - before)
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
    let mut cycles = counter(Hardware::CPU_CYCLES).context("counting cycles")?;
    let counted = over(&mut cycles, compute).context("counting cycles")?;
    if counted == 0 {
        return Err("no cycles are counted".into());
    }
    let idle = cycles.read().context("cycles")?;
    compute();
    if cycles.read().context("cycles")? != idle {
        return Err("cycles are counted when nobody wants them".into());
    }
    let instructions = match counter(Hardware::INSTRUCTIONS) {
        Ok(mut counter) => {
            let counted = over(&mut counter, compute).context("counting instructions")?;
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
fn sampled() -> Result<u64, Error> {
    let mut event = Builder::new(Hardware::CPU_CYCLES);
    event.sample_period(PERIOD).sample(SampleFlag::IP);
    let counter = event.build().context("sampling")?;
    let mut sampler = counter.sampled(BUFFER).context("samples")?;
    sampler.enable().context("sampling")?;
    let mut samples = 0;
    for _ in 0..PATIENCE {
        compute();
        while let Some(record) = sampler.next_record() {
            samples += u64::from(record.ty() == RECORD_SAMPLE);
        }
        if samples >= SAMPLES {
            break;
        }
    }
    sampler.disable().context("sampling")?;
    let periods = sampler.read().context("sampling")? / PERIOD;
    // Others were lost if the kernel found that there were too many.
    if samples < SAMPLES || samples > periods + 1 {
        return Err(format!("{samples} samples in {periods} periods").into());
    }
    Ok(samples)
}
