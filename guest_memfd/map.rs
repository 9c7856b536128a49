// SPDX-License-Identifier: GPL-2.0

//! Mapping private memory that is delegated: under `mmu_lock`, unless something was invalidated.

use crate::{
    mmu::{self, Step},
    realm::{
        block_around,
        chunk_of,
        forget,
        host::errno_or_off,
        note,
        smc::Pause,
        vm::Vm,
        MissingTable,
        CHUNK, //
    },
    rmi::{
        self,
        cmd::data::Pieces,
        Delegated,
        GranuleRange,
        RttLevel,
        SharedPage,
        Status,
        GRANULE_SIZE, //
    },
    sys::{
        kvm::{MmuReadLock, Seq},
        memory,
        prelude::*,
        sched,
        slots::Memslot,
        trace, //
    }, //
};
use core::{num::NonZeroU64, ops::Range};

/// How often something is mapped that would be, had other memory of the VM not been invalidated just
/// now.
const TRIES: u32 = 100;

/// How often the RMM may find the tables in another state than the notes have them, in a row. Nothing
/// that this component does leads to that.
const SURPRISES: u32 = 3;

/// What is to be mapped.
pub(super) struct Wanted {
    /// Where.
    pub(super) gfns: Range<u64>,
    /// The state of the VM's memory when the pages were found.
    pub(super) seq: Seq,
    /// A table to set aside for a block: all of one is to be mapped as such, if that can be.
    pub(super) table: Option<GranuleRange<Delegated>>,
}

impl Wanted {
    /// No block is to be mapped.
    pub(super) fn give_up_block(&mut self, vm: &Vm) {
        let table = self.table.take();
        table.into_iter().for_each(|table| vm.keep_table(table));
    }
}

/// Sees to it that granules can be mapped: the tables down to `level`, and room to note them. They are in
/// one table.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`](crate::realm::host::errno) makes of the RMM's answer.
pub(super) fn prepare(vm: &Vm, gfns: &Range<u64>, level: RttLevel) -> Result {
    vm.make_tables(gfns.start * GRANULE_SIZE, level)?;
    let mut chunks = chunk_of(gfns.start)..gfns.end.div_ceil(CHUNK);
    match chunks.all(|chunk| vm.pages.reserve(chunk)) {
        true => Ok(()),
        false => Err(ENOMEM),
    }
}

/// Maps granules, which may take some attempts while other memory of the VM is being unmapped: what
/// is delegated already is not given back for that.
///
/// `is_at` says whether the page of a granule was found at an address.
///
/// # Errors
///
/// `EAGAIN` if they are not there any more, or no attempt was undisturbed; `ENOMEM` for a table, or what
/// [`errno_or_off`] makes of the RMM's answer. What is not mapped is left in `pieces`.
pub(super) fn map_when_quiet(
    vm: &Vm,
    slot: &Memslot<'_>,
    mut wanted: Wanted,
    pieces: &mut Pieces,
    is_at: impl Fn(u64, NonZeroU64) -> bool,
    list: &mut impl SharedPage,
) -> Result {
    let result = try_to_map(vm, slot, &mut wanted, pieces, is_at, list);
    wanted.give_up_block(vm);
    result
}

/// As [`map_when_quiet`]. A table that was not set aside is left in `wanted`.
///
/// # Errors
///
/// As for [`map_when_quiet`].
fn try_to_map(
    vm: &Vm,
    slot: &Memslot<'_>,
    wanted: &mut Wanted,
    pieces: &mut Pieces,
    is_at: impl Fn(u64, NonZeroU64) -> bool,
    list: &mut impl SharedPage,
) -> Result {
    let mut surprises = 0;
    for tries in 0..TRIES {
        match map(vm, wanted, pieces, list)? {
            Mapped::All => return Ok(()),
            Mapped::Some => {}
            // No block, but pages.
            Mapped::NoBlock => wanted.give_up_block(vm),
            // It was there when the chunk was prepared, and was folded since; or there is to be no block.
            Mapped::Lacks(table) => vm.make_table(table)?,
            Mapped::Refused(error) if surprises == SURPRISES => return Err(errno_or_off(error)),
            Mapped::Refused(_) => surprises += 1,
        }
        match tries {
            0..5 => sched::cond_resched(),
            // Who unmaps needs the CPU more than this does.
            _ => sched::wait_a_little(),
        }
        wanted.seq = vm.kvm.invalidate_seq();
        if !are_still(vm, slot, &wanted.gfns, &is_at) {
            return Err(EAGAIN);
        }
    }
    Err(EAGAIN)
}

/// True if the pages of `gfns`, which were found before, are private and the file's as they were.
fn are_still(
    vm: &Vm,
    slot: &Memslot<'_>,
    gfns: &Range<u64>,
    is_at: &impl Fn(u64, NonZeroU64) -> bool,
) -> bool {
    let is_still = |gfn: u64| {
        let now = slot.get_page(gfn).ok();
        let now = now.and_then(|page| NonZeroU64::new(page.pa().raw()));
        now.is_some_and(|pa| is_at(gfn, pa))
    };
    let halves = vm.halves();
    gfns.clone()
        .all(|gfn| halves.may_be_private(gfn) && is_still(gfn))
}

/// What has become of an attempt to map.
enum Mapped {
    /// Everything is mapped.
    All,
    /// Not everything, for others are at work.
    Some,
    /// The RMM does not map a block there.
    NoBlock,
    /// A table is not there (any more).
    Lacks(MissingTable),
    /// Something else is there, or a table is not.
    Refused(rmi::Error),
}

/// Maps granules that are next to each other, whose place is locked and for which there is room, unless
/// memory of the VM was invalidated since they were found. What is mapped has left `wanted` and `pieces`.
///
/// It is left to the file, which has the pages: what takes them out of the file invalidates them before, and
/// would have been seen, or waits for `mmu_lock`.
///
/// # Errors
///
/// `ESHUTDOWN` or `EIO` for another answer of the RMM's than [`Mapped`] has.
fn map(
    vm: &Vm,
    wanted: &mut Wanted,
    pieces: &mut Pieces,
    list: &mut impl SharedPage,
) -> Result<Mapped> {
    let gfns = &mut wanted.gfns;
    let range = vm
        .space
        .protected(gfns.start * GRANULE_SIZE, gfns.end * GRANULE_SIZE)
        .ok_or(EFAULT)?;
    let (rmi, name) = (vm.rmi(Pause::Never), vm.name()?);
    let lock = MmuReadLock::new(&vm.kvm);
    if lock.invalidated_since(wanted.seq, gfns) {
        return Ok(Mapped::Some);
    }
    let level = level(vm, gfns, &mut wanted.table);
    note(&vm.pages, gfns);
    let what = (pieces, memory::leave_to_file);
    let step = mmu::map_protected(&rmi, name, &vm.tables(), range, what, level, list);
    let (top, unclear) = match step {
        Step::Done => (range.top(), None),
        Step::Until(top) | Step::NeedTable(top, _) => (top, None),
        Step::Failed(top, error) => (top, (!error.changed_nothing()).then_some(error)),
    };
    let block = gfns.start;
    let done = gfns.start..top / GRANULE_SIZE;
    gfns.start = done.end;
    if unclear.is_none() {
        forget(&vm.pages, gfns);
        if level == RttLevel::L2 && !gfns.is_empty() && wanted.table.is_none() {
            // Somebody who made a table there may have taken it.
            wanted.table = vm.blocks.take(block);
        }
    }
    drop(lock);
    trace::realm_map(|| vm.rd(), true, &done);
    if let Some(error) = unclear {
        lost_track(vm, error);
    }
    match step {
        Step::Done => Ok(Mapped::All),
        Step::Until(_) => Ok(Mapped::Some),
        Step::NeedTable(_, table) => Ok(Mapped::Lacks(table)),
        Step::Failed(_, error) if error.is_blocked() => Ok(Mapped::Some),
        Step::Failed(_, error) => match error.status() {
            Some(Status::ErrorRtt) if level == RttLevel::L2 => Ok(Mapped::NoBlock),
            // What else may be wrong with the input is as wrong for pages.
            Some(Status::ErrorInput) if level == RttLevel::L2 => {
                vm.blocks.refuse();
                Ok(Mapped::NoBlock)
            }
            Some(Status::ErrorRtt) => Ok(Mapped::Refused(error)),
            _ => Err(errno_or_off(error)),
        },
    }
}

/// The level to map granules at: a block if that is wanted, of all that is left, and there is no table
/// for smaller ones. Then a table is set aside for it, under `mmu_lock`: whoever takes something out of
/// the block comes later.
fn level(
    vm: &Vm,
    gfns: &Range<u64>,
    table: &mut Option<GranuleRange<Delegated>>,
) -> RttLevel {
    let is_block = *gfns == block_around(gfns.start);
    let depth = || vm.tables().depth(gfns.start * GRANULE_SIZE);
    match table.take() {
        Some(aside) if is_block && depth() < RttLevel::L3 => {
            // There may be one already, which does as well.
            *table = vm.blocks.put(gfns.start, aside);
            RttLevel::L2
        }
        other => {
            *table = other;
            RttLevel::L3
        }
    }
}

/// The realm ends where nobody knows what the RMM has mapped. It stays noted, and so it will be unmapped.
pub(super) fn lost_track(vm: &Vm, error: rmi::Error) {
    vm.kill(fmt!("nobody knows what it has of private memory: {error}"));
}
