// SPDX-License-Identifier: GPL-2.0

//! Phases, and what they cost.

use std::arch::asm;
use std::fmt;
use std::time::Instant;

use crate::realm::debugfs::{self, Smcs};
use crate::realm::{ensure, Result};

/// The command that runs a realm, which is counted apart from the others.
const ENTER: &str = "REC_ENTER";

/// What a phase cost.
#[derive(Debug)]
pub(super) struct Phase {
    pub(super) name: &'static str,
    /// Pages, accesses or calls that it was about.
    pub(super) units: u64,
    us: u128,
    smcs: Smcs,
}

impl Phase {
    /// SMCs, those that failed included.
    pub(super) fn calls(&self) -> u64 {
        self.smcs.values().map(|(calls, _)| calls).sum()
    }

    /// SMCs that failed.
    pub(super) fn failed(&self) -> u64 {
        self.smcs.values().map(|(_, failed)| failed).sum()
    }

    /// SMCs of one command.
    pub(super) fn of(&self, command: &str) -> u64 {
        self.smcs.get(command).map_or(0, |(calls, _)| *calls)
    }

    /// Entries of RECs.
    pub(super) fn entries(&self) -> u64 {
        self.of(ENTER)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "bench: phase={} units={} smcs={} rec_enter={} failed={} us={}",
            self.name,
            self.units,
            self.calls(),
            self.entries(),
            self.failed(),
            self.us
        )?;
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
        name: &'static str,
        units: u64,
        f: impl FnOnce() -> Result<R>,
    ) -> Result<R> {
        let before = debugfs::smcs()?;
        let start = Instant::now();
        begin();
        let result = f();
        end();
        let us = start.elapsed().as_micros();
        let result = result.map_err(|e| format!("{name}: {e}"))?;
        let smcs = since(&debugfs::smcs()?, &before);
        ensure!(
            self.0.iter().all(|phase| phase.name != name),
            "{name}: twice"
        );
        self.0.push(Phase {
            name,
            units,
            us,
            smcs,
        });
        Ok(result)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Phase> {
        self.0.iter()
    }
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
/// phase begins.
fn begin() {
    // SAFETY: nothing changes.
    unsafe { asm!("movz xzr, #0xb001") };
}

/// The same for its end.
fn end() {
    // SAFETY: nothing changes.
    unsafe { asm!("movz xzr, #0xb002") };
}
