// SPDX-License-Identifier: GPL-2.0

//! What the component says to the RMM, with the addresses, by its trace events.

use std::fs;

use super::{ensure, Result};

const TRACING: &str = "/sys/kernel/tracing";
const EVENT: &str = "kvm_arm_rmi/rmi_call";

/// A call of the RMM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Call {
    pub(super) fid: u64,
    /// x1 to x3.
    pub(super) arguments: [u64; 3],
}

/// Calls are taken down as long as this is there. All of them but those that enter a REC.
pub(super) struct Trace(());

impl Trace {
    pub(super) fn new() -> Result<Self> {
        let trace = Self(());
        enable(true)?;
        trace.clear()?;
        Ok(trace)
    }

    /// Forgets what there was.
    pub(super) fn clear(&self) -> Result<()> {
        Ok(fs::write(format!("{TRACING}/trace"), "")?)
    }

    /// What there was, in order.
    pub(super) fn calls(&self) -> Result<Vec<Call>> {
        let text = fs::read_to_string(format!("{TRACING}/trace"))?;
        ensure!(!text.contains("LOST"), "calls are missing");
        let lines = text.lines().filter(|line| line.contains(" fid=0x"));
        lines.map(call).collect()
    }
}

fn call(line: &str) -> Result<Call> {
    let word = |name: &str| -> Result<u64> {
        let (_, rest) = line.split_once(name).ok_or("no such field")?;
        let hex = rest.split_whitespace().next().ok_or("nothing in a field")?;
        Ok(u64::from_str_radix(hex, 16)?)
    };
    Ok(Call {
        fid: word(" fid=0x")?,
        arguments: [word(" x1=0x")?, word(" x2=0x")?, word(" x3=0x")?],
    })
}

fn enable(yes: bool) -> Result<()> {
    let value = if yes { "1" } else { "0" };
    Ok(fs::write(
        format!("{TRACING}/events/{EVENT}/enable"),
        value,
    )?)
}

impl Drop for Trace {
    fn drop(&mut self) {
        // If it stays on that disturbs nobody.
        let _ = enable(false);
    }
}
