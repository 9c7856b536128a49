// SPDX-License-Identifier: GPL-2.0

//! What a VMM may do wrong, and what a realm may do to its VMM: each an error of its own, and
//! nothing lost.

mod attributes;
mod caps;
mod create;
mod dirty;
mod document;
mod first_run;
mod gic;
mod inside;
mod life;
mod mmio;
mod populate;
mod pre_fault;
mod race;
mod regs;
mod slots;
mod unmappers;
mod waits;

use std::fmt::Debug;
use std::io;

use super::{debugfs, signal, Result};

const MIB: u64 = 1 << 20;
/// The first IPA of the shared half, with the default width.
const SHARED: u64 = 1 << 39;

/// What was tried so far.
#[derive(Debug, Default)]
struct Cases {
    passed: u32,
    failed: u32,
    /// The section of `uapi/README.md` that these cases are about, if it is to have every error.
    section: Option<&'static str>,
    /// Errors that came as expected.
    refusals: document::Refusals,
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
        if let (Some(section), 1.., true) = (self.section, errno, got == errno) {
            self.refusals.entry(section).or_default().insert(errno);
        }
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

/// A group of cases, which may be about one section of the document.
type Group = fn(&mut Cases) -> Result<()>;

const GROUPS: [(&str, Option<&str>, Group); 16] = [
    ("create", Some("KVM_CREATE_VM"), create::cases),
    ("caps", Some("Capabilities of a realm VM"), caps::cases),
    (
        "attributes",
        Some("How a realm is measured"),
        attributes::cases,
    ),
    ("populate", Some("KVM_ARM_RMI_POPULATE"), populate::cases),
    ("first-run", Some("The first KVM_RUN"), first_run::cases),
    ("gic", None, gic::cases),
    ("mmio", None, mmio::cases),
    ("regs", Some("Registers"), regs::cases),
    ("slots", Some("Memory"), slots::cases),
    ("dirty", Some("Memory"), dirty::cases),
    ("pre-fault", Some("KVM_PRE_FAULT_MEMORY"), pre_fault::cases),
    ("inside", None, inside::cases),
    ("race", None, race::cases),
    ("waits", None, waits::cases),
    ("unmappers", None, unmappers::cases),
    ("life", None, life::cases),
];

/// `realm abuse [GROUP]`.
pub(super) fn main(only: Option<&str>) -> Result<()> {
    signal::init()?;
    let before = debugfs::delegated()?;
    let mut cases = Cases::default();
    for (name, section, group) in GROUPS {
        if only.is_some_and(|only| only != name) {
            continue;
        }
        let (passed, failed) = (cases.passed, cases.failed);
        cases.section = section;
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
    if only.is_none() {
        document::refusals(&mut cases)?;
    }
    match cases {
        Cases { passed: 0, .. } => Err("nothing was tried".into()),
        Cases { failed: 0, .. } => Ok(()),
        Cases { failed, .. } => Err(format!("{failed} cases failed").into()),
    }
}
