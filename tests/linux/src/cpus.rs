// SPDX-License-Identifier: GPL-2.0

//! All CPUs are up, and each of them computes.

use crate::{pattern, Check, Context, Error, Verdict};
use std::{fs, thread};

/// `expected` CPUs are online, and a thread on each gets the same result.
pub(crate) fn check(expected: usize) -> Check {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").context("cpu/online")?;
    let online = cpu_list(online.trim())?;
    if online.len() != expected {
        return Err(format!("{} are online, not {expected}: {online:?}", online.len()).into());
    }
    let threads: Vec<_> = online
        .iter()
        .map(|cpu| {
            let cpu = *cpu;
            thread::spawn(move || compute_on(cpu))
        })
        .collect();
    let mut results = Vec::new();
    for thread in threads {
        results.push(thread.join().map_err(|_| "a thread panicked")??);
    }
    if results.windows(2).any(|pair| pair[0] != pair[1]) {
        return Err(format!("they do not agree: {results:x?}").into());
    }
    Ok(Verdict::Ok(format!("{expected} online and computing")))
}

/// Checksums a megabyte on `cpu`.
fn compute_on(cpu: usize) -> Result<u32, String> {
    // SAFETY: a set of zeroes is a valid one.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the call sets a bit in `set`, and ignores CPUs beyond it.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is valid for the size given.
    if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) } != 0 {
        return Err(format!(
            "CPU {cpu}: sched_setaffinity: {}",
            std::io::Error::last_os_error()
        ));
    }
    let mut block = [0; 4096];
    let mut hash = crc32fast::Hasher::new();
    for n in 0..256 {
        pattern::fill(&mut block, n);
        hash.update(&block);
    }
    // SAFETY: takes nothing.
    let now = unsafe { libc::sched_getcpu() };
    if usize::try_from(now) != Ok(cpu) {
        return Err(format!("a thread for CPU {cpu} runs on {now}"));
    }
    Ok(hash.finalize())
}

/// Reads `0-2,5`.
fn cpu_list(list: &str) -> Result<Vec<usize>, Error> {
    let mut cpus = Vec::new();
    for part in list.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        cpus.extend(first.parse::<usize>()?..=last.parse::<usize>()?);
    }
    Ok(cpus)
}

#[cfg(test)]
mod tests {
    use super::cpu_list;

    #[test]
    fn lists_of_cpus() {
        assert_eq!(cpu_list("0").unwrap(), [0]);
        assert_eq!(cpu_list("0-3,6").unwrap(), [0, 1, 2, 3, 6]);
        assert!(cpu_list("").unwrap().is_empty());
        assert!(cpu_list("0-x").is_err());
    }
}
