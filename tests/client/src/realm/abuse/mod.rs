// SPDX-License-Identifier: GPL-2.0

//! What a VMM may do wrong, and what a realm may do to its VMM: each an error of its own, and
//! nothing lost.

mod caps;
mod create;
mod first_run;
mod inside;
mod life;
mod populate;
mod race;
mod regs;
mod slots;
mod waits;

use std::fmt::Debug;
use std::io;

use super::{debugfs, signal, Result};

/// What was tried so far.
#[derive(Debug, Default)]
struct Cases {
    passed: u32,
    failed: u32,
}

impl Cases {
    /// `what` has to fail with `errno`; with 0 it has to work.
    fn errno<T, E: Into<io::Error>>(
        &mut self,
        what: &str,
        result: std::result::Result<T, E>,
        errno: i32,
    ) {
        let got = match result {
            Ok(_) => 0,
            Err(error) => {
                let error: io::Error = error.into();
                error.raw_os_error().unwrap_or(-1)
            }
        };
        let name = |errno| match errno {
            0 => "success".to_owned(),
            _ => io::Error::from_raw_os_error(errno).to_string(),
        };
        self.case(what, got == errno, || {
            format!("{} instead of {}", name(got), name(errno))
        });
    }

    /// `what` has to be `wanted`.
    fn equal<T: PartialEq + Debug>(&mut self, what: &str, got: T, wanted: T) {
        self.case(what, got == wanted, || {
            format!("{got:x?} instead of {wanted:x?}")
        });
    }

    /// `what` has to hold.
    fn holds(&mut self, what: &str, is: bool) {
        self.case(what, is, || "no".to_owned());
    }

    fn case(&mut self, what: &str, is: bool, why: impl FnOnce() -> String) {
        if is {
            self.passed += 1;
        } else {
            self.failed += 1;
            println!("wrong: {what}: {}", why());
        }
    }
}

/// A group of cases.
type Group = fn(&mut Cases) -> Result<()>;

const GROUPS: [(&str, Group); 10] = [
    ("create", create::cases),
    ("caps", caps::cases),
    ("populate", populate::cases),
    ("first-run", first_run::cases),
    ("regs", regs::cases),
    ("slots", slots::cases),
    ("inside", inside::cases),
    ("race", race::cases),
    ("waits", waits::cases),
    ("life", life::cases),
];

/// `realm abuse [GROUP]`.
pub(super) fn main(only: Option<&str>) -> Result<()> {
    signal::init()?;
    let before = debugfs::delegated()?;
    let mut cases = Cases::default();
    for (name, group) in GROUPS {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let (passed, failed) = (cases.passed, cases.failed);
        // A group that stops leaves the others their turn.
        if let Err(error) = group(&mut cases) {
            cases.failed += 1;
            println!("wrong: {name} stopped: {error}");
        }
        if let Err(error) = debugfs::expect_delegated(before) {
            cases.failed += 1;
            println!("wrong: after {name}: {error}");
        }
        println!(
            "{name}: {} passed, {} failed",
            cases.passed - passed,
            cases.failed - failed
        );
    }
    match cases {
        Cases { passed: 0, .. } => Err("nothing was tried".into()),
        Cases { failed: 0, .. } => Ok(()),
        Cases { failed, .. } => Err(format!("{failed} cases failed").into()),
    }
}
