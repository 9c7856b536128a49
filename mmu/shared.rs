// SPDX-License-Identifier: GPL-2.0

//! Mapping memory of the host that a realm shares. KVM finds the memory, as for any VM; what is here
//! replaces its page tables.

use super::Step;
use crate::{
    realm::{
        chunk_of,
        host::errno_or_off,
        next_span,
        note,
        smc::Pause,
        vm::Vm,
        MissingTable, //
    },
    rmi::{
        self,
        cmd::unprot::{Access, MemAttr},
        AddrRange,
        IpaRange,
        PhysAddr,
        RttLevel,
        SharedPage,
        Status,
        Unprotected,
        GRANULE_SIZE, //
    },
    sys::{
        kvm::MmuReadLock,
        prelude::*,
        slots::{Slots, PRESENT},
        trace, //
    }, //
};
use core::ops::Range;

/// Bytes that shared memory is mapped in where they follow each other.
const BLOCK: u64 = RttLevel::L2.block_size();

/// What an attempt to map has come to.
pub enum Mapped {
    /// It is mapped.
    Done,
    /// Others were at work in the same place: it may be tried again at once.
    Again,
    /// Something has to be made first; nothing is mapped.
    Lacks(Wanted),
}

/// What has to be made, where one may sleep, before something can be mapped.
#[derive(Clone)]
pub enum Wanted {
    /// A table.
    Table(MissingTable),
    /// Room to note what is mapped of these chunks.
    Note(Range<u64>),
}

/// Memory that is to be mapped.
pub struct Mapping {
    /// Where: an IPA without the bit that tells the halves apart.
    pub ipa: u64,
    /// The memory.
    pub pa: u64,
    /// Bytes. A block or more is a power of two, to which both are aligned.
    pub size: u64,
    /// The realm may write.
    pub access: Access,
    /// The realm has tried something that what is mapped does not allow.
    pub replaces: bool,
}

impl Mapping {
    /// The block around `ipa`, of a mapping that is larger than that.
    pub fn around(self, ipa: u64) -> Self {
        if self.size <= BLOCK {
            return self;
        }
        let offset = (ipa & (self.size - 1)) & !(BLOCK - 1);
        Self {
            ipa: self.ipa + offset,
            pa: self.pa + offset,
            size: BLOCK,
            ..self
        }
    }

    /// Some granules of the mapping.
    pub fn within(self, gfns: &Range<u64>) -> Self {
        let ipa = gfns.start * GRANULE_SIZE;
        Self {
            ipa,
            pa: self.pa + (ipa - self.ipa),
            size: (gfns.end - gfns.start) * GRANULE_SIZE,
            ..self
        }
    }
}

/// Maps memory, under `mmu_lock` for reading. It is mapped as a block if it is one, unless there are
/// smaller pages in its place already.
///
/// Other vCPUs may map in the same place meanwhile, and a table may come into being there. So what the
/// RMM refuses for what it finds is no error, and what was noted stays noted: it may be mapped by this
/// or by others.
///
/// # Errors
///
/// `EFAULT` if the IPA or the memory cannot be, or what [`errno_or_off`] makes of the RMM's answer.
pub fn map(vm: &Vm, mapping: &Mapping, _lock: &MmuReadLock<'_>) -> Result<Mapped> {
    let gfns = mapping.ipa / GRANULE_SIZE..(mapping.ipa + mapping.size) / GRANULE_SIZE;
    let (range, memory) = places(vm, mapping)?;
    if mapping.replaces && next_span(&vm.shared, &gfns).is_some() && !unmap(vm, &gfns, range)? {
        return Ok(Mapped::Again);
    }
    if !note(&vm.shared, &gfns) {
        return Ok(Mapped::Lacks(Wanted::Note(chunks(&gfns))));
    }
    let level = match mapping.size {
        BLOCK.. if vm.tables().depth(range.base()) < RttLevel::L3 => RttLevel::L2,
        _ => RttLevel::L3,
    };
    let mut step = map_at(vm, mapping, range, memory, level)?;
    if is_conflict(&step) && unmap(vm, &gfns, range)? {
        step = map_at(vm, mapping, range, memory, level)?;
    }
    match step {
        Step::NeedTable(_, table) => Ok(Mapped::Lacks(Wanted::Table(table))),
        Step::Until(_) => Ok(Mapped::Again),
        step if is_conflict(&step) => Ok(Mapped::Again),
        Step::Failed(_, error) => Err(errno_or_off(error)),
        Step::Done => {
            trace::realm_map(|| vm.rd(), false, &gfns);
            Ok(Mapped::Done)
        }
    }
}

/// Maps what follows a page that has just been mapped under this lock, as user space has it already: up to
/// where the next 64 KiB begin, to something that is not there, not shared, or noted as mapped. Nothing is
/// made for it, and what cannot be mapped is left for a fault of its own. Returns false if nothing was
/// there.
///
/// As [`map`] has done for the page, the caller has seen that nothing is being invalidated: so what user
/// space has there, and what is shared, stays so until the lock is dropped. Other vCPUs may map the same
/// meanwhile: both have looked at the same pages, and what the RMM refuses one of them is left for a fault.
///
/// `list` is used while this runs.
pub fn map_ahead(
    vm: &Vm,
    page: &Mapping,
    lock: &MmuReadLock<'_>,
    list: &mut impl SharedPage,
) -> bool {
    let first = page.ipa / GRANULE_SIZE;
    let slots = Slots::read(&vm.kvm);
    let Some(slot) = slots.find(first).filter(|slot| !slot.is_invalid() && !slot.is_logged()) else {
        return false;
    };
    let end = ((first / PRESENT as u64 + 1) * PRESENT as u64).min(slot.gfns().end);
    let Some(gfns) = ahead(vm, first + 1..end) else {
        return true;
    };
    let first = gfns.start;
    let there = slot.with_present(gfns, page.access == Access::ReadWrite, lock, |pages| {
        let gfns = first..first + pages.len() as u64;
        map_granules(vm, gfns, pages, page.access, list).unwrap_or(0)
    });
    there != 0
}

/// The granules at the beginning of `gfns` that are shared, and not noted as mapped; `None` if that is not
/// even the first of them.
fn ahead(vm: &Vm, gfns: Range<u64>) -> Option<Range<u64>> {
    if gfns.is_empty() {
        return None;
    }
    let noted = next_span(&vm.shared, &gfns).map_or(gfns.end, |span| span.start);
    let gfns = gfns.start..noted;
    let shared = match vm.halves().may_all_be(&gfns, false) {
        true => gfns.end,
        false => gfns.clone().find(|gfn| !vm.halves().may_be_shared(*gfn))?,
    };
    (gfns.start < shared).then_some(gfns.start..shared)
}

/// Maps granules where there are none, from the first one on. Returns how many.
///
/// # Errors
///
/// `EIO` if there is no realm.
fn map_granules(
    vm: &Vm,
    gfns: Range<u64>,
    pages: &[PhysAddr],
    access: Access,
    list: &mut impl SharedPage,
) -> Result<usize> {
    let range = vm.space.unprotected(gfns.start * GRANULE_SIZE, gfns.end * GRANULE_SIZE);
    let Some(range) = range.filter(|_| note(&vm.shared, &gfns)) else {
        return Ok(0);
    };
    let step = super::map_unprotected_granules(
        &vm.rmi(Pause::Never),
        vm.name()?,
        &vm.tables(),
        range,
        pages,
        (MemAttr::Normal, access),
        list,
    );
    let done = step.reached(&range).wrapping_sub(range.base()) / GRANULE_SIZE;
    if done != 0 {
        trace::realm_map(|| vm.rd(), false, &(gfns.start..gfns.start + done));
    }
    // CAST: As many as there are pages, at most.
    Ok(done as usize)
}

/// Where a mapping is to be, and what is to be there.
///
/// # Errors
///
/// `EFAULT` if one of them cannot be.
fn places(vm: &Vm, mapping: &Mapping) -> Result<(IpaRange<Unprotected>, AddrRange)> {
    let range = vm.space.unprotected(mapping.ipa, mapping.ipa + mapping.size);
    let top = PhysAddr::new(mapping.pa + mapping.size);
    let memory = AddrRange::new(PhysAddr::new(mapping.pa), top);
    range.zip(memory).ok_or(EFAULT)
}

/// True if something is mapped there, though not the same, or the tables are not what they were, or
/// an operation has to end first.
fn is_conflict(step: &Step) -> bool {
    matches!(step, Step::Failed(_, error) if may_try_again(error))
}

fn may_try_again(error: &rmi::Error) -> bool {
    error.is_blocked() || error.status() == Some(Status::ErrorRtt)
}

/// The chunks that granules are in.
fn chunks(gfns: &Range<u64>) -> Range<u64> {
    chunk_of(gfns.start)..chunk_of(gfns.end.saturating_sub(1)) + 1
}

/// # Errors
///
/// `EIO` if there is no realm.
fn map_at(
    vm: &Vm,
    mapping: &Mapping,
    range: IpaRange<Unprotected>,
    memory: AddrRange,
    level: RttLevel,
) -> Result<Step> {
    Ok(super::map_unprotected(
        &vm.rmi(Pause::Never),
        vm.name()?,
        &vm.tables(),
        range,
        memory,
        level,
        (MemAttr::Normal, mapping.access),
    ))
}

/// Unmaps what is in the way at `range`, which is `gfns`. False if others keep mapping there.
///
/// The notes stay: under `mmu_lock` for reading others may have mapped something there again.
///
/// # Errors
///
/// What [`errno_or_off`] makes of the RMM's answer.
fn unmap(vm: &Vm, gfns: &Range<u64>, range: IpaRange<Unprotected>) -> Result<bool> {
    let (all, name) = (vm.space.all_unprotected().ok_or(EFAULT)?, vm.name()?);
    let rmi = vm.rmi(Pause::Never);
    let mut left = range;
    for _ in 0..super::COMMANDS {
        left = match super::unmap_unprotected(&rmi, name, &vm.tables(), left, all) {
            Ok(gone) => match left.from(gone.end) {
                Some(rest) => rest,
                None => {
                    trace::realm_unmap(|| vm.rd(), false, gfns, gfns.end - gfns.start);
                    return Ok(true);
                }
            },
            Err(error) if may_try_again(&error) => return Ok(false),
            Err(error) => return Err(errno_or_off(error)),
        };
    }
    Ok(false)
}

/// Makes what [`map`] wanted.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno_or_off`] makes of the RMM's answer.
pub fn make(vm: &Vm, wanted: Wanted) -> Result {
    match wanted {
        Wanted::Table(table) => vm.make_table(table),
        Wanted::Note(mut chunks) => match chunks.all(|chunk| vm.shared.reserve(chunk)) {
            true => Ok(()),
            false => Err(ENOMEM),
        },
    }
}
