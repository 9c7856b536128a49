// SPDX-License-Identifier: GPL-2.0

//! Who owns a granule, as a type.
//!
//! ```text
//!   page allocator --new()--> GranuleRange<Undelegated> --into_range()--> page allocator
//!                                  |          ^
//!                          delegate()        undelegate()
//!                                  v          |
//!                             GranuleRange<Delegated> --leak()--> nobody, for ever
//! ```
//!
//! A delegated granule that the host touches is a granule protection fault in the host kernel. So
//! only an undelegated range can be turned back into memory, a range becomes undelegated only by
//! the RMM's word, and what the RMM left unclear is leaked: never freed, counted, and visible.

use super::{cmd, AddrRange, Conduit, Error, PhysAddr, Rmi};
use core::marker::PhantomData;

mod sealed {
    pub trait Sealed {}
}

/// [`Undelegated`] or [`Delegated`].
pub trait GranuleState: sealed::Sealed {}

/// The granules are ordinary memory of the host.
#[derive(Debug)]
pub enum Undelegated {}

/// The granules belong to the realm world: the RMM may use them, the host may not touch them.
#[derive(Debug)]
pub enum Delegated {}

impl sealed::Sealed for Undelegated {}
impl sealed::Sealed for Delegated {}
impl GranuleState for Undelegated {}
impl GranuleState for Delegated {}

/// Sole ownership of the granules in a range, all of them in state `S`.
///
/// Dropping one frees nothing: an undelegated range is then memory that nobody will use again, and
/// a delegated one stays counted as delegated.
///
/// Memory that is delegated cannot become ordinary memory by mistake:
///
/// ```compile_fail,E0599
/// # use kvm_arm_rmi::rmi::{Delegated, GranuleRange};
/// fn free(granules: GranuleRange<Delegated>) {
///     granules.into_range();
/// }
/// ```
///
/// and there is only one owner:
///
/// ```compile_fail,E0382
/// # use kvm_arm_rmi::rmi::{Conduit, GranuleRange, Rmi, Undelegated};
/// fn twice<C: Conduit>(rmi: &Rmi<C>, granules: GranuleRange<Undelegated>) {
///     let delegated = granules.delegate(rmi);
///     granules.into_range();
/// }
/// ```
#[derive(Debug, PartialEq, Eq)]
#[must_use = "memory that is not given back is lost"]
pub struct GranuleRange<S: GranuleState> {
    range: AddrRange,
    state: PhantomData<S>,
}

/// What became of a range that should change its state.
///
/// `done` comes before `rest`. Without an error there is no `rest`. Where the RMM's answer leaves
/// the state of granules unclear they are in neither: they have been leaked.
#[derive(Debug)]
#[must_use = "memory that is not given back is lost"]
pub struct Moved<To: GranuleState, From: GranuleState> {
    /// What has the new state.
    pub done: Option<GranuleRange<To>>,
    /// What still has the old state.
    pub rest: Option<GranuleRange<From>>,
    /// Why it stopped.
    pub error: Option<Error>,
}

impl<S: GranuleState> GranuleRange<S> {
    /// The owner of a range. For those in this folder who know that there is no other.
    pub(super) fn of(range: AddrRange) -> Self {
        Self {
            range,
            state: PhantomData,
        }
    }

    /// The addresses.
    pub fn range(&self) -> AddrRange {
        self.range
    }

    /// This range and `next`, if that begins where this ends.
    ///
    /// # Errors
    ///
    /// It does not: both come back.
    pub fn join(self, next: Self) -> Result<Self, (Self, Self)> {
        match AddrRange::new(self.range.base(), next.range.top()) {
            Some(range) if self.range.top() == next.range.base() => Ok(Self::of(range)),
            _ => Err((self, next)),
        }
    }

    /// This range and `other`, if one of them begins where the other ends.
    ///
    /// # Errors
    ///
    /// Neither does: both come back.
    pub fn merge(self, other: Self) -> Result<Self, (Self, Self)> {
        match self.join(other) {
            Ok(joined) => Ok(joined),
            Err((this, other)) => other.join(this).map_err(|(other, this)| (this, other)),
        }
    }

    /// Cuts the range after its first `granules`: what comes before and after the cut.
    pub fn split(self, granules: u64) -> (Option<Self>, Option<Self>) {
        let bytes = granules.saturating_mul(super::GRANULE_SIZE);
        let at = self.range.base().raw().saturating_add(bytes);
        let at = PhysAddr::new(at).min(self.range.top());
        let (before, after) = self.range.split(at).unwrap_or((Some(self.range), None));
        (before.map(Self::of), after.map(Self::of))
    }
}

impl GranuleRange<Undelegated> {
    /// Takes ownership of memory.
    ///
    /// # Safety
    ///
    /// The caller owns every byte of the range alone, it is ordinary memory that is not delegated,
    /// and nobody reads or writes it through any mapping until [`Self::into_range`] gives it back.
    #[expect(
        unsafe_code,
        reason = "this is where ownership of memory becomes a value"
    )]
    pub unsafe fn new(range: AddrRange) -> Self {
        Self::of(range)
    }

    /// Gives the memory up: whoever takes the addresses owns what is there.
    pub fn into_range(self) -> AddrRange {
        self.range
    }

    /// Delegates the range: RMI_GRANULE_RANGE_DELEGATE as often as it takes.
    ///
    /// Before: Undelegated. After: Delegated, contents unspecified.
    pub fn delegate<C: Conduit>(self, rmi: &Rmi<C>) -> Moved<Delegated, Undelegated> {
        // Counted before the RMM is asked, and what it did not take is taken off again: at no time
        // does the RMM hold a granule that is not in the count.
        rmi.count(|counts| counts.delegate(self.range.granules()));
        let (done, rest, error) = advance(rmi, self.range, cmd::granule::range_delegate);
        if let Some(rest) = &rest {
            rmi.count(|counts| counts.undelegate(rest.granules()));
        }
        Moved {
            done: done.map(GranuleRange::of),
            rest: rest.map(GranuleRange::of),
            error,
        }
    }
}

impl GranuleRange<Delegated> {
    /// Takes the range back: RMI_GRANULE_RANGE_UNDELEGATE as often as it takes.
    ///
    /// Before: Delegated, and no longer part of a realm. After: Undelegated, contents wiped.
    pub fn undelegate<C: Conduit>(self, rmi: &Rmi<C>) -> Moved<Undelegated, Delegated> {
        let (done, rest, error) = advance(rmi, self.range, cmd::granule::range_undelegate);
        if let Some(done) = &done {
            rmi.count(|counts| counts.undelegate(done.granules()));
        }
        Moved {
            done: done.map(GranuleRange::of),
            rest: rest.map(GranuleRange::of),
            error,
        }
    }

    /// The range after the RMM has undelegated it on its own, as it may with what it gives back.
    pub(super) fn undelegated_by_rmm<C: Conduit>(self, rmi: &Rmi<C>) -> GranuleRange<Undelegated> {
        rmi.count(|counts| counts.undelegate(self.range.granules()));
        GranuleRange::of(self.range)
    }

    /// Gives the range up for good. It stays out of the page allocator's reach for ever.
    pub fn leak<C: Conduit>(self, rmi: &Rmi<C>) {
        rmi.count(|counts| counts.leak(self.range.granules()));
    }
}

/// Repeats a range command until the range is done, the RMM refuses, or its answer makes no sense.
///
/// Returns what is done, what certainly is as it was, and the reason to stop. What is in neither has
/// been counted as leaked.
fn advance<C: Conduit>(
    rmi: &Rmi<C>,
    range: AddrRange,
    command: impl Fn(&Rmi<C>, AddrRange) -> Result<PhysAddr, Error>,
) -> (Option<AddrRange>, Option<AddrRange>, Option<Error>) {
    let mut at = range.base();
    while let Some(todo) = AddrRange::new(at, range.top()) {
        match command(rmi, todo) {
            // The wrapper promises that `top` lies in `todo` and is past its base.
            Ok(top) => at = top,
            Err(error) => {
                let done = AddrRange::new(range.base(), at);
                if error.changed_nothing() {
                    return (done, Some(todo), Some(error));
                }
                rmi.count(|counts| counts.leak(todo.granules()));
                return (done, None, Some(error));
            }
        }
        rmi.pause();
    }
    (Some(range), None, None)
}
