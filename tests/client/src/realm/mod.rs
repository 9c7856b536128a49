// SPDX-License-Identifier: GPL-2.0

//! Realms through KVM, the way a VMM runs them.
//!
//! [`vm`], [`cpu`] and [`memory`] are a small VMM; the others are tests that use it. What runs inside
//! is `tests/guest`.

mod abuse;
mod bare;
mod bench;
mod blocks;
mod brief;
pub(crate) mod conformance;
mod cpu;
mod debugfs;
pub(crate) mod eyes;
mod faults;
mod files;
mod fixed_buffer;
mod half_way;
mod host_cpu;
mod kept;
mod killed;
mod large;
mod memory;
mod movers;
mod nomem;
mod notifier;
mod parameters;
mod pmu;
mod poison;
mod run;
mod signal;
mod sve;
mod tokens;
mod trace;
mod vectors;
mod vm;
mod widths;

use std::error::Error as StdError;

/// Anything that stops a test.
pub(crate) type Error = Box<dyn StdError + Send + Sync>;
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Stops a test unless something holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err(format!($($message)+).into());
        }
    };
}
use ensure;

const USAGE: &str = "usage: rmi-client realm COMMAND
  run [--ordinary] [--mode v14|v15] [--vcpus N] [--memory MiB] [--pinned]
  off N | spin [--ordinary] | many N | at-once N | churn N
  abuse [GROUP] | side-by-side | tokens PEM|any | vectors | sve | pmu | widths | hold [running|seen] | refused | killed | debugfs
  eyes | faults [COMMAND] | fixed-buffer | half-way | kept MiB | large | nomem | notifier [ROUNDS] | movers CPUS [NAME...] | poison
  bench [COMMAND...] | blocks | parallel N...";

/// Runs a subcommand of `rmi-client realm`.
pub(crate) fn main(args: &[&str]) -> Result<()> {
    match args {
        ["run", options @ ..] => run::main(options),
        ["off", count] => run::off::main(count.parse()?),
        ["spin"] => brief::spin(true),
        ["spin", "--ordinary"] => brief::spin(false),
        ["many", count] => brief::many(count.parse()?),
        ["at-once", count] => brief::at_once(count.parse()?),
        ["churn", count] => brief::churn(count.parse()?),
        ["vectors"] => vectors::main(),
        ["sve"] => sve::main(),
        ["pmu"] => pmu::main(),
        ["widths"] => widths::main(),
        ["tokens", key] => tokens::main(key),
        ["side-by-side"] => brief::side_by_side(),
        ["abuse"] => abuse::main(None),
        ["abuse", group] => abuse::main(Some(group)),
        ["bench", command @ ..] => bench::main(command),
        ["blocks"] => blocks::main(),
        ["parallel", counts @ ..] => bench::parallel::main(counts),
        ["eyes"] => eyes::main(),
        ["faults"] => faults::main(None),
        ["faults", command] => faults::main(Some(command)),
        ["fixed-buffer"] => fixed_buffer::main(),
        ["half-way"] => half_way::main(),
        ["large"] => large::main(),
        ["nomem"] => nomem::main(),
        ["nomem", part, number] => nomem::life(part, number),
        ["notifier"] => notifier::main(20),
        ["notifier", rounds] => notifier::main(rounds.parse()?),
        ["movers", cpus, names @ ..] => movers::main(cpus.parse()?, names),
        ["poison"] => poison::main(),
        ["hold"] => brief::hold(),
        ["hold", "running"] => brief::hold_running(),
        ["hold", "seen"] => eyes::hold_seen(),
        ["debugfs"] => files::main(),
        ["refused"] => brief::refused(),
        ["kept", mib] => kept::main(mib.parse()?),
        ["killed"] => killed::main(),
        ["victim", "touched", mib] => killed::touched(mib.parse()?),
        ["victim", doing] => killed::victim(doing),
        _ => Err(USAGE.into()),
    }
}
