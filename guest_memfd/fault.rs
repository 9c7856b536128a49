// SPDX-License-Identifier: GPL-2.0

//! `realm_map_ipa`: private memory on its way into a realm, for faults and for populate.
//!
//! Pages are found and delegated without `mmu_lock`; what keeps them until then is a reference to
//! each. Then, under the lock, they are noted and mapped, unless something was invalidated since before
//! they were looked for. What cannot be mapped is undelegated before its reference is dropped.
//!
//! Only what is not noted is delegated, while the chunk is locked (or, by populate, before a vCPU can
//! run): so no other part of this has the pages, nor does the RMM have them still, since a note outlasts
//! the undelegation. Whatever is done with a page that is noted is the business of who unmaps it.

use super::pages::{Pages, PER_CHUNK};
use crate::{
    mmu::{self, Step},
    realm::{
        chunk_of,
        forget,
        host::errno_or_off,
        note,
        smc::Pause,
        vm::Vm,
        window,
        Bits,
        MissingTable,
        CHUNK, //
    },
    rmi::{
        self,
        cmd::{data::Pieces, rtt},
        RttLevel,
        SharedPage,
        GRANULE_SIZE, //
    },
    sys::{
        kvm::{MmuReadLock, Seq},
        platform,
        prelude::*,
        sched,
        slots::{Memslot, Slots},
        trace, //
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
/// of two and no more than a chunk.
///
/// `repeated`: the vCPU has just faulted there. `list` is used while this runs.
///
/// # Errors
///
/// `ENOMEM`, `EHWPOISON` or `EFAULT` by the file, or what [`errno`] makes of the RMM's answer.
pub fn fault(
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
    let chunk = chunk_of(gfn);
    let _faulting = vm.lock_chunk(chunk);
    let this = Bits::of(chunk, &(gfn..gfn + 1));
    if !vm.pages.get(chunk).and(this).is_empty() {
        return Ok(noted(vm, gfn, repeated));
    }
    let (seq, halves) = (vm.kvm.invalidate_seq(), vm.halves());
    if !halves.may_be_private(gfn) {
        return Ok(Faulted::NotPrivate);
    }
    let around = window(gfn, &slot.gfns(), around);
    let missing = Bits::of(chunk, &around).without(vm.pages.get(chunk));
    let mut pages = Pages::new(chunk);
    pages.get(&slot, gfn)?;
    for near in around.filter(|near| *near != gfn) {
        let wanted = !missing.and(Bits::of(chunk, &(near..near + 1))).is_empty();
        // What cannot be had is left for when it is asked for.
        if wanted && halves.may_be_private(near) && pages.get(&slot, near).is_err() {
            break;
        }
    }
    prepare(vm, chunk)?;
    let pas = pages.pas();
    let mut granules = pages.delegate(vm)?;
    let mut result = Ok(());
    while result.is_ok() {
        let Some((gfns, mut pieces)) = granules.next_run() else {
            break;
        };
        let still = |gfns: &Range<u64>| {
            let seq = vm.kvm.invalidate_seq();
            are_still(vm, &slot, gfns, &pas).then_some(seq)
        };
        result = map_when_quiet(vm, gfns, &mut pieces, (seq, still), list);
        vm.put_pieces(&mut pieces);
    }
    granules.put(vm);
    match result {
        // The next attempt will see what has changed, or the next entry.
        Err(error) if error == EAGAIN || error == ESHUTDOWN => Ok(Faulted::Again),
        result => result.map(|()| Faulted::Again),
    }
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

/// True if the pages of `gfns`, which were got before, are private and the file's as they were.
fn are_still(
    vm: &Vm,
    slot: &Memslot<'_>,
    gfns: &Range<u64>,
    pas: &[Option<NonZeroU64>; PER_CHUNK],
) -> bool {
    let is_still = |gfn: u64| {
        let now = slot.get_page(gfn).ok();
        let now = now.and_then(|page| NonZeroU64::new(page.pa().raw()));
        now.is_some() && pas[(gfn % CHUNK) as usize] == now
    };
    let halves = vm.halves();
    gfns.clone()
        .all(|gfn| halves.may_be_private(gfn) && is_still(gfn))
}

/// How often something is mapped that would be, had other memory of the VM not been invalidated just
/// now.
const TRIES: u32 = 100;

/// How often the RMM may find the tables in another state than the notes have them, in a row. Nothing
/// that this component does leads to that.
const SURPRISES: u32 = 3;

/// Maps granules, which may take some attempts while other memory of the VM is being unmapped: what
/// is delegated already is not given back for that.
///
/// `(seq, still)` are the state of the VM's memory when the pages were found, and what looks again
/// whether those of a range are the right ones.
///
/// # Errors
///
/// `EAGAIN` if they are not, or no attempt was undisturbed; `ENOMEM` for a table, or what
/// [`errno_or_off`] makes of the RMM's answer. What is not mapped is left in `pieces`.
fn map_when_quiet(
    vm: &Vm,
    mut gfns: Range<u64>,
    pieces: &mut Pieces,
    (mut seq, still): (Seq, impl Fn(&Range<u64>) -> Option<Seq>),
    list: &mut impl SharedPage,
) -> Result {
    let mut surprises = 0;
    for tries in 0..TRIES {
        match map(vm, &mut gfns, pieces, seq, list)? {
            Mapped::All => return Ok(()),
            Mapped::Some => {}
            // It was there when the chunk was prepared, and was folded since.
            Mapped::Lacks(table) => vm.make_table(table)?,
            Mapped::Refused(error) if surprises == SURPRISES => return Err(errno_or_off(error)),
            Mapped::Refused(_) => surprises += 1,
        }
        match tries {
            0..5 => sched::cond_resched(),
            // Who unmaps needs the CPU more than this does.
            _ => sched::wait_a_little(),
        }
        seq = still(&gfns).ok_or(EAGAIN)?;
    }
    Err(EAGAIN)
}

/// True if the RMM keeps the realm from granule `gfn` although something is mapped there.
fn is_lost(vm: &Vm, gfn: u64) -> bool {
    let rmi = vm.rmi(Pause::Resched);
    let entry = vm
        .name()
        .map(|name| rtt::read_entry(&rmi, name, gfn * GRANULE_SIZE, RttLevel::L3));
    matches!(entry, Ok(Ok(entry)) if entry.destroyed)
}

/// Granules to map around a fault of the realm's.
pub fn fault_around() -> u64 {
    let granules = (u64::from(platform::fault_around()) / GRANULE_SIZE).clamp(1, CHUNK);
    1 << granules.ilog2()
}

/// Sees to it that something of a chunk can be mapped: its tables, and room to note it.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
pub(super) fn prepare(vm: &Vm, chunk: u64) -> Result {
    vm.make_tables(chunk * CHUNK * GRANULE_SIZE, RttLevel::L3)?;
    vm.pages.reserve(chunk).then_some(()).ok_or(ENOMEM)
}

/// What has become of an attempt to map.
enum Mapped {
    /// Everything is mapped.
    All,
    /// Not everything, for others are at work.
    Some,
    /// A table is not there (any more).
    Lacks(MissingTable),
    /// Something else is there, or a table is not.
    Refused(rmi::Error),
}

/// Maps granules of one chunk, which was [prepared](prepare) and is locked, unless memory of the VM was
/// invalidated since `seq`. What is mapped has left `gfns` and `pieces`.
///
/// # Errors
///
/// `ESHUTDOWN` or `EIO` for another answer of the RMM's than [`Mapped`] has.
fn map(
    vm: &Vm,
    gfns: &mut Range<u64>,
    pieces: &mut Pieces,
    seq: Seq,
    list: &mut impl SharedPage,
) -> Result<Mapped> {
    let range = vm
        .space
        .protected(gfns.start * GRANULE_SIZE, gfns.end * GRANULE_SIZE)
        .ok_or(EFAULT)?;
    let (rmi, name) = (vm.rmi(Pause::Never), vm.name()?);
    let lock = MmuReadLock::new(&vm.kvm);
    if lock.invalidated_since(seq, gfns) {
        return Ok(Mapped::Some);
    }
    note(&vm.pages, gfns);
    let step = mmu::map_protected(&rmi, name, &vm.tables(), range, pieces, RttLevel::L3, list);
    let (top, unclear) = match step {
        Step::Done => (range.top(), None),
        Step::Until(top) | Step::NeedTable(top, _) => (top, None),
        Step::Failed(top, error) => (top, (!error.changed_nothing()).then_some(error)),
    };
    let done = gfns.start..top / GRANULE_SIZE;
    gfns.start = done.end;
    if unclear.is_none() {
        forget(&vm.pages, gfns);
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
        Step::Failed(_, error) if error.status() == Some(rmi::Status::ErrorRtt) => {
            Ok(Mapped::Refused(error))
        }
        Step::Failed(_, error) => Err(errno_or_off(error)),
    }
}

/// The realm ends where nobody knows what the RMM has mapped. It stays noted, and so it will be unmapped.
pub(super) fn lost_track(vm: &Vm, error: rmi::Error) {
    vm.kill(fmt!("nobody knows what it has of private memory: {error}"));
}
