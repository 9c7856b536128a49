// SPDX-License-Identifier: GPL-2.0

//! Private memory in a row: a block by one fault, or a part of one.
//!
//! The file gives pages that follow each other and are aligned, which are one folio: it is split when a
//! part of it is punched out. What follows is as for pages one by one, with one command for all. It takes
//! memory only where there is plenty: whatever is in the way is no error, and leads to fewer pages.

use super::map::{map_when_quiet, prepare, Wanted};
use super::window::FIRST;
use crate::{
    realm::{
        block_around,
        host::errno,
        next_span,
        smc::Pause,
        vm::Vm,
        BLOCK, //
    },
    rmi::{
        cmd::data::Pieces,
        Delegated,
        GranuleRange,
        RttLevel,
        SharedPage,
        Undelegated,
        GRANULE_SIZE, //
    },
    sys::{
        memory,
        prelude::*,
        sched,
        slots::Memslot, //
    }, //
};
use core::{num::NonZeroU64, ops::Range};

/// The fewest granules that are asked for in a row: what the first fault in a block brings in.
const LEAST: u64 = FIRST;

/// Maps all of `gfns`, whose place is locked: a block, or a part of one, no less than [`LEAST`], a power of two
/// and aligned to that. False if that cannot be, or not in a row: nothing is mapped then.
///
/// # Errors
///
/// `EAGAIN` and `ESHUTDOWN` where there may be another attempt, or what [`errno`] makes of the RMM's answer.
pub(super) fn fault(
    vm: &Vm,
    slot: &Memslot<'_>,
    gfns: &Range<u64>,
    list: &mut impl SharedPage,
) -> Result<bool> {
    let (seq, halves) = (vm.kvm.invalidate_seq(), vm.halves());
    let size = gfns.end - gfns.start;
    let is_piece = size.is_power_of_two() && (LEAST..=BLOCK).contains(&size);
    let is_free = next_span(&vm.pages, gfns).is_none();
    if !is_piece || gfns.start % size != 0 || !is_free || !halves.may_all_be(gfns, true) {
        return Ok(false);
    }
    let Ok(table) = prepare_run(vm, gfns) else {
        return Ok(false);
    };
    let mut wanted = Wanted {
        gfns: gfns.clone(),
        seq,
        table,
    };
    let mut pieces = match get(vm, slot, gfns) {
        Ok(Some(pieces)) => pieces,
        other => {
            wanted.give_up_block(vm);
            return other.map(|_| false);
        }
    };
    // It is the only piece.
    let base = pieces.ranges().next().map_or(0, |piece| piece.base().raw());
    let is_at = |gfn: u64, pa: NonZeroU64| pa.get() == base + (gfn - gfns.start) * GRANULE_SIZE;
    let result = map_when_quiet(vm, slot, wanted, &mut pieces, is_at, list);
    vm.put_pieces(&mut pieces);
    result.map(|()| true)
}

/// As [`prepare`], with the table that is set aside for a block if that is what they are. An RMM that does
/// not map blocks has pages mapped.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn prepare_run(vm: &Vm, gfns: &Range<u64>) -> Result<Option<GranuleRange<Delegated>>> {
    let is_block = *gfns == block_around(gfns.start) && !vm.blocks.are_refused();
    let level = match is_block {
        true => RttLevel::L2,
        false => RttLevel::L3,
    };
    prepare(vm, gfns, level)?;
    match is_block {
        true => vm.table_to_set_aside(gfns.start).map(Some),
        false => Ok(None),
    }
}

/// The largest piece that begins where `gfns` do: [`LEAST`] or more, `most` granules at most, a power of two
/// and aligned to that.
pub(super) fn first_piece(gfns: &Range<u64>, most: u64) -> Option<Range<u64>> {
    let aligned = 1 << gfns.start.trailing_zeros().min(BLOCK.ilog2());
    let there = (gfns.end - gfns.start).checked_ilog2()?;
    let size = most.min(aligned).min(1 << there);
    (size >= LEAST).then_some(gfns.start..gfns.start + size)
}

/// Gets pages in a row for a piece of a slot, and has them delegated. `None` if the file has others, or there
/// is no such memory.
///
/// # Errors
///
/// `EAGAIN` while something is taken from the file, or what [`errno`] makes of the RMM's answer. The pages
/// have been dropped.
pub(super) fn get(vm: &Vm, slot: &Memslot<'_>, piece: &Range<u64>) -> Result<Option<Pieces>> {
    let order = (piece.end - piece.start).ilog2();
    match slot.get_run(piece.start, order) {
        Ok(Some(pages)) => delegate(vm, pages).map(Some),
        Ok(None) => Ok(None),
        Err(error) => {
            // Who takes memory away needs the CPU more than this does.
            sched::wait_a_little();
            Err(error)
        }
    }
}

/// Delegates pages.
///
/// # Errors
///
/// What [`errno`] makes of the RMM's answer; the pages have been dropped.
fn delegate(vm: &Vm, pages: GranuleRange<Undelegated>) -> Result<Pieces> {
    let moved = pages.delegate(&vm.rmi(Pause::Resched));
    moved.rest.into_iter().for_each(memory::put);
    let mut pieces = Pieces::new();
    if let Some(done) = moved.done {
        // It is the only one.
        let _ = pieces.push(done);
    }
    match moved.error {
        None => Ok(pieces),
        Some(error) => {
            vm.put_pieces(&mut pieces);
            Err(errno(error))
        }
    }
}
