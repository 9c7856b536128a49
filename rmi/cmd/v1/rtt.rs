// SPDX-License-Identifier: GPL-2.0

//! What is different with the realm translation tables.

use crate::rmi::cmd::realm::RdName;
use crate::rmi::cmd::rtt::read_entry;
use crate::rmi::{Conduit, Error, IpaRange, Protected, Rmi, RttLevel};

/// How far the base of a range is RAM already, by its entry; `None` if it is not. RMI_RTT_INIT_RIPAS of 1.0
/// refuses that where memory is mapped, and measures it again where none is.
///
/// # Errors
///
/// Those of RMI_RTT_READ_ENTRY.
pub(in crate::rmi::cmd) fn ram_already<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Protected>,
) -> Result<Option<u64>, Error> {
    let entry = read_entry(rmi, rd, range.base(), RttLevel::L3)?;
    let top = range.base().saturating_add(entry.level.block_size());
    Ok(entry.ram.then_some(top.min(range.top())))
}
