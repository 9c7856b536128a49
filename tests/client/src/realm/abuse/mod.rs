// SPDX-License-Identifier: GPL-2.0

//! What a VMM may do wrong, and what a realm may do to its VMM: each an error of its own, and
//! nothing lost.

pub(super) mod answers;
pub(super) mod attributes;
pub(super) mod caps;
pub(super) mod create;
pub(super) mod dirty;
pub(super) mod document;
pub(super) mod first_run;
pub(super) mod gic;
pub(super) mod inside;
mod life;
pub(super) mod mmio;
pub(super) mod populate;
pub(super) mod pre_fault;
mod race;
pub(super) mod regs;
pub(super) mod slots;
mod unmappers;
mod waits;

use std::fmt::Debug;
use std::io;

use super::{debugfs, signal, Result};

const MIB: u64 = 1 << 20;
/// The first IPA of the shared half, with the default width.
const SHARED: u64 = 1 << 39;

/// True if the host is Linux 6.12, which knows less than newer kernels do.
pub(super) fn is_linux_6_12() -> Result<bool> {
    let version = std::fs::read_to_string("/proc/version")?;
    Ok(version.starts_with("Linux version 6.12."))
}

/// What was tried so far.
#[derive(Debug, Default)]
pub(super) struct Cases {
    passed: u32,
    failed: u32,
    /// Each is told in a line of the Test Anything Protocol.
    tap: bool,
    /// The section of `uapi/README.md` that these cases are about, if it is to have every error.
    pub(super) section: Option<&'static str>,
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

    /// `what` has to be so; else `why`.
    pub(super) fn case(&mut self, what: &str, is: bool, why: impl FnOnce() -> String) {
        match is {
            true => self.passed += 1,
            false => self.failed += 1,
        }
        match (self.tap, is) {
            (false, true) => {}
            (false, false) => println!("wrong: {what}: {}", why()),
            (true, true) => println!("ok {} - {}: {what}", self.count(), self.title()),
            (true, false) => {
                println!("not ok {} - {}: {what}", self.count(), self.title());
                println!("# {}", why().replace('\n', "\n# "));
            }
        }
    }

    fn title(&self) -> &'static str {
        self.section.unwrap_or_default()
    }

    /// Cases that are told in lines of the Test Anything Protocol.
    pub(super) fn tap() -> Self {
        Self {
            tap: true,
            ..Self::default()
        }
    }

    /// The host does not have what the next cases would be about.
    pub(super) fn skip(&mut self, lacks: &str) {
        self.passed += 1;
        println!("ok {} - {} # SKIP {lacks}", self.count(), self.title());
    }

    /// How many there were.
    pub(super) fn count(&self) -> u32 {
        self.passed + self.failed
    }

    /// What came of all.
    pub(super) fn result(&self) -> Result<()> {
        match (self.passed, self.failed) {
            (0, _) => Err("nothing was tried".into()),
            (_, 0) => Ok(()),
            (_, failed) => Err(format!("{failed} cases failed").into()),
        }
    }
}

/// A group of cases, which may be about one section of the document.
pub(super) type Group = fn(&mut Cases) -> Result<()>;

const GROUPS: [(&str, Option<&str>, Group); 17] = [
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
    ("answers", None, answers::cases),
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
    cases.result()
}
