// SPDX-License-Identifier: GPL-2.0

//! Realms whose VMM's allocations fail in the kernel, one in each life, with the kernel's own fault
//! injection (`Documentation/fault-injection`): whatever the VMM is told, nothing is lost.

use std::collections::BTreeMap;
use std::fs::{read_to_string, write};
use std::process::Command;

use super::faults::{errno, live, settled};
use super::{debugfs, ensure, Result};

/// Which of the thread's allocations fails, counted from 1; 0 is none.
const FAIL_NTH: &str = "/proc/thread-self/fail-nth";
/// No part of a life allocates that often.
const MOST: u64 = 100_000;
/// Every allocation at the beginning of a part fails in some life. Later ones repeat, and some do:
/// the further, the fewer.
const DENSE: u64 = 5;

/// `realm nomem`.
pub(super) fn main() -> Result<()> {
    for (file, value) in [
        // All kinds of allocations, silently; but not those of user space's own pages.
        ("failslab/ignore-gfp-wait", "N"),
        ("failslab/verbose", "0"),
        ("fail_page_alloc/ignore-gfp-wait", "N"),
        ("fail_page_alloc/ignore-gfp-highmem", "Y"),
        ("fail_page_alloc/min-order", "0"),
        ("fail_page_alloc/verbose", "0"),
    ] {
        let path = format!("/sys/kernel/debug/{file}");
        write(&path, value).map_err(|e| format!("{path}: {e}"))?;
    }
    let mut parts = Vec::new();
    live(|part| parts.push(part))?;
    settled()?;
    for (number, part) in (1..).zip(parts) {
        of_part(number, part)?;
    }
    live(|_| ())?;
    settled()
}

/// Lives in which an allocation in one part fails.
fn of_part(part: u64, name: &str) -> Result<()> {
    let before = debugfs::granules()?;
    let mut outcomes: BTreeMap<String, u64> = BTreeMap::new();
    let mut number = 1;
    while number < MOST {
        let what = format!("{name}, allocation {number}");
        let outcome = one(part, number).map_err(|e| format!("{what}: {e}"))?;
        settled().map_err(|e| format!("{what}: {e}"))?;
        let now = debugfs::granules()?;
        ensure!(now == before, "{what}: {now:?} granules");
        let Some(outcome) = outcome else { break };
        *outcomes.entry(outcome).or_default() += 1;
        number += 1 + number / DENSE;
    }
    println!("{name}, up to allocation {number}: {outcomes:?}");
    ensure!(number < MOST, "{name} allocates without end");
    ensure!(number > 1, "{name} allocates nothing");
    Ok(())
}

/// A life in a process of its own, for a process may well die of what it does not get. Returns how
/// it ended; `None` if there were not that many allocations.
fn one(part: u64, number: u64) -> Result<Option<String>> {
    let child = Command::new(std::env::current_exe()?)
        .args(["realm", "nomem", &part.to_string(), &number.to_string()])
        .output()?;
    let text = String::from_utf8_lossy(&child.stdout);
    match text.trim() {
        // Its own allocator's, not ours.
        "" if !child.status.success() => Ok(Some("died".to_owned())),
        "none failed" => Ok(None),
        outcome if child.status.success() => Ok(Some(outcome.to_owned())),
        other => Err(format!("{}: {other}", child.status).into()),
    }
}

/// `realm nomem PART N`: a life in which the `N`th allocation of a part fails.
pub(super) fn life(part: &str, number: &str) -> Result<()> {
    // EAGAIN is madvise()'s word for no memory; that of KVM_RUN does not get here.
    const ERRNOS: [i32; 4] = [libc::ENOMEM, libc::EFAULT, libc::EINTR, libc::EAGAIN];
    let part: u64 = part.parse()?;
    let (mut now, mut failed) = (0, false);
    let result = live(|_| {
        now += 1;
        if now == part {
            // Without that nothing fails, and that is told.
            let _ = write(FAIL_NTH, number);
        } else if now == part + 1 {
            failed = disarm();
        }
    });
    if now <= part {
        failed = disarm();
    }
    match (result, failed) {
        (Ok(()), true) => println!("no harm"),
        (Ok(()), false) => println!("none failed"),
        (Err(error), false) => return Err(error),
        (Err(error), true) => match errno(&error) {
            Some(errno) if ERRNOS.contains(&errno) => println!("errno {errno}"),
            _ => {
                println!("wrong: {error}");
                return Err(error);
            }
        },
    }
    Ok(())
}

/// From here on nothing fails. True if something has.
fn disarm() -> bool {
    // If reading this is what fails, it has failed.
    let left = read_to_string(FAIL_NTH).unwrap_or_default();
    write(FAIL_NTH, "0").is_err() || left.trim() == "0" || left.is_empty()
}
