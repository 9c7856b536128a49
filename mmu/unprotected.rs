// SPDX-License-Identifier: GPL-2.0

//! Memory of the host that a realm shares.

use super::protected::{straddled, Straddled};
use super::{Step, TableSet, Tables};
use crate::rmi::cmd::data::{self, Access, MemAttr};
use crate::rmi::cmd::realm::RdName;
use crate::rmi::{
    AddrRange,
    Conduit,
    Error,
    IpaRange,
    PhysAddr,
    Rmi,
    RttLevel,
    Unprotected, //
};

/// Maps memory of the host at an unprotected range of the same size, in blocks of `level`, to which
/// both must be aligned.
pub fn map_unprotected<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_, S>,
    range: IpaRange<Unprotected>,
    memory: AddrRange,
    level: RttLevel,
    how: (MemAttr, Access),
) -> Step {
    let (mut left, mut source) = (range, memory);
    loop {
        let at = left.base();
        if let Some(table) = tables.missing(at, level) {
            return Step::NeedTable(at, table);
        }
        let top = match data::unprot_map(rmi, rd, left, source, level, how) {
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
}

/// Unmaps an unprotected range. It cannot fail for want of memory: a block that reaches beyond the
/// range goes as a whole, and the realm faults the rest in again.
///
/// `within` is all there may be: the unprotected half.
pub fn unmap_unprotected<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_, S>,
    range: IpaRange<Unprotected>,
    within: IpaRange<Unprotected>,
) -> Step {
    let mut left = range;
    loop {
        let at = left.base();
        let top = match straddled(rmi, rd, tables, left) {
            Ok(Straddled::Hole(top)) => Ok(top),
            Ok(Straddled::Block(_)) => whole_block(rmi, rd, tables, at, within),
            Ok(Straddled::No) => data::unprot_unmap(rmi, rd, left),
            Err(error) => Err(error),
        };
        match top {
            Ok(top) => match left.from(top) {
                Some(rest) => left = rest,
                // The range is done, or the block went beyond it.
                None => return Step::Done,
            },
            Err(error) => return Step::Failed(at, error),
        }
        rmi.pause();
    }
}

/// Unmaps the block that `at` is in; returns its end.
///
/// # Errors
///
/// Those of the command.
fn whole_block<C: Conduit, S: TableSet>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_, S>,
    at: u64,
    within: IpaRange<Unprotected>,
) -> Result<u64, Error> {
    let size = tables.depth(at).block_size();
    let base = at & !size.wrapping_sub(1);
    let top = base.saturating_add(size);
    match within.clamp(base, top) {
        Some(block) => data::unprot_unmap(rmi, rd, block),
        // The halves are made of whole blocks.
        None => Ok(top),
    }
}
