// SPDX-License-Identifier: GPL-2.0

//! Memory is there throughout, and every page is the one that was written.

use crate::{pattern, Check, Context, Error, Verdict};
use std::fs;

const PAGE: usize = 4096;

/// Writes three quarters of what is available, and reads it again.
pub(crate) fn check() -> Check {
    let pages = available_kib()? * 1024 / 4 * 3 / PAGE;
    // Zeroed, so that it is the kernel that brings in page after page as they are touched.
    let mut memory = vec![0_u8; pages * PAGE];
    for (n, page) in (0..).zip(memory.chunks_exact_mut(PAGE)) {
        pattern::fill(page, n);
    }
    for (n, page) in (0..).zip(memory.chunks_exact(PAGE)) {
        if !pattern::holds(page, n) {
            return Err(format!("page {n} of {pages} is not what was written").into());
        }
    }
    Ok(Verdict::Ok(format!(
        "{} MiB written and read",
        (pages * PAGE) >> 20
    )))
}

fn available_kib() -> Result<usize, Error> {
    let text = fs::read_to_string("/proc/meminfo").context("meminfo")?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"));
    let value = line.and_then(|rest| rest.trim().strip_suffix(" kB"));
    value
        .and_then(|kib| kib.trim().parse().ok())
        .ok_or_else(|| "no MemAvailable in /proc/meminfo".into())
}
