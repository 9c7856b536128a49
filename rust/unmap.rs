// SPDX-License-Identifier: GPL-2.0

//! Taking memory out of a realm.
//!
//! This cannot fail: user space, the guest_memfd file or the kernel's memory management take the
//! memory away as soon as it returns. If the RMM does not do what it is told, the realm is killed,
//! and what it has of private memory is kept from everybody else.

use crate::{
    guest_memfd::{forget, next_span},
    memory,
    mmu::{self, Step},
    rmi::{Delegated, GranuleRange, RttLevel, GRANULE_SIZE},
    smccc::Pause,
    vm::{report, Vm}, //
};
use core::{cell::Cell, ops::Range};
use kernel::pr_err_once;

/// Bytes that are noted as one in [`Vm::shared`].
pub(crate) const BLOCK: u64 = RttLevel::L2.block_size();

/// Unmaps private granules and gives their pages back.
///
/// It pauses between tables only: the page for lists is shared by all who unmap, and so is the lock
/// that guards it. The caller keeps faults away from the range.
///
/// # Safety
///
/// `mmu_lock` is held for writing, or nobody else does anything with the VM's memory.
pub(crate) unsafe fn private(vm: &Vm, gfns: Range<u64>, pause: Pause) {
    let Ok(name) = vm.name() else { return };
    let rmi = vm.rmi(Pause::Never);
    // Pieces that follow each other in memory as well are given back as one.
    let pending: Cell<Option<GranuleRange<Delegated>>> = Cell::new(None);
    let give_back = |granules| vm.undelegate(granules, Pause::Never, memory::put);
    let mut from = gfns.start;
    while let Some(span) = next_span(&vm.pages, &(from..gfns.end)) {
        from = span.end;
        let range = vm
            .space
            .protected(span.start * GRANULE_SIZE, span.end * GRANULE_SIZE);
        let Some(range) = range else { continue };
        let each = |granules| {
            let joined = match pending.take() {
                Some(before) => GranuleRange::join(before, granules),
                None => Ok(granules),
            };
            match joined {
                Ok(joined) => pending.set(Some(joined)),
                Err((before, granules)) => {
                    give_back(before);
                    pending.set(Some(granules));
                }
            }
        };
        // SAFETY: By the contract of this function nobody else has it, until this pauses.
        let list = unsafe { vm.unmap_list.get() };
        let step = mmu::unmap_protected(&rmi, name, &vm.tables(), range, list, each);
        forget(&vm.pages, &span);
        match step {
            Step::Done => {}
            Step::Failed(_, error) => {
                report(error);
                vm.kill();
            }
            // Nothing of a realm's private memory is mapped in blocks.
            Step::Until(_) | Step::NeedTable(..) => vm.kill(),
        }
        vm.rmi(pause).pause();
    }
    pending.take().into_iter().for_each(give_back);
}

/// Unmaps shared granules.
///
/// The caller keeps faults away from the range.
pub(crate) fn shared(vm: &Vm, gfns: Range<u64>, pause: Pause) {
    let Ok(name) = vm.name() else { return };
    let Some(all) = vm.space.all_unprotected() else {
        return;
    };
    let (start, end) = (gfns.start * GRANULE_SIZE, gfns.end * GRANULE_SIZE);
    let rmi = vm.rmi(pause);
    let mut at = start / BLOCK;
    while let Some(blocks) = next_blocks(vm, at, end) {
        at = blocks.end;
        let range = vm
            .space
            .unprotected(start.max(blocks.start * BLOCK), end.min(blocks.end * BLOCK));
        let Some(range) = range else { continue };
        match mmu::unmap_unprotected(&rmi, name, &vm.tables(), range, all) {
            Step::Done => {}
            Step::Failed(_, error) => {
                pr_err_once!("a realm cannot be parted from shared memory: {}\n", error);
                vm.kill();
            }
            Step::Until(_) | Step::NeedTable(..) => vm.kill(),
        }
        for block in blocks {
            if start <= block * BLOCK && (block + 1) * BLOCK <= end {
                vm.shared.set(block, 0);
            }
        }
    }
}

/// The next blocks, one after the other, where something may be mapped below `end`.
fn next_blocks(vm: &Vm, from: u64, end: u64) -> Option<Range<u64>> {
    let last = end.div_ceil(BLOCK).checked_sub(1)?;
    if from > last {
        return None;
    }
    let (first, _) = vm.shared.next(from, last)?;
    let mut top = first + 1;
    while top <= last && vm.shared.get(top).is_some_and(|word| word != 0) {
        top += 1;
    }
    Some(first..top)
}

/// Unmaps everything that is private, and on demand what is shared.
///
/// # Safety
///
/// Nobody else does anything with the VM's memory.
pub(crate) unsafe fn all(vm: &Vm, shared_too: bool) {
    let top = vm.space.unprotected_bit() / GRANULE_SIZE;
    // SAFETY: By the contract of this function.
    unsafe { private(vm, 0..top, Pause::Resched) };
    if shared_too {
        shared(vm, 0..top, Pause::Resched);
    }
}
