// SPDX-License-Identifier: GPL-2.0

//! What is different with the realm translation tables.

use crate::rmi::cmd::realm::RdName;
use crate::rmi::cmd::rtt::{read_entry, EntryState};
use crate::rmi::{Conduit, Error, IpaRange, Protected, Rmi, RttLevel, Status};

/// What has become of RMI_RTT_INIT_RIPAS for a range if it has failed with `error`: that is none where memory
/// is mapped that is RAM already, which RMI 1.0 does not pass over. Returns how far that goes.
///
/// # Errors
///
/// `error`, or those of RMI_RTT_READ_ENTRY.
pub(in crate::rmi::cmd) fn ram_already<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Protected>,
    error: Error,
) -> Result<u64, Error> {
    if error.status() != Some(Status::ErrorRtt) {
        return Err(error);
    }
    let entry = read_entry(rmi, rd, range.base(), RttLevel::L3)?;
    let top = range.base().saturating_add(entry.level.block_size());
    match range.until(top) {
        Some(done) if entry.state == EntryState::Assigned && entry.ram => Ok(done.top()),
        _ => Err(error),
    }
}
