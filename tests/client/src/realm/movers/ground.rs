// SPDX-License-Identifier: GPL-2.0

//! The memory that is moved, and what all movers need.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::RwLock;

use super::*;
use crate::realm::vm::Slot;

/// What memory there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Anonymous, in pages.
    Small,
    /// Anonymous, in huge pages if the kernel likes.
    Huge,
    /// A file in memory.
    File,
    /// The same, of huge pages out of the host's pool.
    Hugetlb,
}

/// Pages of what is in pages.
pub(super) const PAGES: u64 = 32;
/// Bytes of what is in huge pages: one of them.
const HUGE: u64 = 0x20_0000;
/// From one memory's IPA to the next.
const STRIDE: u64 = 0x100_0000;

impl Kind {
    pub(super) const ALL: [Self; 4] = [Self::Small, Self::Huge, Self::File, Self::Hugetlb];

    /// Its IPA.
    pub(super) const fn base(self) -> u64 {
        BASE + (1 + self as u64) * STRIDE
    }

    /// Maps the memory.
    pub(super) fn map(self) -> Result<Mapping> {
        Ok(match self {
            Self::Small => Mapping::new(PAGES * PAGE_SIZE, Huge::Never)?,
            Self::Huge => Mapping::new(HUGE, Huge::Always)?,
            Self::File => Mapping::of_file(PAGES * PAGE_SIZE, false)?,
            Self::Hugetlb => Mapping::of_file(HUGE, true)?,
        })
    }
}

/// The memory that is moved.
pub(super) struct Ground<'a> {
    slot: &'a Slot,
    /// Taken for writing by who keeps this process from reading or writing the memory.
    pub(super) gate: RwLock<()>,
    /// How often the realm's CPUs have found nothing to read or write there.
    pub(super) faults: AtomicU64,
}

impl<'a> Ground<'a> {
    pub(super) fn new(vm: &'a Vm, kind: Kind) -> Result<Self> {
        let slot = vm.slots.iter().find(|slot| slot.base == kind.base());
        Ok(Self {
            slot: slot.ok_or("no slot")?,
            gate: RwLock::new(()),
            faults: AtomicU64::new(0),
        })
    }

    /// Its IPA.
    pub(super) fn base(&self) -> u64 {
        self.slot.base
    }

    /// Where this process has it.
    pub(super) fn memory(&self) -> &'a Mapping {
        &self.slot.shared
    }
}

/// Counts from what it was when this was made.
pub(super) struct Since<F>(F, u64);

impl<F: Fn() -> Result<u64>> Since<F> {
    pub(super) fn new(read: F) -> Result<Self> {
        let before = read()?;
        Ok(Self(read, before))
    }

    pub(super) fn count(&self) -> Result<u64> {
        Ok((self.0)()?.saturating_sub(self.1))
    }
}

/// A counter of /proc/vmstat.
pub(super) fn vmstat(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/vmstat")?;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(value.ok_or_else(|| format!("vmstat: no {name}"))?.parse()?)
}

/// Writes a setting of the kernel's.
pub(super) fn set(file: &str, value: &str) -> Result<()> {
    fs::write(file, value).map_err(|e| format!("{value} to {file}: {e}"))?;
    Ok(())
}

/// A number that the kernel tells.
pub(super) fn number(file: &str) -> Result<u64> {
    let text = fs::read_to_string(file).map_err(|e| format!("{file}: {e}"))?;
    Ok(text.trim().parse()?)
}

/// Counts the pages that are elsewhere than they were.
pub(super) struct Moved {
    count: AtomicU64,
}

impl Moved {
    pub(super) const fn new() -> Self {
        Self {
            count: AtomicU64::new(0),
        }
    }

    /// Does `f`, and counts what has moved meanwhile.
    pub(super) fn by(&self, ground: &Ground<'_>, f: impl FnOnce() -> Result<()>) -> Result<()> {
        let before = ground.memory().frames()?;
        f()?;
        let after = ground.memory().frames()?;
        let moved =
            |(before, after): &(&u64, &u64)| before != after && **before != 0 && **after != 0;
        self.add(before.iter().zip(&after).filter(moved).count() as u64);
        Ok(())
    }

    pub(super) fn add(&self, count: u64) {
        self.count.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}
