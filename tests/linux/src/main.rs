// SPDX-License-Identifier: GPL-2.0

//! Runs in a Linux guest, in a realm or not, and tries all that such a guest lives by: one line for
//! each check, then `realm-check: N passed, N failed, N skipped`. The exit status is 0 if none failed.
//!
//!     realm-check realm|ordinary CPUS [mmio|pci]
//!
//! The last word is how its virtio devices are to be found.
//!
//! What it shows to others of itself, for a challenge of 64 bytes in hexadecimal, is a line `token: HEX`:
//!
//!     realm-check token CHALLENGE
//!
//! The guest is to have proc, sysfs, devtmpfs, configfs and debugfs in the usual places. Its host makes
//! the disk before, and looks afterwards whether what the guest wrote is there:
//!
//!     realm-check make-disk FILE MIB
//!     realm-check verify-disk FILE

mod attestation;
mod bus;
mod convert;
mod cpus;
mod disk;
mod memory;
mod pattern;
mod pmu;
mod rng;
mod world;

use std::{
    fmt::Display,
    process::ExitCode,
    str::FromStr,
    time::Instant, //
};

/// What a check says if it did not fail.
pub(crate) enum Verdict {
    /// What was seen.
    Ok(String),
    /// Why there is nothing to check.
    Skipped(String),
}

/// Why a check failed.
pub(crate) type Error = Box<dyn std::error::Error>;
pub(crate) type Check = Result<Verdict, Error>;

/// An error with what was done when it happened.
pub(crate) trait Context<T> {
    /// Says what was done.
    fn context(self, what: impl Display) -> Result<T, Error>;
}

impl<T, E: Display> Context<T> for Result<T, E> {
    fn context(self, what: impl Display) -> Result<T, Error> {
        self.map_err(|error| format!("{what}: {error}").into())
    }
}

/// Whether the guest is meant to be a realm.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum World {
    Realm,
    Ordinary,
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    skipped: u32,
}

impl Tally {
    fn run(&mut self, name: &str, check: impl FnOnce() -> Check) {
        let started = Instant::now();
        let result = check();
        let seconds = started.elapsed().as_secs_f32();
        match result {
            Ok(Verdict::Ok(what)) => {
                self.passed += 1;
                println!("  ok       {name}: {what} ({seconds:.1} s)");
            }
            Ok(Verdict::Skipped(why)) => {
                self.skipped += 1;
                println!("  skipped  {name}: {why}");
            }
            Err(error) => {
                self.failed += 1;
                println!("  not ok   {name}: {error}");
            }
        }
    }
}

const USAGE: &str = "usage: realm-check realm|ordinary CPUS [mmio|pci] | token CHALLENGE \
     | make-disk FILE MIB | verify-disk FILE";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["realm", ref about @ ..] => guest(World::Realm, about),
        ["ordinary", ref about @ ..] => guest(World::Ordinary, about),
        ["token", challenge] => attestation::show(challenge).map(|()| true),
        ["make-disk", file, mib] => number(mib)
            .and_then(|mib| disk::make(file, mib))
            .map(|()| true),
        ["verify-disk", file] => disk::verify_guest(file).map(|()| true),
        _ => Err(USAGE.into()),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("realm-check: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number<T: FromStr>(text: &str) -> Result<T, Error> {
    text.parse()
        .map_err(|_| format!("'{text}' is not a number of that kind").into())
}

/// Checks the guest that we are in, `about` which we are told how many CPUs it has, and perhaps how its
/// devices are found.
fn guest(world: World, about: &[&str]) -> Result<bool, Error> {
    match *about {
        [cpus] => Ok(check_all(world, number(cpus)?, None)),
        [cpus, bus] => Ok(check_all(world, number(cpus)?, Some(bus.parse()?))),
        _ => Err(USAGE.into()),
    }
}

/// Runs all checks in a guest with `cpus` CPUs, and says whether none failed.
fn check_all(world: World, cpus: usize, bus: Option<bus::Bus>) -> bool {
    let mut tally = Tally::default();
    tally.run("world", || world::check(world));
    tally.run("cpus", move || cpus::check(cpus));
    tally.run("memory", memory::check);
    tally.run("performance counters", pmu::check);
    tally.run("disk", || disk::check(world));
    tally.run("random numbers", rng::check);
    // After the devices were used.
    tally.run("bus", || bus::check(bus));
    tally.run("memory given and taken back", || convert::check(world));
    tally.run("attestation", || attestation::check(world));
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    println!("realm-check: {passed} passed, {failed} failed, {skipped} skipped");
    failed == 0
}
