// SPDX-License-Identifier: GPL-2.0

//! Memory of the host that a realm shares.

use super::protected::{straddled, Straddled};
use super::{Step, COMMANDS};
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
    let (mut left, mut source) = (range, memory);
    for _ in 0..COMMANDS {
        let at = left.base();
        if let Some(table) = tables.missing(at, level) {
            return Step::NeedTable(at, table);
        }
        let top = match unprot::unprot_map(rmi, rd, left, source, level, how) {
            Ok(top) => top,
            Err(error) => return Step::Failed(at, error),
        };
        let done = top.wrapping_sub(at);
        let base = PhysAddr::new(source.base().raw().wrapping_add(done));
        match (left.from(top), AddrRange::new(base, source.top())) {
            (Some(rest), Some(more)) => (left, source) = (rest, more),
            _ => return Step::Done,
        }
        rmi.pause();
    }
    Step::Until(left.base())
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
    let (mut left, mut source) = (range, granules);
    for _ in 0..COMMANDS {
        let at = left.base();
        if let Some(table) = tables.missing(at, RttLevel::L3) {
            return Step::NeedTable(at, table);
        }
        let top = match unprot::unprot_map_granules(rmi, rd, left, source, how, list) {
            Ok(top) => top,
            Err(error) => return Step::Failed(at, error),
        };
        let done = usize::try_from(top.wrapping_sub(at) / GRANULE_SIZE);
        let rest = done.ok().and_then(|done| source.get(done..));
        match (left.from(top), rest) {
            (Some(more), Some(rest)) => (left, source) = (more, rest),
            _ => return Step::Done,
        }
        rmi.pause();
    }
    Step::Until(left.base())
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
