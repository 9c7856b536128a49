// SPDX-License-Identifier: GPL-2.0

//! What has happened in the rounds, and how often.

use core::sync::atomic::{AtomicU64, Ordering};

/// How often something has happened, in all rounds.
pub(crate) struct Tally {
    /// Parts of the programme that worked, by bit.
    pub(crate) worked: [AtomicU64; 8],
    /// Host calls.
    pub(crate) calls: AtomicU64,
    /// RIPAS changes.
    pub(crate) ripas: AtomicU64,
    /// Pages that were asked for by touching them.
    pub(crate) faults: AtomicU64,
    /// Accesses that were emulated.
    pub(crate) emulated: AtomicU64,
    /// Interrupts that were injected.
    pub(crate) interrupts: AtomicU64,
    /// RECs that were turned on.
    pub(crate) turned_on: AtomicU64,
    /// Realms that turned themselves off.
    pub(crate) turned_off: AtomicU64,
    /// Granules that were delegated, and as many undelegated.
    pub(crate) moved: AtomicU64,
}

/// The tally.
pub(crate) static TALLY: Tally = Tally {
    worked: [const { AtomicU64::new(0) }; 8],
    calls: AtomicU64::new(0),
    ripas: AtomicU64::new(0),
    faults: AtomicU64::new(0),
    emulated: AtomicU64::new(0),
    interrupts: AtomicU64::new(0),
    turned_on: AtomicU64::new(0),
    turned_off: AtomicU64::new(0),
    moved: AtomicU64::new(0),
};

/// Counts one more.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
