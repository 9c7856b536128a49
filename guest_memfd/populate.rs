// SPDX-License-Identifier: GPL-2.0

//! `KVM_ARM_RMI_POPULATE`: what a realm begins with.

use super::{
    map::{lost_track, prepare},
    pages::Pages, //
};
use crate::{
    realm::{
        chunk_of,
        create,
        forget,
        host::errno,
        note,
        smc::Pause,
        vm::Vm,
        Bits,
        State,
        CHUNK, //
    },
    rmi::{
        cmd::data::{self, Measure},
        Delegated,
        GranuleRange,
        IpaRange,
        PhysAddr,
        Protected,
        RttLevel,
        GRANULE_SIZE, //
    },
    sys::{
        kvm::{MmuReadLock, Seq},
        memory::Pinned,
        prelude::*,
        sched,
        slots::{Memslot, Slots},
        trace, //
    },
    uapi::{KvmArmRmiPopulate, KVM_ARM_RMI_POPULATE_FLAGS_MEASURE}, //
};
use core::ops::Range;

/// Fills private memory. `args` is brought up to date as it goes.
///
/// # Errors
///
/// See `uapi/README.md`.
pub fn populate(vm: &Vm, args: &mut KvmArmRmiPopulate) -> Result {
    let measure = match args.flags {
        0 => Measure::Location,
        KVM_ARM_RMI_POPULATE_FLAGS_MEASURE => Measure::Contents,
        _ => return Err(EINVAL),
    };
    if args.reserved != 0 {
        return Err(EINVAL);
    }
    if args.size == 0 {
        return begin(vm);
    }
    let top = args.base.checked_add(args.size).ok_or(EINVAL)?;
    let mut range = vm.space.protected(args.base, top).ok_or(EINVAL)?;
    let source_top = args.source_uaddr.checked_add(args.size);
    let aligned = args.source_uaddr & (GRANULE_SIZE - 1) == 0;
    if args.source_uaddr == 0 || !aligned || source_top.is_none() {
        return Err(EINVAL);
    }
    check_first(vm, args.base / GRANULE_SIZE)?;
    begin(vm)?;
    let whole = args.size;
    loop {
        if sched::signal_pending() {
            // Who looks at errors only is not to take what was done for a failure.
            return match args.size < whole {
                true => Ok(()),
                false => Err(EINTR),
            };
        }
        let (done, result) = chunk(vm, range, args.source_uaddr, measure);
        args.base += done;
        args.source_uaddr += done;
        args.size -= done;
        match result {
            Ok(()) => {}
            // Memory was invalidated meanwhile, which need not have been any of this.
            Err(error) if error == EAGAIN && !vm.is_dead() => {}
            // The RMM has kept a page, which is not to be delegated again.
            Err(error) if error == EAGAIN => return Err(EIO),
            Err(error) => return Err(error),
        }
        match range.from(args.base) {
            Some(rest) => range = rest,
            None => return Ok(()),
        }
    }
}

/// Looks at the first granule, so that a request that cannot be met makes no realm.
///
/// # Errors
///
/// `EINVAL` if it is not private, or in no slot that has private memory.
fn check_first(vm: &Vm, gfn: u64) -> Result {
    let slots = Slots::read(&vm.kvm);
    let slot = slots.find(gfn).filter(Memslot::has_gmem);
    match slot.is_some() && vm.halves().may_be_private(gfn) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// Makes sure that there is a realm that can be populated.
///
/// # Errors
///
/// `EBUSY` if it is too late, `ENXIO` if there is no realm any more, and what creating it says.
fn begin(vm: &Vm) -> Result {
    let mut lifecycle = vm.lifecycle.lock();
    match lifecycle.realm.state() {
        State::None => create::create(vm, &mut lifecycle),
        State::New => Ok(()),
        state => Err(too_late(state)),
    }
}

/// Why a realm that is not New can no longer be populated.
fn too_late(state: State) -> Error {
    match state {
        State::Dying | State::Dead => ENXIO,
        State::None | State::New | State::Active => EBUSY,
    }
}

/// Populates from the base of `range` to the end of a chunk at most. Returns how many bytes are done,
/// and why it is not more.
fn chunk(vm: &Vm, range: IpaRange<Protected>, source: u64, measure: Measure) -> (u64, Result) {
    let mut done = 0;
    let result = try_chunk(vm, range, source, measure, &mut done);
    (done * GRANULE_SIZE, result)
}

/// As [`chunk`]; counts granules in `done`.
///
/// # Errors
///
/// See `uapi/README.md`.
fn try_chunk(
    vm: &Vm,
    range: IpaRange<Protected>,
    source: u64,
    measure: Measure,
    done: &mut u64,
) -> Result {
    // Pages of user space may take for ever to come: nothing is held while they do.
    let sources = Pinned::new(source, left_of_chunk(&range))?;
    // The realm stays New while this is held.
    let lifecycle = vm.lifecycle.lock();
    match lifecycle.realm.state() {
        State::New => {}
        state => return Err(too_late(state)),
    }
    let slots = Slots::read(&vm.kvm);
    let seq = vm.kvm.invalidate_seq();
    let start = range.base() / GRANULE_SIZE;
    let slot = slots.find(start).filter(Memslot::has_gmem).ok_or(EINVAL)?;
    if slot.is_invalid() {
        // As for a fault: see there.
        return Err(EAGAIN);
    }
    let chunk = chunk_of(start);
    let top = start + sources.len() as u64;
    let gfns = not_yet(vm, chunk, start..top.min(slot.gfns().end))?;

    let mut pages = Pages::new(chunk);
    let mut result = prepare(vm, &gfns, RttLevel::L3);
    for gfn in gfns.clone() {
        result = result.and_then(|()| pages.get(&slot, gfn));
    }
    result?;
    let mut granules = pages.delegate(vm)?;
    while result.is_ok() {
        let Some((gfns, mut pieces)) = granules.next_run() else {
            break;
        };
        result = map(vm, gfns, &mut pieces, &sources, seq, measure, done);
        vm.put_pieces(&mut pieces);
    }
    granules.put(vm);
    result
}

/// Granules from the base of `range` on that are in one chunk with it.
fn left_of_chunk(range: &IpaRange<Protected>) -> usize {
    let (start, top) = (range.base() / GRANULE_SIZE, range.top() / GRANULE_SIZE);
    // CAST: At most as many as a chunk has.
    (top.min((chunk_of(start) + 1) * CHUNK) - start) as usize
}

/// The first of `gfns` that can be populated.
///
/// # Errors
///
/// The very first is not private (`EINVAL`), or mapped already (`EEXIST`).
fn not_yet(vm: &Vm, chunk: u64, gfns: Range<u64>) -> Result<Range<u64>> {
    let (mapped, halves) = (vm.pages.get(chunk), vm.halves());
    let refusal = |gfn: u64| {
        let this = Bits::of(chunk, &(gfn..gfn + 1));
        match () {
            () if !halves.may_be_private(gfn) => Some(EINVAL),
            () if !mapped.and(this).is_empty() => Some(EEXIST),
            () => None,
        }
    };
    if let Some(error) = refusal(gfns.start) {
        return Err(error);
    }
    let end = gfns.clone().find(|gfn| refusal(*gfn).is_some());
    Ok(gfns.start..end.unwrap_or(gfns.end))
}

/// Maps delegated pages of one chunk, each filled from its source.
///
/// # Errors
///
/// `EAGAIN` if memory of the VM was invalidated since `seq`, or what [`errno`] makes of the RMM's
/// answer. What is not mapped is left in `pieces`.
fn map(
    vm: &Vm,
    gfns: Range<u64>,
    pieces: &mut data::Pieces,
    sources: &Pinned,
    seq: Seq,
    measure: Measure,
    done: &mut u64,
) -> Result {
    let mut gfn = gfns.start;
    while let Some(piece) = pieces.pop() {
        let mut rest = Some(piece);
        while let Some(granules) = rest.take() {
            let (page, more) = granules.split(1);
            rest = more;
            let Some(page) = page else { break };
            let mapped = match sources.pa(*done as usize) {
                Some(source) => map_one(vm, gfn, page, source, seq, measure),
                // There are no more pages than sources.
                None => {
                    vm.give_back(page);
                    Err(EFAULT)
                }
            };
            if let Err(error) = mapped {
                // What was not tried is no longer in `pieces`.
                rest.into_iter().for_each(|left| vm.give_back(left));
                return Err(error);
            }
            gfn += 1;
            *done += 1;
        }
        sched::cond_resched();
    }
    Ok(())
}

/// Maps one page.
///
/// # Errors
///
/// As for [`map`]; the page has been given back.
fn map_one(
    vm: &Vm,
    gfn: u64,
    page: GranuleRange<Delegated>,
    source: PhysAddr,
    seq: Seq,
    measure: Measure,
) -> Result {
    let name = vm.name()?;
    let lock = MmuReadLock::new(&vm.kvm);
    if lock.invalidated_since(seq, &(gfn..gfn + 1)) {
        drop(lock);
        vm.give_back(page);
        return Err(EAGAIN);
    }
    let (rmi, this) = (vm.rmi(Pause::Never), gfn..gfn + 1);
    note(&vm.pages, &this);
    let result = data::map_init(&rmi, name, page, gfn * GRANULE_SIZE, source, measure);
    let Err(failed) = result else {
        trace::realm_map(|| vm.rd(), true, &this);
        return Ok(());
    };
    let unclear = !failed.error.changed_nothing();
    if !unclear {
        forget(&vm.pages, &this);
    }
    drop(lock);
    if unclear {
        lost_track(vm, failed.error);
    }
    failed
        .granules
        .into_iter()
        .for_each(|page| vm.give_back(page));
    if failed.error.is_blocked() {
        sched::sleep_1ms();
        return Err(EAGAIN);
    }
    Err(errno(failed.error))
}
