// SPDX-License-Identifier: GPL-2.0

//! A block of private memory by one fault.
//!
//! The file gives pages that follow each other and are aligned as a block is; they enter it one by one, so
//! that any of them can be punched out. What follows is as for a few pages, with one command for all.
//! Whatever is in the way is no error: the fault is served with fewer pages then.

use super::map::{map_when_quiet, Wanted};
use crate::{
    realm::{
        block_around,
        chunk_of,
        next_span,
        host::errno,
        smc::Pause,
        vm::Vm,
        BLOCK,
        CHUNK, //
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
        slots::Memslot, //
    }, //
};
use core::ops::Range;

/// Maps all granules of a block, whose place is locked. False if that cannot be: nothing is mapped then.
///
/// # Errors
///
/// `EFAULT` by the file, `EAGAIN` and `ESHUTDOWN` where there may be another attempt, or what [`errno`]
/// makes of the RMM's answer.
pub(super) fn fault(
    vm: &Vm,
    slot: &Memslot<'_>,
    gfns: &Range<u64>,
    list: &mut impl SharedPage,
) -> Result<bool> {
    let (seq, halves) = (vm.kvm.invalidate_seq(), vm.halves());
    let fits = *gfns == block_around(gfns.start) && next_span(&vm.pages, gfns).is_none();
    if vm.blocks.are_refused() || !fits || !halves.may_all_be(gfns, true) {
        return Ok(false);
    }
    let Ok(table) = prepare(vm, gfns) else {
        return Ok(false);
    };
    let pages = match slot.get_run(gfns.start, BLOCK.ilog2()) {
        Ok(Some(pages)) => pages,
        other => {
            vm.keep_table(table);
            return other.map(|_| false);
        }
    };
    let base = pages.range().base().raw();
    let is_at = |gfn: u64, pa: core::num::NonZeroU64| {
        pa.get() == base + (gfn - gfns.start) * GRANULE_SIZE
    };
    let mut pieces = match delegate(vm, pages) {
        Ok(pieces) => pieces,
        Err(error) => {
            vm.keep_table(table);
            return Err(error);
        }
    };
    let wanted = Wanted {
        gfns: gfns.clone(),
        seq,
        table: Some(table),
    };
    let result = map_when_quiet(vm, slot, wanted, &mut pieces, is_at, list);
    vm.put_pieces(&mut pieces);
    result.map(|()| true)
}

/// Sees to it that a block can be mapped: the tables above it, room to note it, and the table that is set
/// aside for it.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn prepare(vm: &Vm, gfns: &Range<u64>) -> Result<GranuleRange<Delegated>> {
    vm.make_tables(gfns.start * GRANULE_SIZE, RttLevel::L2)?;
    for chunk in chunk_of(gfns.start)..gfns.end.div_ceil(CHUNK) {
        vm.pages.reserve(chunk).then_some(()).ok_or(ENOMEM)?;
    }
    vm.table_to_set_aside(gfns.start)
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
