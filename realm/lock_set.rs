// SPDX-License-Identifier: GPL-2.0

//! Locks for many things, of which few are busy at once.

use crate::sys::{prelude::*, sync::MutexGuard};

/// Locks in a set, as a power of two: enough that 16 vCPUs at work in as many places seldom meet.
const BITS: u32 = 6;

/// 2^64 by the golden ratio: multiples of it lie far apart in the topmost bits, those of neighbours as well
/// as those of numbers at any other distance from each other.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// A lock for each number, or for few of them together.
///
/// Nobody holds two of one set.
pub(super) struct LockSet(KVec<Mutex<()>>);

impl LockSet {
    /// A set of locks that `new` makes, all of one class.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn new(new: impl Fn() -> Result<Mutex<()>>) -> Result<Self> {
        let mut locks = KVec::with_capacity(1 << BITS, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..1 << BITS {
            locks.push(new()?, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Self(locks))
    }

    /// Takes the lock for a number.
    pub(super) fn lock(&self, number: u64) -> MutexGuard<'_, ()> {
        // CAST: There are as many locks as the topmost bits can say.
        self.0[(number.wrapping_mul(SPREAD) >> (u64::BITS - BITS)) as usize].lock()
    }
}
