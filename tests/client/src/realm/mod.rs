// SPDX-License-Identifier: GPL-2.0

//! Realms through KVM, the way a VMM runs them.
//!
//! [`vm`], [`cpu`] and [`memory`] are a small VMM; the others are tests that use it. What runs inside
//! is `tests/guest`.

mod cpu;
mod debugfs;
mod memory;
mod run;
mod signal;
mod vm;

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

/// Runs a subcommand of `rmi-client realm`.
pub(crate) fn main(args: &[&str]) -> Result<()> {
    match args {
        ["run", options @ ..] => run::main(options),
        _ => Err("usage: rmi-client realm run [--ordinary] [--vcpus N] [--memory MiB]".into()),
    }
}
