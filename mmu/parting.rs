// SPDX-License-Identifier: GPL-2.0

//! Parting a realm from memory: what is unmapped, and when it is struck out.

use super::Step;
use crate::realm::{
    bitmap::Bitmap, block_around, count, forget, next_span, MissingTable, Tables, BLOCK,
};
use crate::rmi::cmd::realm::RdName;
use crate::rmi::{
    Conduit,
    Delegated,
    Error,
    GranuleRange,
    IpaSpace,
    Pending,
    Rmi,
    SharedPage,
    GRANULE_SIZE, //
};
use core::cell::Cell;
use core::fmt;
use core::ops::Range;

/// The most granules of private memory that are taken out at once, while others who want to take some
/// out wait.
pub const BATCH: u64 = (1 << 30) / GRANULE_SIZE;

/// The most tables of the lowest level whose shared memory one command unmaps: that is how much the RMM
/// does under one hold of `mmu_lock`.
pub const MERGED: u64 = 16;

/// How often a span, which is in one table, is tried again with a table that was lacking.
const SPLITS: u32 = 2;

/// Why the RMM has not parted a realm from memory. That stays noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kept {
    /// It refuses.
    Refused(Error),
    /// It is mapped in a block that cannot be split.
    Block,
    /// It has not given back so many granules.
    Granules(u64),
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kept::Refused(error) => error.fmt(f),
            Kept::Block => f.write_str("a block cannot be split"),
            Kept::Granules(lacking) => write!(f, "{lacking} granules have not come back"),
        }
    }
}

/// What was done of a range.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Part {
    /// What was struck out.
    pub gone: Range<u64>,
    /// How many granules of that were noted.
    pub granules: u64,
    /// Where to go on, past the first granule of the range that was noted.
    pub top: u64,
    /// Something before that is still mapped, or has not come back.
    pub kept: Option<Kept>,
}

impl Part {
    /// True if it may be tried again after a while: an operation of the RMM's has to end first.
    pub fn is_blocked(&self) -> bool {
        matches!(self.kept, Some(Kept::Refused(error)) if error.is_blocked())
    }
}

/// A realm, and what is noted of one half of its memory.
pub struct Parting<'a, C> {
    /// The way to the RMM.
    pub rmi: &'a Rmi<C>,
    /// The realm.
    pub rd: RdName,
    /// Its tables.
    pub tables: Tables<'a>,
    /// Its IPA space.
    pub space: IpaSpace,
    /// The notes of the half that is meant.
    pub notes: &'a Bitmap,
}

impl<C: Conduit> Parting<'_, C> {
    /// Takes private memory out of the realm, from the start of `gfns` on, at most [`BATCH`]: unmaps it,
    /// hands it to `give`, which undelegates it, and strikes it out. `None` if nothing is noted.
    ///
    /// Pages that are next to each other are handed over in one piece, also those of several tables; `give`
    /// says whether all of it is the host's. `list` is used while this runs. It pauses between commands.
    ///
    /// A block that is larger than what is taken out is split by the table that `split` makes, or finds
    /// made. It says whether there is one now.
    ///
    /// Nobody maps anything in `gfns` meanwhile, and nobody else takes anything out. The tables are those
    /// in which something is noted, and so they stay.
    pub fn private(
        &self,
        gfns: &Range<u64>,
        list: &mut impl SharedPage,
        mut give: impl FnMut(GranuleRange<Delegated>) -> bool,
        mut split: impl FnMut(MissingTable) -> bool,
    ) -> Option<Part> {
        let start = next_span(self.notes, gfns)?.start;
        // No block is split because it reaches beyond a batch.
        let batch = block_around(start.saturating_add(BATCH)).start;
        let end = gfns.end.min(batch);
        let failed = Cell::new(false);
        let mut pending = Pending::new(|piece| failed.set(!give(piece) || failed.get()));
        let mut from = start;
        let mut kept = None;
        let mut top = end;
        while let Some(span) = next_span(self.notes, &(from..end)) {
            let (base, limit) = (bytes(span.start), bytes(span.end));
            let range = self.space.protected(base, limit)?;
            let mut back = 0u64;
            let mut each = |granules: GranuleRange<Delegated>| {
                back = back.saturating_add(granules.range().granules());
                pending.add(granules);
            };
            let mut unmap = |range| {
                super::unmap_protected(self.rmi, self.rd, &self.tables, range, list, &mut each)
            };
            let mut step = unmap(range);
            // One block, at either end of what is taken out.
            for _ in 0..SPLITS {
                let Step::NeedTable(at, table) = step else {
                    break;
                };
                match range.from(at) {
                    Some(rest) if split(table) => step = unmap(rest),
                    _ => break,
                }
            }
            let (at, why) = match step {
                Step::Done => (span.end, None),
                // Of what has come back nobody knows which command it is of: it does not stand for what
                // earlier ones have not given back.
                Step::Failed(_, error) if !error.changed_nothing() => {
                    (span.start, Some(Kept::Refused(error)))
                }
                Step::Failed(at, error) => (at / GRANULE_SIZE, Some(Kept::Refused(error))),
                Step::Until(at) | Step::NeedTable(at, _) => (at / GRANULE_SIZE, Some(Kept::Block)),
            };
            // What is before that is gone, if it has come back; the rest of the span is left alone, unless
            // all of it has come back, whatever the RMM says.
            let all = count(self.notes, &span);
            let (at, lacking) = match all == back {
                true => (span.end, 0),
                false => {
                    let gone = count(self.notes, &(span.start..at));
                    (at, gone.saturating_sub(back))
                }
            };
            (from, kept) = match lacking {
                0 => (at, why),
                // Nobody knows which of them those are: their file keeps all.
                _ => (span.start, Some(Kept::Granules(lacking))),
            };
            if kept.is_some() {
                top = span.end;
                break;
            }
        }
        drop(pending);
        // The same where one is refused that is said to have come back.
        let gone = match failed.get() {
            true => start..start,
            false => start..from,
        };
        Some(self.strike_out(gone, top, kept))
    }

    /// Unmaps shared memory, from the start of `gfns` on, with one command, and strikes it out. `None` if
    /// nothing is noted.
    ///
    /// A block that begins or ends outside of `gfns` goes as a whole, and so do its notes. This is over
    /// after two commands and [`MERGED`] tables.
    ///
    /// `mmu_lock` is held for writing until this returns: nobody maps or unmaps shared memory, and tables
    /// do not come or go.
    pub fn shared(&self, gfns: &Range<u64>) -> Option<Part> {
        let span = next_shared_span(self.notes, gfns)?;
        let all = self.space.all_unprotected()?;
        let range = self.space.unprotected(bytes(span.start), bytes(span.end))?;
        Some(
            match super::unmap_unprotected(self.rmi, self.rd, &self.tables, range, all) {
                Ok(gone) => {
                    let gfn = |ipa: u64| ipa.wrapping_sub(all.base()) / GRANULE_SIZE;
                    self.strike_out(gfn(gone.start)..gfn(gone.end), gfn(gone.end), None)
                }
                Err(error) => {
                    let kept = Some(Kept::Refused(error));
                    self.strike_out(span.start..span.start, span.end, kept)
                }
            },
        )
    }

    fn strike_out(&self, gone: Range<u64>, top: u64, kept: Option<Kept>) -> Part {
        Part {
            granules: forget(self.notes, &gone),
            gone,
            top,
            kept,
        }
    }
}

/// The IPA of a granule.
fn bytes(gfn: u64) -> u64 {
    gfn.saturating_mul(GRANULE_SIZE)
}

/// The next shared granules that one command can unmap: those of one table, as [`next_span`] has them, and
/// of more tables, at most [`MERGED`] in all, as long as what follows begins where this ends. Between others
/// tables may be missing.
fn next_shared_span(set: &Bitmap, gfns: &Range<u64>) -> Option<Range<u64>> {
    let mut span = next_span(set, gfns)?;
    let table = block_around(span.start).start;
    let end = gfns
        .end
        .min(table.saturating_add(BLOCK.saturating_mul(MERGED)));
    while let Some(next) = next_span(set, &(span.end..end)) {
        if next.start != span.end {
            break;
        }
        span.end = next.end;
    }
    Some(span)
}
