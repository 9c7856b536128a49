// SPDX-License-Identifier: GPL-2.0

//! Mapping memory of the host that a realm shares. KVM finds the memory, as for any VM; what is here
//! replaces its page tables.

use crate::{
    exit::Half,
    guest_memfd::{chunk_of, count, next_span, PageSet},
    host::errno_or_off,
    mmu::{self, MissingTable, Step},
    rmi::{
        cmd::data::{Access, MemAttr},
        AddrRange,
        Error,
        IpaRange,
        PhysAddr,
        RttLevel,
        Status,
        Unprotected,
        GRANULE_SIZE, //
    },
    smccc::Pause,
    trace,
    unmap::BLOCK,
    vm::Vm, //
};
use core::ops::Range;
use kernel::prelude::*;

/// What has to be made, where one may sleep, before something can be mapped.
#[derive(Clone)]
pub(crate) enum Wanted {
    /// A table.
    Table(MissingTable),
    /// Room to note what is mapped of these chunks.
    Note(Range<u64>),
}

/// Memory that is to be mapped.
pub(crate) struct Mapping {
    /// Where: an IPA without the bit that tells the halves apart.
    pub(crate) ipa: u64,
    /// The memory.
    pub(crate) pa: u64,
    /// Bytes, to which both are aligned.
    pub(crate) size: u64,
    /// The realm may write.
    pub(crate) access: Access,
    /// The realm has tried something that what is mapped does not allow.
    pub(crate) replaces: bool,
}

impl Mapping {
    /// The block around `ipa`, of a mapping that is larger than that.
    pub(crate) fn around(self, ipa: u64) -> Self {
        if self.size <= BLOCK {
            return self;
        }
        self.part(ipa, BLOCK)
    }

    /// The granule around `ipa`, which is in the mapping.
    pub(crate) fn granule(self, ipa: u64) -> Self {
        self.part(ipa, GRANULE_SIZE)
    }

    /// The `size` bytes around `ipa`, aligned to that.
    fn part(self, ipa: u64, size: u64) -> Self {
        let offset = (ipa & (self.size - 1)) & !(size - 1);
        Self {
            ipa: self.ipa + offset,
            pa: self.pa + offset,
            size,
            ..self
        }
    }
}

/// Maps memory, under `mmu_lock` for reading. It is mapped as a block if it is one, unless there are
/// smaller pages in its place already.
///
/// # Errors
///
/// `Ok(Some(_))` if something has to be made first: nothing is mapped. `EFAULT` if the IPA or the
/// memory cannot be, or what [`errno_or_off`] makes of the RMM's answer.
pub(crate) fn map(vm: &Vm, mapping: &Mapping) -> Result<Option<Wanted>> {
    let gfns = mapping.ipa / GRANULE_SIZE..(mapping.ipa + mapping.size) / GRANULE_SIZE;
    let range = vm
        .space
        .unprotected(mapping.ipa, mapping.ipa + mapping.size)
        .ok_or(EFAULT)?;
    let memory = AddrRange::new(
        PhysAddr::new(mapping.pa),
        PhysAddr::new(mapping.pa + mapping.size),
    )
    .ok_or(EFAULT)?;
    if chunks(&gfns).any(|chunk| !vm.shared.has_room(chunk)) {
        return Ok(Some(Wanted::Note(chunks(&gfns))));
    }
    if mapping.replaces && next_span(&vm.shared, &gfns).is_some() {
        unmap(vm, &gfns, range)?;
    }
    let level = match mapping.size {
        BLOCK.. if vm.tables().depth(range.base()) < RttLevel::L3 => RttLevel::L2,
        _ => RttLevel::L3,
    };
    let mut step = map_at(vm, mapping, range, memory, level)?;
    if let Step::Failed(_, Error::Refused(_, code)) = step {
        if code.status() == Status::ErrorRtt {
            // Another vCPU has mapped something there meanwhile, though not the same.
            unmap(vm, &gfns, range)?;
            step = map_at(vm, mapping, range, memory, level)?;
        }
    }
    match step {
        Step::NeedTable(_, table) => Ok(Some(Wanted::Table(table))),
        Step::Failed(_, error) => Err(errno_or_off(error)),
        Step::Done | Step::Until(_) => {
            note(vm, &gfns);
            Ok(None)
        }
    }
}

/// The chunks that granules are in.
fn chunks(gfns: &Range<u64>) -> Range<u64> {
    chunk_of(gfns.start)..chunk_of(gfns.end.saturating_sub(1)) + 1
}

/// Notes granules as mapped.
fn note(vm: &Vm, gfns: &Range<u64>) {
    vm.shared.add(gfns);
    trace::realm_map(vm, Half::Unprotected, gfns);
}

fn map_at(
    vm: &Vm,
    mapping: &Mapping,
    range: IpaRange<Unprotected>,
    memory: AddrRange,
    level: RttLevel,
) -> Result<Step> {
    Ok(mmu::map_unprotected(
        &vm.rmi(Pause::Never),
        vm.name()?,
        &vm.tables(),
        range,
        memory,
        level,
        (MemAttr::Normal, mapping.access),
    ))
}

/// Unmaps what is in the way at `range`, which is `gfns`.
///
/// # Errors
///
/// What [`errno_or_off`] makes of the RMM's answer.
fn unmap(vm: &Vm, gfns: &Range<u64>, range: IpaRange<Unprotected>) -> Result {
    let all = vm.space.all_unprotected().ok_or(EFAULT)?;
    let rmi = vm.rmi(Pause::Never);
    match mmu::unmap_unprotected(&rmi, vm.name()?, &vm.tables(), range, all) {
        Step::Failed(_, error) => Err(errno_or_off(error)),
        _ => {
            trace::realm_unmap(vm, Half::Unprotected, gfns, || count(&vm.shared, gfns));
            Ok(())
        }
    }
}

/// Makes what [`map`] wanted.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno_or_off`] makes of the RMM's answer.
pub(crate) fn make(vm: &Vm, wanted: Wanted) -> Result {
    match wanted {
        Wanted::Table(table) => vm.make_table(table),
        Wanted::Note(mut chunks) => match chunks.all(|chunk| vm.shared.reserve(chunk)) {
            true => Ok(()),
            false => Err(ENOMEM),
        },
    }
}
