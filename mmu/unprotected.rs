// SPDX-License-Identifier: GPL-2.0

//! Memory of the host that a realm shares.

use super::protected::{straddled, Straddled};
use super::{by_commands, Step};
use crate::realm::Tables;
use crate::rmi::cmd::realm::RdName;
use crate::rmi::cmd::unprot::{self, Access, MemAttr};
use crate::rmi::{
    AddrRange,
    Broken,
    Conduit,
    Error,
    Fid,
    IpaRange,
    PhysAddr,
    Rmi,
    RttLevel,
    SharedPage,
    Unprotected,
    GRANULE_SIZE, //
};
use core::ops::Range;

/// Maps memory of the host at an unprotected range of the same size, in blocks of `level`, to which
/// both must be aligned. It makes at most [`COMMANDS`].
pub fn map_unprotected<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<Unprotected>,
    memory: AddrRange,
    level: RttLevel,
    how: (MemAttr, Access),
) -> Step {
    by_commands(rmi, tables, range, level, |left| {
        let done = left.base().wrapping_sub(range.base());
        let base = PhysAddr::new(memory.base().raw().wrapping_add(done));
        match AddrRange::new(base, memory.top()) {
            Some(source) => unprot::unprot_map(rmi, rd, left, source, level, how),
            None => Ok(left.top()),
        }
    })
}

/// As [`map_unprotected`], of granules wherever they are, in one table: one command for as many of them as the
/// RMM does at once. `list` is used while this runs.
pub fn map_unprotected_granules<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<Unprotected>,
    granules: &[PhysAddr],
    how: (MemAttr, Access),
    list: &mut impl SharedPage,
) -> Step {
    by_commands(rmi, tables, range, RttLevel::L3, |left| {
        let done = left.base().wrapping_sub(range.base()) / GRANULE_SIZE;
        let rest = usize::try_from(done)
            .ok()
            .and_then(|done| granules.get(done..));
        match rest {
            Some(rest) => unprot::unprot_map_granules(rmi, rd, left, rest, how, list),
            None => Ok(left.top()),
        }
    })
}

/// Unmaps an unprotected range from its base on, as far as one command goes. It cannot fail for want
/// of memory: a block that reaches beyond the range goes as a whole, and the realm faults the rest in
/// again.
///
/// `within` is all there may be: the unprotected half. Returns the IPAs where certainly nothing is
/// mapped any more: the base is among them, and what is outside of the range may be.
///
/// # Errors
///
/// Those of the commands: nothing is unmapped.
pub fn unmap_unprotected<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<Unprotected>,
    within: IpaRange<Unprotected>,
) -> Result<Range<u64>, Error> {
    let at = range.base();
    match straddled(rmi, rd, tables, range)? {
        Straddled::Hole(top) => Ok(at..top),
        Straddled::Block(_) => whole_block(rmi, rd, tables, at, within),
        Straddled::No => unprot::unprot_unmap(rmi, rd, range).map(|top| at..top),
    }
}

/// Unmaps the block that `at` is in; returns what it maps.
///
/// # Errors
///
/// Those of the command.
fn whole_block<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    at: u64,
    within: IpaRange<Unprotected>,
) -> Result<Range<u64>, Error> {
    let size = tables.depth(at).block_size();
    let base = at & !size.wrapping_sub(1);
    let top = base.saturating_add(size);
    match within.clamp(base, top) {
        Some(block) => match unprot::unprot_unmap(rmi, rd, block)? {
            top if at < top => Ok(base..top),
            top => Err(Error::Broken(Fid::RTT_UNPROT_UNMAP, Broken::Range { top })),
        },
        // The halves are made of whole blocks.
        None => Ok(base..top),
    }
}
