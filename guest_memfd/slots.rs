// SPDX-License-Identifier: GPL-2.0

//! Which memory slots a realm may have.

use crate::{
    realm::vm::Vm,
    rmi::GRANULE_SIZE,
    sys::{prelude::*, slots::NewSlot}, //
};

/// Whether a realm may have such a slot.
///
/// # Errors
///
/// `EINVAL` for what a realm cannot have, `EFAULT` beyond the lower half of its IPA space: the upper
/// half is the lower one as the host sees it.
pub fn check(vm: &Vm, slot: &NewSlot) -> Result {
    // What KVM cannot keep up, since the realm world is told what may be written; and a file that user
    // space can map, in which nothing can be private.
    if slot.read_only || slot.gmem_only {
        return Err(EINVAL);
    }
    let half = vm.space.unprotected_bit() / GRANULE_SIZE;
    match slot.first.checked_add(slot.granules) {
        Some(top) if top <= half => Ok(()),
        _ => Err(EFAULT),
    }
}
