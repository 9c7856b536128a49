// SPDX-License-Identifier: GPL-2.0

//! Granules that a CPU has to itself, as tokens.

use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::sync::atomic::Ordering;

use kvm_arm_rmi::rmi::PhysAddr;

use super::{idle, sealed, Entry, InState, Private, COUNT, LOCK, MAX_COUNT};

/// A granule that this CPU alone may read and write until it lets go of it: a [`Locked`] one of the
/// RMM's, or a [`Claimed`] one.
pub trait Held: sealed::Sealed {
    /// Where the granule is.
    fn pa(&self) -> PhysAddr;
}

/// A granule in state `S` that this CPU holds. Dropping it lets the next CPU have it.
///
/// # Invariants
///
/// The table's entry for `pa` has the lock bit and state `S`, and the bit was set for this token.
pub struct Locked<'t, S: InState> {
    pa: PhysAddr,
    entry: &'t Entry,
    state: PhantomData<S>,
}

impl<'t, S: InState> Locked<'t, S> {
    /// The token for the granule at `pa`, whose lock bit in `entry` was set by the caller.
    pub(super) fn new(pa: PhysAddr, entry: &'t Entry) -> Self {
        Self {
            pa,
            entry,
            state: PhantomData,
        }
    }

    /// Where the granule is.
    pub fn pa(&self) -> PhysAddr {
        self.pa
    }

    /// The number of references to the granule.
    pub fn count(&self) -> u16 {
        // ORDERING: Acquire pairs with the Release in `put`.
        self.entry.load(Ordering::Acquire) & COUNT
    }

    /// Counts `n` references more.
    ///
    /// # Panics
    ///
    /// If that is more than [`MAX_COUNT`].
    #[allow(clippy::panic, reason = "an RMM that has lost count must not go on")]
    pub(crate) fn get(&self, n: u16) {
        let now = self.count();
        if n > MAX_COUNT.saturating_sub(now) {
            panic!("too many references to the granule at {}", self.pa);
        }
        self.entry.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts `n` references less.
    ///
    /// # Panics
    ///
    /// If there are fewer.
    #[allow(clippy::panic, reason = "an RMM that has lost count must not go on")]
    pub(crate) fn put(&self, n: u16) {
        if n > self.count() {
            panic!("a reference to the granule at {} is dropped twice", self.pa);
        }
        self.entry.fetch_sub(n, Ordering::Relaxed);
    }

    /// The same granule, still held, in state `T`. References stay.
    pub(crate) fn change<T: InState>(self) -> Locked<'t, T> {
        // INVARIANT: the lock bit passes from the old token, which is not dropped, to the new one,
        // and the entry gets the state of the new one. Only the holder of the lock changes it.
        let old = ManuallyDrop::new(self);
        old.entry
            .fetch_xor(idle(S::STATE) ^ idle(T::STATE), Ordering::Relaxed);
        Locked {
            pa: old.pa,
            entry: old.entry,
            state: PhantomData,
        }
    }
}

impl<'t, S: Private> Locked<'t, S> {
    /// Lets go of the lock but keeps the granule to this CPU, by its only reference. Commands that
    /// need the granule unused find it in use, and do not wait.
    ///
    /// # Errors
    ///
    /// The granule itself, if there is a reference to it already.
    pub(crate) fn claim(self) -> Result<Claimed<'t, S>, Self> {
        if self.count() != 0 {
            return Err(self);
        }
        self.get(1);
        Ok(Claimed {
            pa: self.pa,
            entry: self.entry,
            state: PhantomData,
        })
    }
}

impl<S: InState> Drop for Locked<'_, S> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire in `GranuleTable::lock`.
        self.entry.fetch_and(!LOCK, Ordering::Release);
    }
}

impl<S: InState> sealed::Sealed for Locked<'_, S> {}

impl<S: Private> Held for Locked<'_, S> {
    fn pa(&self) -> PhysAddr {
        self.pa
    }
}

/// A granule in state `S` that this CPU has to itself without holding the lock: a REC that runs.
/// Dropping it lets others have it.
///
/// # Invariants
///
/// There is one reference to the granule, and it is this token's.
pub struct Claimed<'t, S: Private> {
    pa: PhysAddr,
    entry: &'t Entry,
    state: PhantomData<S>,
}

impl<S: Private> Claimed<'_, S> {
    /// Where the granule is.
    pub fn pa(&self) -> PhysAddr {
        self.pa
    }
}

impl<S: Private> Drop for Claimed<'_, S> {
    fn drop(&mut self) {
        put(self.entry);
    }
}

impl<S: Private> sealed::Sealed for Claimed<'_, S> {}

impl<S: Private> Held for Claimed<'_, S> {
    fn pa(&self) -> PhysAddr {
        self.pa
    }
}

/// Counts one reference less.
#[allow(clippy::panic, reason = "an RMM that has lost count must not go on")]
pub(super) fn put(entry: &Entry) {
    // ORDERING: Release, so that whoever finds no reference left sees what was done under this one.
    let before = entry.fetch_sub(1, Ordering::Release);
    if before & COUNT == 0 {
        panic!("a reference to a granule is dropped twice");
    }
}
