// SPDX-License-Identifier: GPL-2.0

//! Memory that only the realm sees.

use super::{by_commands, Step};
use crate::realm::{MissingTable, Tables};
use crate::rmi::cmd::data::{self, Pieces};
use crate::rmi::cmd::realm::RdName;
use crate::rmi::cmd::rtt::{self, EntryState};
use crate::rmi::{
    AddrRange, Conduit, Delegated, Error, GranuleRange, IpaRange, Protected, Rmi, RttLevel,
    SharedPage,
};

/// Maps memory at a range of the same size, in blocks of `level`, to which all of it must be
/// aligned: one command for as much as the RMM does at once.
///
/// What is mapped has left `pieces`, and `gone` was told; after [`Step::Done`] nothing is left of them.
/// `list` is used while this runs. It makes at most [`COMMANDS`](super::COMMANDS).
pub fn map_protected<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<Protected>,
    (pieces, mut gone): (&mut Pieces, impl FnMut(AddrRange)),
    level: RttLevel,
    list: &mut impl SharedPage,
) -> Step {
    by_commands(rmi, tables, range, level, |left| {
        data::map(rmi, rd, left, pieces, level, list, &mut gone)
    })
}

/// Unmaps what is mapped in a range and hands it to `each`, still delegated.
///
/// A block that reaches beyond the range is split, for which a table is needed. `list` is used
/// while this runs. It takes as many commands as there are entries at most, and pauses between them.
pub fn unmap_protected<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<Protected>,
    list: &mut impl SharedPage,
    mut each: impl FnMut(GranuleRange<Delegated>),
) -> Step {
    let mut left = range;
    loop {
        let at = left.base();
        let top = match straddled(rmi, rd, tables, left) {
            // Nothing is mapped there, so there is nothing to split.
            Ok(Straddled::Hole(top)) => top,
            Ok(Straddled::Block(table)) => return Step::NeedTable(at, table),
            Ok(Straddled::No) => match data::unmap(rmi, rd, left, list, &mut each) {
                Ok(top) => top,
                Err(error) => return Step::Failed(at, error),
            },
            Err(error) => return Step::Failed(at, error),
        };
        match left.from(top) {
            Some(rest) => left = rest,
            None => return Step::Done,
        }
        rmi.pause();
    }
}

/// How a range begins, with regard to the entry at its base.
pub(super) enum Straddled {
    /// The entry lies in the range, or the tables go down to granules.
    No,
    /// The entry reaches beyond the range and maps nothing, up to here at least.
    Hole(u64),
    /// The entry reaches beyond the range and is a block; it takes this table to split it.
    Block(MissingTable),
}

/// Looks at the entry at the base of a range, if it does not lie in the range as a whole: an unmap
/// of it would be refused.
///
/// # Errors
///
/// Those of RTT_READ_ENTRY.
pub(super) fn straddled<C: Conduit, H>(
    rmi: &Rmi<C>,
    rd: RdName,
    tables: &Tables<'_>,
    range: IpaRange<H>,
) -> Result<Straddled, Error> {
    let at = range.base();
    let block = tables.depth(at).block_size();
    let base = at & !block.wrapping_sub(1);
    let top = base.saturating_add(block);
    if base == at && top <= range.top() {
        return Ok(Straddled::No);
    }
    let Some(table) = tables.missing(at, RttLevel::L3) else {
        return Ok(Straddled::No);
    };
    Ok(match rtt::read_entry(rmi, rd, at, RttLevel::L3)?.state {
        EntryState::Unassigned => Straddled::Hole(top.min(range.top())),
        _ => Straddled::Block(table),
    })
}
