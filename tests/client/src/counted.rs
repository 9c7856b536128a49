// SPDX-License-Identifier: GPL-2.0

//! `rmi-client counted EVENT COMMAND...`: what `perf stat -a -e EVENT COMMAND...` would say, of which the
//! test host has none.

use perf_event::events::{Breakpoint, Hardware};
use perf_event::{Builder, Counter};
use std::error::Error;
use std::io;
use std::process::Command;

/// `EVENT`: `instructions:G` (of guests), `instructions:H` (of the host), the same of `cycles`, or
/// `breakpoint:ADDRESS`, of the kernel's code.
fn event(name: &str) -> Result<Builder<'static>, Box<dyn Error>> {
    let unknown = || format!("no event {name}");
    let (kind, of) = name.split_once(':').ok_or_else(unknown)?;
    let mut event = match kind {
        "cycles" => Builder::new(Hardware::CPU_CYCLES),
        "instructions" => Builder::new(Hardware::INSTRUCTIONS),
        "breakpoint" => {
            let address = u64::from_str_radix(of.trim_start_matches("0x"), 16)?;
            Builder::new(Breakpoint::execute(address))
        }
        _ => return Err(unknown().into()),
    };
    match (kind, of) {
        ("breakpoint", _) => event.exclude_user(true).sample_period(1 << 62),
        (_, "G") => event.exclude_host(true),
        (_, "H") => event.exclude_guest(true),
        _ => return Err(unknown().into()),
    };
    event.any_pid().include_kernel().include_hv();
    Ok(event)
}

/// The counter of one CPU, which counts.
fn start(event: &mut Builder<'_>, cpu: usize) -> io::Result<Counter> {
    event.one_cpu(cpu).enabled(true).build()
}

/// Counts on all CPUs while a command runs, and prints the sum.
pub(crate) fn run(name: &str, command: &[&str]) -> Result<(), Box<dyn Error>> {
    let mut event = event(name)?;
    let cpus = std::thread::available_parallelism()?.get();
    let started: io::Result<Vec<_>> = (0..cpus).map(|cpu| start(&mut event, cpu)).collect();
    let mut counters = started.map_err(|e| format!("{name}: {e}"))?;
    let (program, arguments) = command.split_first().ok_or("no command")?;
    let status = Command::new(program).args(arguments).status()?;
    if !status.success() {
        return Err(format!("{}: {status}", command.join(" ")).into());
    }
    let mut sum = 0;
    for counter in &mut counters {
        sum += counter.read()?;
    }
    println!("counted {name}: {sum}");
    Ok(())
}
