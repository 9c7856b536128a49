// SPDX-License-Identifier: GPL-2.0

//! Commands on granules.

use crate::rmi::{AddrRange, Conduit, Error, Fid, PhysAddr, Rmi};

/// RMI_GRANULE_DELEGATE (0xC4000151): gives the first granule of a range to the realm world. Returns its end.
///
/// # Errors
///
/// * ERROR_INPUT: it is delegated already, or is no memory that can be delegated.
pub(in crate::rmi::cmd) fn delegate<C: Conduit>(
    rmi: &Rmi<C>,
    range: AddrRange,
) -> Result<PhysAddr, Error> {
    first(rmi, Fid::GRANULE_DELEGATE, range)
}

/// RMI_GRANULE_UNDELEGATE (0xC4000152): takes the first granule of a range back, wiped. Returns its end.
///
/// # Errors
///
/// * ERROR_INPUT: it is not delegated, or still part of a realm.
pub(in crate::rmi::cmd) fn undelegate<C: Conduit>(
    rmi: &Rmi<C>,
    range: AddrRange,
) -> Result<PhysAddr, Error> {
    first(rmi, Fid::GRANULE_UNDELEGATE, range)
}

/// A command on the first granule of a range.
///
/// # Errors
///
/// Those of the command.
fn first<C: Conduit>(rmi: &Rmi<C>, fid: Fid, range: AddrRange) -> Result<PhysAddr, Error> {
    rmi.plain(fid, &[range.base().raw()])?;
    Ok(range.first().top())
}
