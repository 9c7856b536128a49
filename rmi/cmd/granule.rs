// SPDX-License-Identifier: GPL-2.0

//! Commands on granules.

use super::v1;
use crate::rmi::{AddrRange, Broken, Conduit, Error, Fid, PhysAddr, Results, Rmi};

/// Kind of memory, `RmiMemCategory`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Category {
    /// Ordinary memory.
    Conventional,
    /// Device memory outside of the coherent domain.
    DeviceNonCoherent,
    /// Device memory in the coherent domain.
    DeviceCoherent,
    /// Nothing.
    None,
    /// A value that the specification did not have when this was written.
    Unknown(u64),
}

/// How the RMM tracks a range, `RmiTrackingState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tracking {
    /// Not at all: nothing there can be delegated.
    None,
    /// Granule by granule.
    Fine,
    /// As one piece.
    Coarse,
    /// Neither; only while the RMM changes from one to the other.
    Intermediate,
    /// Reserved, or a value that the specification did not have when this was written.
    Unknown(u64),
}

/// What RMI_GRANULE_TRACKING_GET says of the memory from the asked base on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TrackingInfo {
    /// What is there.
    pub category: Category,
    /// How it is tracked.
    pub tracking: Tracking,
    /// What this is true of: what was asked of, or the first part of it.
    pub range: AddrRange,
}

/// RMI_GRANULE_RANGE_DELEGATE (0xC40001F1): gives granules to the realm world, from the base on, as
/// many as the RMM likes to do at once. Returns the end of what it took, always past the base.
///
/// The caller owns the range; [`crate::rmi::GranuleRange`] is what makes sure of that.
///
/// # Errors
///
/// * ERROR_GLOBAL: the RMM is not active.
/// * ERROR_INPUT: the first granule is delegated already, or is no memory that can be delegated.
/// * [`Error::Broken`]: the end makes no sense, so nobody knows what was taken.
pub(in crate::rmi) fn range_delegate<C: Conduit>(
    rmi: &Rmi<C>,
    range: AddrRange,
) -> Result<PhysAddr, Error> {
    match rmi.is_v1() {
        true => v1::granule::delegate(rmi, range),
        false => range_command(rmi, Fid::GRANULE_RANGE_DELEGATE, range),
    }
}

/// RMI_GRANULE_RANGE_UNDELEGATE (0xC40001F2): takes granules back, wiped, from the base on, as many
/// as the RMM likes to do at once. Returns the end of what it gave, always past the base.
///
/// # Errors
///
/// * ERROR_INPUT: the first granule is not delegated, or still part of a realm.
/// * [`Error::Broken`]: the end makes no sense, so nobody knows what was given back.
pub(in crate::rmi) fn range_undelegate<C: Conduit>(
    rmi: &Rmi<C>,
    range: AddrRange,
) -> Result<PhysAddr, Error> {
    match rmi.is_v1() {
        true => v1::granule::undelegate(rmi, range),
        false => range_command(rmi, Fid::GRANULE_RANGE_UNDELEGATE, range),
    }
}

/// RMI_GRANULE_TRACKING_GET (0xC40001E1): how the RMM tracks the memory at the base of a range, and
/// how far into the range that holds.
///
/// # Errors
///
/// * ERROR_INPUT: the range is beyond the physical address space.
/// * [`Error::Broken`]: the end makes no sense.
pub fn tracking_get<C: Conduit>(rmi: &Rmi<C>, range: AddrRange) -> Result<TrackingInfo, Error> {
    let fid = Fid::GRANULE_TRACKING_GET;
    let regs = rmi.plain(fid, &[range.base().raw(), range.top().raw()])?;
    Ok(TrackingInfo {
        category: match regs.x(1) {
            0 => Category::Conventional,
            1 => Category::DeviceNonCoherent,
            2 => Category::DeviceCoherent,
            3 => Category::None,
            other => Category::Unknown(other),
        },
        tracking: match regs.x(2) {
            1 => Tracking::None,
            2 => Tracking::Fine,
            3 => Tracking::Coarse,
            4 => Tracking::Intermediate,
            other => Tracking::Unknown(other),
        },
        range: progress(fid, range, &regs, 3)?,
    })
}

/// A command on `base, top` that answers with how far it came.
///
/// # Errors
///
/// Those of the command.
fn range_command<C: Conduit>(rmi: &Rmi<C>, fid: Fid, range: AddrRange) -> Result<PhysAddr, Error> {
    let base = range.base().raw();
    let args = [base, range.top().raw()];
    let regs = rmi.ranged(fid, &args, |regs| regs.x(1) == base)?;
    progress(fid, range, &regs, 1).map(|done| done.top())
}

/// The part of a range up to the end that the RMM put in register `n`: past the base of the request, not
/// past its top, and on a granule.
///
/// # Errors
///
/// [`Broken::Range`].
fn progress(fid: Fid, range: AddrRange, regs: &Results, n: usize) -> Result<AddrRange, Error> {
    let top = PhysAddr::new(regs.x(n));
    match range.split(top) {
        Some((Some(done), _)) => Ok(done),
        _ => Err(Error::Broken(fid, Broken::Range { top: top.raw() })),
    }
}
