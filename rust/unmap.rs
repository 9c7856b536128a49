// SPDX-License-Identifier: GPL-2.0

//! Taking memory out of a realm.
//!
//! This cannot fail: user space, the guest_memfd file or the kernel's memory management take the
//! memory away as soon as it returns. If the RMM does not do what it is told, the realm is killed,
//! and what it has of private memory is kept from everybody else.

use crate::{
    exit::Half,
    guest_memfd::{count, forget, next_span},
    memory,
    mmu::{self, Step},
    rmi::{Delegated, GranuleRange, RttLevel, GRANULE_SIZE},
    smccc::Pause,
    trace,
    views::MmuWriteLock,
    vm::{report, Vm}, //
};
use core::{cell::RefCell, ops::Range};
use kernel::prelude::fmt;

/// Bytes that shared memory is mapped in where they follow each other.
pub(crate) const BLOCK: u64 = RttLevel::L2.block_size();

/// Unmaps private granules and gives their pages back.
///
/// It pauses between tables only: the page for lists is shared by all who unmap, and so is the lock
/// that guards it. The caller keeps faults away from the range.
///
/// # Safety
///
/// `mmu_lock` is held for writing.
pub(crate) unsafe fn private(vm: &Vm, gfns: Range<u64>, pause: Pause) {
    let Ok(name) = vm.name() else { return };
    let rmi = vm.rmi(Pause::Never);
    let pending = RefCell::new(Pending::new(vm));
    let mut from = gfns.start;
    while let Some(span) = next_span(&vm.pages, &(from..gfns.end)) {
        from = span.end;
        let range = vm
            .space
            .protected(span.start * GRANULE_SIZE, span.end * GRANULE_SIZE);
        let Some(range) = range else { continue };
        let each = |granules| pending.borrow_mut().add(granules);
        // SAFETY: By the contract of this function nobody else has it, until this pauses.
        let list = unsafe { vm.unmap_list.get() };
        let step = mmu::unmap_protected(&rmi, name, &vm.tables(), range, list, each);
        trace::realm_unmap(vm, Half::Protected, &span, || count(&vm.pages, &span));
        forget(&vm.pages, &span);
        match step {
            Step::Done => {}
            Step::Failed(_, error) => {
                report(error);
                vm.kill(fmt!("it cannot be parted from its memory: {error}"));
            }
            // Nothing of a realm's private memory is mapped in blocks.
            Step::Until(_) | Step::NeedTable(..) => {
                vm.kill(fmt!("its memory is mapped in blocks"));
            }
        }
        vm.rmi(pause).pause();
    }
}

/// Pieces of memory that wait for those that are next to them: all that are become one.
struct Pending<'a> {
    vm: &'a Vm,
    pieces: [Option<GranuleRange<Delegated>>; WAITING],
    /// The piece that has waited longest.
    oldest: usize,
}

/// Pieces that wait.
const WAITING: usize = 16;

impl<'a> Pending<'a> {
    fn new(vm: &'a Vm) -> Self {
        Self {
            vm,
            pieces: [const { None }; WAITING],
            oldest: 0,
        }
    }

    /// Adds a piece. If too many wait, the one that has waited longest is given back.
    fn add(&mut self, granules: GranuleRange<Delegated>) {
        let mut piece = granules;
        for waiting in &mut self.pieces {
            let Some(before) = waiting.take() else {
                continue;
            };
            match before.merge(piece) {
                Ok(merged) => piece = merged,
                Err((before, other)) => {
                    *waiting = Some(before);
                    piece = other;
                }
            }
        }
        if let Some(free) = self.pieces.iter_mut().find(|waiting| waiting.is_none()) {
            *free = Some(piece);
            return;
        }
        let longest = self.pieces[self.oldest].replace(piece);
        self.oldest = (self.oldest + 1) % WAITING;
        longest.into_iter().for_each(|piece| self.give_back(piece));
    }

    fn give_back(&self, piece: GranuleRange<Delegated>) {
        self.vm.undelegate(piece, Pause::Never, memory::put);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        for n in 0..WAITING {
            let piece = self.pieces[n].take();
            piece.into_iter().for_each(|piece| self.give_back(piece));
        }
    }
}

/// Unmaps shared granules.
///
/// The caller keeps faults away from the range.
///
/// # Safety
///
/// `mmu_lock` is held for writing.
pub(crate) unsafe fn shared(vm: &Vm, gfns: Range<u64>, pause: Pause) {
    let Ok(name) = vm.name() else { return };
    let Some(all) = vm.space.all_unprotected() else {
        return;
    };
    let rmi = vm.rmi(pause);
    let mut from = gfns.start;
    while let Some(span) = next_shared_span(vm, from..gfns.end) {
        from = span.end;
        let range = vm
            .space
            .unprotected(span.start * GRANULE_SIZE, span.end * GRANULE_SIZE);
        let Some(range) = range else { continue };
        // A block goes as a whole.
        let around = blocks_around(vm, &span);
        trace::realm_unmap(vm, Half::Unprotected, &around, || {
            count(&vm.shared, &around)
        });
        forget(&vm.shared, &around);
        match mmu::unmap_unprotected(&rmi, name, &vm.tables(), range, all) {
            Step::Done => {}
            Step::Failed(_, error) => {
                vm.kill(fmt!("it cannot be parted from shared memory: {error}"));
            }
            Step::Until(_) | Step::NeedTable(..) => {
                vm.kill(fmt!("shared memory is mapped in blocks that cannot go"));
            }
        }
    }
}

/// The next shared granules that follow each other and are mapped, or have others between them that
/// are not, in as many tables as that may be.
fn next_shared_span(vm: &Vm, gfns: Range<u64>) -> Option<Range<u64>> {
    let mut span = next_span(&vm.shared, &gfns)?;
    while let Some(next) = next_span(&vm.shared, &(span.end..gfns.end)) {
        if next.start != span.end {
            break;
        }
        span.end = next.end;
    }
    Some(span)
}

/// The granules of `span`, and those of the blocks that it begins and ends in.
fn blocks_around(vm: &Vm, span: &Range<u64>) -> Range<u64> {
    let per_block = BLOCK / GRANULE_SIZE;
    let bit = vm.space.unprotected_bit();
    let is_block = |gfn: u64| vm.tables().depth((gfn * GRANULE_SIZE) | bit) < RttLevel::L3;
    let start = match is_block(span.start) {
        true => span.start & !(per_block - 1),
        false => span.start,
    };
    let end = match is_block(span.end - 1) {
        true => span.end.next_multiple_of(per_block),
        false => span.end,
    };
    start..end
}

/// Unmaps everything that is private, and on demand what is shared, of a VM that no task runs any
/// more. Files of guest_memfd may still be at work on it.
pub(crate) fn all(vm: &Vm, shared_too: bool) {
    let top = vm.space.unprotected_bit() / GRANULE_SIZE;
    let _lock = MmuWriteLock::new(vm.kvm);
    let pause = Pause::DropMmuLock(vm.kvm);
    // SAFETY: The lock is held.
    unsafe {
        private(vm, 0..top, pause);
        if shared_too {
            shared(vm, 0..top, pause);
        }
    }
}
