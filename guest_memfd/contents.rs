// SPDX-License-Identifier: GPL-2.0

//! Private memory with contents, for populate: what one table maps at a time.
//!
//! Pages of user space are pinned, as many as that, before any lock is taken. Then pages are got from the
//! file for them: in a row where there are none yet, which costs a third of what it does one by one, and
//! one by one elsewhere. The RMM fills each from its source.

use super::{
    map::{lost_track, prepare},
    pages::Pages,
    run, //
};
use crate::{
    realm::{
        block_around,
        chunk_of,
        forget,
        host::errno,
        next_span,
        note,
        smc::Pause,
        vm::Vm,
        State,
        BLOCK,
        CHUNK, //
    },
    rmi::{
        cmd::{
            data::{self, Measure, Pieces},
            realm::RdName, //
        },
        Delegated,
        GranuleRange,
        IpaRange,
        Protected,
        RttLevel,
        GRANULE_SIZE, //
    },
    sys::{
        kvm::{MmuReadLock, Seq},
        memory::{self, Pinned},
        prelude::*,
        sched,
        slots::{Memslot, Slots},
        trace, //
    }, //
};
use core::ops::Range;

/// Granules that are mapped while `mmu_lock` is held once. The RMM copies each, and may measure it: so
/// others are not kept from the lock, nor from the CPU, for long.
const PER_HOLD: u64 = 16;

/// Contents, and how far they have come.
struct Contents<'a> {
    vm: &'a Vm,
    sources: Pinned,
    measure: Measure,
    /// Granules that are done.
    done: usize,
    /// How many pages are got in a row at most.
    most: u64,
}

/// Puts contents into a realm, from the base of `range` to the end of what one table maps at most. Returns
/// how many bytes are done, and why it is not more.
///
/// It may be less without an error: where pages of user space end, or for a signal.
pub(super) fn put(
    vm: &Vm,
    range: IpaRange<Protected>,
    source: u64,
    measure: Measure,
) -> (u64, Result) {
    let start = range.base() / GRANULE_SIZE;
    let end = block_around(start).end.min(range.top() / GRANULE_SIZE);
    // Pages of user space may take for ever to come: nothing is held while they do.
    // CAST: At most as many as a block has.
    let sources = match Pinned::new(source, (end - start) as usize) {
        Ok(sources) => sources,
        Err(error) => return (0, Err(error)),
    };
    let mut contents = Contents {
        vm,
        sources,
        measure,
        done: 0,
        most: BLOCK,
    };
    let result = contents.put(start);
    (contents.done as u64 * GRANULE_SIZE, result)
}

impl Contents<'_> {
    /// Puts all into the realm, unless a signal comes.
    ///
    /// # Errors
    ///
    /// See `uapi/README.md`; `EAGAIN` where there may be another attempt.
    fn put(&mut self, start: u64) -> Result {
        let end = start + self.sources.len() as u64;
        while self.done < self.sources.len() {
            self.put_some(start + self.done as u64..end)?;
            if sched::signal_pending() {
                break;
            }
        }
        Ok(())
    }

    /// Puts the first of `gfns` into the realm, with those that follow: pages in a row, or of one chunk.
    ///
    /// # Errors
    ///
    /// As for [`Self::put`].
    fn put_some(&mut self, gfns: Range<u64>) -> Result {
        let vm = self.vm;
        // The realm stays New while this is held.
        let lifecycle = vm.lifecycle.lock();
        match lifecycle.realm.state() {
            State::New => {}
            state => return Err(too_late(state)),
        }
        let name = vm.name()?;
        let slots = Slots::read(&vm.kvm);
        let seq = vm.kvm.invalidate_seq();
        let slot = slots.find(gfns.start).filter(Memslot::has_gmem);
        let slot = slot.ok_or(EINVAL)?;
        if slot.is_invalid() {
            // As for a fault: see there.
            return Err(EAGAIN);
        }
        let gfns = not_yet(vm, gfns.start..gfns.end.min(slot.gfns().end))?;
        prepare(vm, &gfns, RttLevel::L3)?;
        if let Some(piece) = run::first_piece(&gfns, self.most) {
            if let Some(mut pieces) = run::get(vm, &slot, &piece)? {
                let result = self.map(name, piece.start, &mut pieces, seq);
                vm.put_pieces(&mut pieces);
                return result;
            }
            if piece.end - piece.start > CHUNK {
                // There is no such memory, or something of that is there: fewer may be had.
                self.most = CHUNK;
                return Ok(());
            }
        }
        let chunk = chunk_of(gfns.start);
        let mut pages = Pages::new(chunk);
        for gfn in gfns.start..gfns.end.min((chunk + 1) * CHUNK) {
            pages.get(&slot, gfn)?;
        }
        let mut granules = pages.delegate(vm)?;
        let mut result = Ok(());
        while result.is_ok() {
            let Some((gfns, mut pieces)) = granules.next_run() else {
                break;
            };
            result = self.map(name, gfns.start, &mut pieces, seq);
            vm.put_pieces(&mut pieces);
        }
        granules.put(vm);
        result
    }

    /// Maps delegated pages from granule `gfn` on, each filled from its source.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if memory of the VM was invalidated since `seq`, or what [`errno`] makes of the RMM's
    /// answer. What is not mapped has been given back, or is left in `pieces`.
    fn map(&mut self, name: RdName, mut gfn: u64, pieces: &mut Pieces, seq: Seq) -> Result {
        while let Some(piece) = pieces.pop() {
            let mut rest = Some(piece);
            while let Some(granules) = rest.take() {
                let (some, more) = granules.split(PER_HOLD);
                rest = more;
                let Some(some) = some else { break };
                let next = gfn + some.range().granules();
                if let Err(error) = self.map_some(name, gfn, some, seq) {
                    // What was not tried is no longer in `pieces`.
                    if let Some(left) = rest {
                        self.vm.give_back(left);
                    }
                    return Err(error);
                }
                gfn = next;
                sched::cond_resched();
            }
        }
        Ok(())
    }

    /// Maps as many as one hold of `mmu_lock` is for.
    ///
    /// # Errors
    ///
    /// As for [`Self::map`]; what is not mapped has been given back.
    fn map_some(
        &mut self,
        name: RdName,
        gfn: u64,
        granules: GranuleRange<Delegated>,
        seq: Seq,
    ) -> Result {
        let vm = self.vm;
        let gfns = gfn..gfn + granules.range().granules();
        let lock = MmuReadLock::new(&vm.kvm);
        if lock.invalidated_since(seq, &gfns) {
            drop(lock);
            vm.give_back(granules);
            return Err(EAGAIN);
        }
        let rmi = vm.rmi(Pause::Never);
        note(&vm.pages, &gfns);
        let (mut at, mut left, mut failed) = (gfn, Some(granules), None);
        while let Some(granules) = left.take() {
            let Some(source) = self.sources.pa(self.done) else {
                // There are no more pages than sources.
                left = Some(granules);
                break;
            };
            let (page, more) = granules.split(1);
            left = more;
            let Some(page) = page else { break };
            let (ipa, pa) = (at * GRANULE_SIZE, page.range());
            let mapped = data::map_init(&rmi, name, page, ipa, source, self.measure);
            // As for a fault: what may be mapped is its file's, and stays noted.
            if !matches!(&mapped, Err(failed) if failed.granules.is_some()) {
                memory::leave_to_file(pa);
            }
            if let Err(error) = mapped {
                failed = Some(error);
                break;
            }
            at += 1;
            self.done += 1;
        }
        let error = failed.as_ref().map(|failed| failed.error);
        let unclear = error.filter(|error| !error.changed_nothing());
        // Nobody knows of the one, and of those that follow nothing is mapped.
        forget(&vm.pages, &(at + u64::from(unclear.is_some())..gfns.end));
        drop(lock);
        trace::realm_map(|| vm.rd(), true, &(gfn..at));
        if let Some(error) = unclear {
            lost_track(vm, error);
        }
        let refused = failed.and_then(|failed| failed.granules);
        for pages in refused.into_iter().chain(left) {
            vm.give_back(pages);
        }
        match error {
            None if at == gfns.end => Ok(()),
            None => Err(EFAULT),
            Some(error) if error.is_blocked() => {
                sched::sleep_1ms();
                Err(EAGAIN)
            }
            Some(error) => Err(errno(error)),
        }
    }
}

/// Why a realm that is not New can no longer be populated.
pub(super) fn too_late(state: State) -> Error {
    match state {
        State::Dying | State::Dead => ENXIO,
        State::None | State::New | State::Active => EBUSY,
    }
}

/// The first of `gfns` that can be populated.
///
/// # Errors
///
/// The very first is not private (`EINVAL`), or mapped already (`EEXIST`).
fn not_yet(vm: &Vm, gfns: Range<u64>) -> Result<Range<u64>> {
    let halves = vm.halves();
    if !halves.may_be_private(gfns.start) {
        return Err(EINVAL);
    }
    let mapped = next_span(&vm.pages, &gfns).map_or(gfns.end, |span| span.start);
    if mapped == gfns.start {
        return Err(EEXIST);
    }
    let free = gfns.start..mapped;
    if halves.may_all_be(&free, true) {
        return Ok(free);
    }
    let shared = free.clone().find(|gfn| !halves.may_be_private(*gfn));
    Ok(free.start..shared.unwrap_or(free.end))
}
