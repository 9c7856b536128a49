// SPDX-License-Identifier: GPL-2.0

//! Phases, and what they cost.

use std::arch::asm;
use std::fmt;
use std::time::Instant;

use crate::realm::debugfs::{self, Smcs};
use crate::realm::{ensure, Result};

/// What a phase cost.
#[derive(Debug)]
struct Phase {
    name: String,
    /// Pages, accesses or calls that it was about.
    units: u64,
    /// Interrupts of the host meanwhile.
    interrupts: u64,
    us: u128,
    smcs: Smcs,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ENTER: &str = "REC_ENTER";
        let calls: u64 = self.smcs.values().map(|(calls, _)| calls).sum();
        let failed: u64 = self.smcs.values().map(|(_, failed)| failed).sum();
        let enter = self.smcs.get(ENTER).map_or(0, |(calls, _)| *calls);
        let Self {
            name,
            units,
            interrupts,
            us,
            ..
        } = self;
        write!(
            f,
            "phase={name} units={units} smcs={calls} rec_enter={enter} "
        )?;
        write!(f, "failed={failed} interrupts={interrupts} us={us}")?;
        for (command, (calls, failed)) in self.smcs.iter().filter(|(name, _)| *name != ENTER) {
            write!(f, " {command}={calls}")?;
            if *failed != 0 {
                write!(f, ":{failed}")?;
            }
        }
        Ok(())
    }
}

/// All phases so far. They are printed at the end: what the console does about them is not to be
/// part of the next one.
#[derive(Debug, Default)]
pub(super) struct Phases(Vec<Phase>);

impl Phases {
    /// Runs a phase of so many units.
    pub(super) fn run<R>(
        &mut self,
        name: &str,
        units: u64,
        f: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        self.run_on(1, name, units, f)
    }

    /// The same, by so many CPUs at once.
    pub(super) fn run_on<R>(
        &mut self,
        cpus: u64,
        name: &str,
        units: u64,
        f: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let before = (interrupts()?, debugfs::smcs()?);
        let start = Instant::now();
        begin(cpus);
        let result = f();
        end();
        let us = start.elapsed().as_micros();
        let result = result.map_err(|e| format!("{name}: {e}"))?;
        let smcs = since(&debugfs::smcs()?, &before.1);
        let interrupts = interrupts()? - before.0;
        ensure!(
            self.0.iter().all(|phase| phase.name != name),
            "{name}: twice"
        );
        self.0.push(Phase {
            name: name.to_owned(),
            units,
            interrupts,
            us,
            smcs,
        });
        Ok(result)
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .iter()
            .try_for_each(|phase| writeln!(f, "bench: {phase}"))
    }
}

/// Interrupts that the host has had: each may have ended an entry of a REC, or a command, early.
fn interrupts() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/interrupts")?;
    let mut lines = text.lines();
    let cpus = lines
        .next()
        .map_or(0, |cpus| cpus.split_whitespace().count());
    let of_line = |line: &str| -> u64 {
        let (_, counts) = line.split_once(':').unwrap_or_default();
        let counts = counts.split_whitespace().take(cpus);
        counts.map_while(|count| count.parse::<u64>().ok()).sum()
    };
    Ok(lines.map(of_line).sum())
}

/// What came to `before` to make `after`.
fn since(after: &Smcs, before: &Smcs) -> Smcs {
    let mut difference = after.clone();
    for (name, (calls, failed)) in before {
        let now = difference.entry(name.clone()).or_default();
        *now = (now.0 - calls, now.1 - failed);
    }
    difference.retain(|_, (calls, _)| *calls != 0);
    difference
}

/// An instruction without effect that no compiler makes: `tests/bench/instructions.c` sees that a
/// phase begins, in which so many CPUs are at work.
fn begin(cpus: u64) {
    // SAFETY: nothing changes.
    unsafe { asm!("movz xzr, #0xb001", in("x0") cpus) };
}

/// The same for its end.
fn end() {
    // SAFETY: nothing changes.
    unsafe { asm!("movz xzr, #0xb002") };
}
