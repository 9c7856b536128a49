// SPDX-License-Identifier: GPL-2.0

//! Which memory slots a realm may have.

use crate::{rmi::GRANULE_SIZE, vm::Vm};
use kernel::{
    bindings,
    prelude::*, //
};

/// What cannot be kept up without seeing what the realm does.
const REFUSED: u32 = bindings::KVM_MEM_LOG_DIRTY_PAGES | bindings::KVM_MEM_READONLY;

/// Set by KVM for files of guest_memfd that user space can map: what is private cannot be there.
const GMEM_ONLY: u32 = bindings::KVM_MEMSLOT_GMEM_ONLY;

/// # Errors
///
/// `EINVAL` for what a realm cannot have, `EFAULT` beyond the lower half of its IPA space: the upper
/// half is the lower one as the host sees it.
pub(crate) fn check(vm: &Vm, slot: &bindings::kvm_memory_slot) -> Result {
    if slot.flags & (REFUSED | GMEM_ONLY) != 0 {
        return Err(EINVAL);
    }
    let half = vm.space.unprotected_bit() / GRANULE_SIZE;
    match slot.base_gfn.checked_add(slot.npages as u64) {
        Some(top) if top <= half => Ok(()),
        _ => Err(EFAULT),
    }
}
