// SPDX-License-Identifier: GPL-2.0

//! What was asked of the RMM and what it holds of ours, in numbers.

use super::Fid;
use core::sync::atomic::{AtomicU64, Ordering};

/// Counters of one host. They only inform: nothing is decided by them, so relaxed order is enough.
#[derive(Debug)]
pub struct Counts {
    calls: [PerCommand; Fid::COUNT],
    delegated: AtomicU64,
    delegated_peak: AtomicU64,
    leaked: AtomicU64,
}

#[derive(Debug, Default)]
struct PerCommand {
    calls: AtomicU64,
    errors: AtomicU64,
}

impl Default for Counts {
    fn default() -> Self {
        Self::new()
    }
}

impl Counts {
    /// All zeroes.
    pub fn new() -> Self {
        Self {
            calls: core::array::from_fn(|_| PerCommand::default()),
            delegated: AtomicU64::new(0),
            delegated_peak: AtomicU64::new(0),
            leaked: AtomicU64::new(0),
        }
    }

    /// Counts one SMC of command `fid`, and whether it failed.
    pub(super) fn call(&self, fid: Fid, failed: bool) {
        let Some(command) = fid.index().and_then(|n| self.calls.get(n)) else {
            return;
        };
        command.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            command.errors.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn delegate(&self, granules: u64) {
        let before = self.delegated.fetch_add(granules, Ordering::Relaxed);
        self.delegated_peak
            .fetch_max(before.saturating_add(granules), Ordering::Relaxed);
    }

    pub(super) fn undelegate(&self, granules: u64) {
        self.delegated.fetch_sub(granules, Ordering::Relaxed);
    }

    pub(super) fn leak(&self, granules: u64) {
        self.leaked.fetch_add(granules, Ordering::Relaxed);
    }

    /// Granules that the RMM holds, or may hold, of this host's memory. Leaked ones are included.
    pub fn delegated(&self) -> u64 {
        self.delegated.load(Ordering::Relaxed)
    }

    /// The most that [`Counts::delegated`] has ever been.
    pub fn delegated_peak(&self) -> u64 {
        self.delegated_peak.load(Ordering::Relaxed)
    }

    /// Granules given up for good because nobody can tell any more whose they are.
    pub fn leaked(&self) -> u64 {
        self.leaked.load(Ordering::Relaxed)
    }

    /// Commands called so far: which, how often, and how often in vain.
    pub fn commands(&self) -> impl Iterator<Item = (Fid, u64, u64)> + '_ {
        let all = Fid::ALL.iter().zip(&self.calls).map(|(fid, command)| {
            (
                *fid,
                command.calls.load(Ordering::Relaxed),
                command.errors.load(Ordering::Relaxed),
            )
        });
        all.filter(|(_, calls, _)| *calls != 0)
    }
}
