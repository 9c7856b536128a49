// SPDX-License-Identifier: GPL-2.0

//! The commands of RMI 1.0 that 2.0 does not have, by which [`super`] does what it promises.
//!
//! They are done when they return, and each deals with one granule or one entry of a table. What one of the
//! functions here does for a range ends after [`AT_ONCE`] of them at the latest, as a command of 2.0 ends
//! when the RMM likes: the caller asks for the rest.

pub(super) mod data;
pub(super) mod granule;
pub(super) mod rec;
pub(super) mod rtt;
pub(super) mod unprotected;

use crate::rmi::{Broken, Conduit, Error, Fid, IpaRange, PhysAddr, Results, Rmi};

/// The most commands that stand for one command of RMI 2.0.
const AT_ONCE: usize = 64;

/// Maps each of `memory` by a command of its own, `map`, which gets the IPA as well: blocks of so many bytes,
/// from the base of a range on, as far as both reach. Returns how far it came.
///
/// # Errors
///
/// That of the first command: nothing is mapped. [`Error::Broken`] by the RMM: nobody knows what is.
fn map_each<C: Conduit, H>(
    rmi: &Rmi<C>,
    fid: Fid,
    range: IpaRange<H>,
    block: u64,
    memory: impl Iterator<Item = PhysAddr>,
    mut map: impl FnMut(u64, PhysAddr) -> Result<Results, Error>,
) -> Result<u64, Error> {
    let fit = range.bytes().checked_div(block).unwrap_or(0);
    let mut done = range.base();
    for (pa, _) in memory.zip(0..fit).take(AT_ONCE) {
        match map(done, pa) {
            Ok(_) => done = done.saturating_add(block),
            Err(error) => return come_to(range, done, error),
        }
        rmi.pause();
    }
    match done == range.base() {
        true => Err(Error::Broken(fid, Broken::Range { top: done })),
        false => Ok(done),
    }
}

/// What is told of a range of which everything below `at` is done, when the next command fails with `error`:
/// what was done comes first, and the error next time.
///
/// # Errors
///
/// `error`, if nothing was done, or nobody knows what was.
fn come_to<H>(range: IpaRange<H>, at: u64, error: Error) -> Result<u64, Error> {
    match error.changed_nothing() && at != range.base() {
        true => Ok(at),
        false => Err(error),
    }
}

/// Where to go on in a range after its entry at `at`, by what the RMM names as the next that is not empty: that
/// may be beyond the range.
///
/// # Errors
///
/// [`Broken::Range`]: it is no progress.
fn go_on<H>(fid: Fid, range: IpaRange<H>, at: u64, next: u64) -> Result<u64, Error> {
    let next = next.min(range.top());
    match next == range.top() || next > at && range.from(next).is_some() {
        true => Ok(next),
        false => Err(Error::Broken(fid, Broken::Range { top: next })),
    }
}
