// SPDX-License-Identifier: GPL-2.0

//! `realm_map_ipa`: private memory on its way into a realm, for faults and for populate.
//!
//! Pages are found and delegated without `mmu_lock`; what keeps them until then is a reference to
//! each. Then, under the lock, they are noted and mapped, unless something was invalidated since before
//! they were looked for. What cannot be mapped is undelegated before its reference is dropped.
//!
//! Only what is not noted is delegated, while its place is locked (or, by populate, before a vCPU can
//! run): so no other part of this has the pages, nor does the RMM have them still, since a note outlasts
//! the undelegation. Whatever is done with a page that is noted is the business of who unmaps it.

use super::{
    map::{map_when_quiet, prepare, Wanted},
    pages::{Pages, PER_CHUNK},
    run,
};
use crate::{
    realm::{
        chunk_of,
        next_span,
        smc::Pause,
        vm::Vm,
        window,
        Bits,
        BLOCK,
        CHUNK, //
    },
    rmi::{
        cmd::rtt,
        RttLevel,
        SharedPage,
        GRANULE_SIZE, //
    },
    sys::{
        prelude::*,
        sched,
        slots::{Memslot, Slots}, //
    }, //
};
use core::{num::NonZeroU64, ops::Range};

/// What became of a fault.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Faulted {
    /// The granule is mapped, or the vCPU may try again.
    Again,
    /// The granule is not private, or there is no private memory.
    NotPrivate,
    /// What the realm had there was taken from it, and it does not know yet.
    Lost,
}

/// Maps private granule `gfn`, and its neighbours where that is cheap: `around` granules in all, a power
/// of two, no more than a block, nor than a chunk in a VM that is not [wide](Vm::wide).
///
/// `repeated`: the vCPU has just faulted there. `list` is used while this runs.
///
/// # Errors
///
/// `ENOMEM`, `EHWPOISON` or `EFAULT` by the file, or what [`errno`](crate::realm::host::errno) makes of
/// the RMM's answer.
pub fn fault(
    vm: &Vm,
    gfn: u64,
    around: u64,
    repeated: bool,
    list: &mut impl SharedPage,
) -> Result<Faulted> {
    match try_fault(vm, gfn, around, repeated, list) {
        // The next attempt will see what has changed, or the next entry.
        Err(error) if error == EAGAIN || error == ESHUTDOWN => Ok(Faulted::Again),
        result => result,
    }
}

/// As [`fault`].
///
/// # Errors
///
/// As for [`fault`]; `EAGAIN` and `ESHUTDOWN` where there may be another attempt.
fn try_fault(
    vm: &Vm,
    gfn: u64,
    around: u64,
    repeated: bool,
    list: &mut impl SharedPage,
) -> Result<Faulted> {
    let slots = Slots::read(&vm.kvm);
    let Some(slot) = slots.find(gfn).filter(Memslot::has_gmem) else {
        return Ok(Faulted::NotPrivate);
    };
    if slot.is_invalid() {
        // What is mapped in it now nobody would unmap: that may have been done already. When the slot has
        // gone, or has moved, the next attempt will see.
        drop(slots);
        sched::wait_a_little();
        return Ok(Faulted::Again);
    }
    let _faulting = vm.lock_place(gfn);
    let chunk = chunk_of(gfn);
    if missing(vm, chunk, &(gfn..gfn + 1)).is_empty() {
        return Ok(noted(vm, gfn, repeated));
    }
    let around = window(gfn, &slot.gfns(), around);
    let is_block = around.end - around.start == BLOCK;
    if is_block && run::fault(vm, &slot, &around, list)? {
        return Ok(Faulted::Again);
    }
    match in_pieces(vm, &slot, gfn, &around, list)? {
        true => Ok(Faulted::Again),
        false => Ok(Faulted::NotPrivate),
    }
}

/// Those granules of a chunk in `gfns` that are not noted.
fn missing(vm: &Vm, chunk: u64, gfns: &Range<u64>) -> Bits {
    Bits::of(chunk, gfns).without(vm.pages.get(chunk))
}

/// Maps granule `gfn` with what else of its chunk is in `around`, and then what else there is of that, as
/// long as it comes in a row. False if the granule is not private.
///
/// # Errors
///
/// As for [`try_fault`], of the chunk that `gfn` is in. What cannot be had of others is left for when it is
/// asked for.
fn in_pieces(
    vm: &Vm,
    slot: &Memslot<'_>,
    gfn: u64,
    around: &Range<u64>,
    list: &mut impl SharedPage,
) -> Result<bool> {
    let first = chunk_of(gfn) * CHUNK;
    let chunk = around.start.max(first)..around.end.min(first + CHUNK);
    let in_a_row = vm.wide && run::fault(vm, slot, &chunk, list)?;
    if !in_a_row && !one_by_one(vm, slot, gfn, &chunk, list)? {
        return Ok(false);
    }
    let mut at = around.start;
    while at < around.end {
        let piece = free_piece(vm, &(at..around.end));
        at = piece.as_ref().map_or((chunk_of(at) + 1) * CHUNK, |piece| piece.end);
        // There is no hurry.
        let goes_on = !sched::signal_pending();
        match piece {
            None => continue,
            Some(piece) if goes_on && matches!(run::fault(vm, slot, &piece, list), Ok(true)) => {}
            Some(_) => break,
        }
        sched::cond_resched();
    }
    Ok(true)
}

/// The largest piece that begins where `gfns` do and of which nothing is noted.
fn free_piece(vm: &Vm, gfns: &Range<u64>) -> Option<Range<u64>> {
    let mut piece = run::first_piece(gfns, BLOCK)?;
    while next_span(&vm.pages, &piece).is_some() {
        piece = run::first_piece(gfns, (piece.end - piece.start) / 2)?;
    }
    Some(piece)
}

/// Maps granule `gfn` and what else there is of `around`, which is in one chunk, wherever the pages are.
/// False if the granule is not private.
///
/// # Errors
///
/// As for [`try_fault`].
fn one_by_one(
    vm: &Vm,
    slot: &Memslot<'_>,
    gfn: u64,
    around: &Range<u64>,
    list: &mut impl SharedPage,
) -> Result<bool> {
    let chunk = chunk_of(gfn);
    let (seq, halves) = (vm.kvm.invalidate_seq(), vm.halves());
    if !halves.may_be_private(gfn) {
        return Ok(false);
    }
    let missing = missing(vm, chunk, around);
    let mut pages = Pages::new(chunk);
    pages.get(slot, gfn)?;
    for near in around.clone().filter(|near| *near != gfn) {
        let wanted = !missing.and(Bits::of(chunk, &(near..near + 1))).is_empty();
        // What cannot be had is left for when it is asked for.
        if wanted && halves.may_be_private(near) && pages.get(slot, near).is_err() {
            break;
        }
    }
    prepare(vm, around, RttLevel::L3)?;
    let pas = pages.pas();
    let is_at = |gfn: u64, pa: NonZeroU64| pas[(gfn % CHUNK) as usize] == Some(pa);
    let mut granules = pages.delegate(vm)?;
    let mut result = Ok(());
    while result.is_ok() {
        let Some((gfns, mut pieces)) = granules.next_run() else {
            break;
        };
        let wanted = Wanted {
            gfns,
            seq,
            table: None,
        };
        result = map_when_quiet(vm, slot, wanted, &mut pieces, is_at, list);
        vm.put_pieces(&mut pieces);
    }
    granules.put(vm);
    result.map(|()| true)
}

/// What becomes of a fault at a granule that is noted: another vCPU was faster, or it is on its way out
/// of the realm, or it does not help that it is mapped.
fn noted(vm: &Vm, gfn: u64, repeated: bool) -> Faulted {
    if !repeated {
        return Faulted::Again;
    }
    if vm.kvm.is_invalidating() {
        // Who takes it out needs the CPU more than this does.
        sched::wait_a_little();
        return Faulted::Again;
    }
    match is_lost(vm, gfn) {
        true => Faulted::Lost,
        false => Faulted::Again,
    }
}

/// True if the RMM keeps the realm from granule `gfn` although something is mapped there.
fn is_lost(vm: &Vm, gfn: u64) -> bool {
    let rmi = vm.rmi(Pause::Resched);
    let entry = vm
        .name()
        .map(|name| rtt::read_entry(&rmi, name, gfn * GRANULE_SIZE, RttLevel::L3));
    matches!(entry, Ok(Ok(entry)) if entry.destroyed)
}

const _: () = assert!(PER_CHUNK as u64 == CHUNK);
