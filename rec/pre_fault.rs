// SPDX-License-Identifier: GPL-2.0

//! Private memory that a realm has before it asks for it (`KVM_PRE_FAULT_MEMORY`).

use super::{rec_vcpu::RecVcpu, vm::RealmVm};
use crate::{
    guest_memfd::{self, Faulted},
    realm::{block_around, first_missing, State, BLOCK, CHUNK},
    rmi::GRANULE_SIZE,
    sys::{prelude::*, sched, vcpu::Held}, //
};
use core::ops::Range;

/// Attempts to map while memory of the VM is being unmapped.
const TRIES: u32 = 100;

/// Maps private memory of `ipas`, from its start to the end of a chunk at most, or of a block where all of
/// one is asked for, as if the realm had touched it there. Returns how many bytes it has. They may be
/// unmapped again at once, as after any fault.
///
/// # Errors
///
/// `EOPNOTSUPP` for a realm that is not active, `ENOENT` if the first page is not private memory of a
/// slot, `EINTR`, `EAGAIN` if others keep unmapping memory, `ENXIO` if the RMM refuses; and as for
/// [`guest_memfd::fault`].
pub fn pre_fault(vm: &RealmVm, vcpu: &mut Held<'_, RecVcpu>, ipas: &Range<u64>) -> Result<u64> {
    let rec = vcpu.split().1.as_mut().ok_or(EOPNOTSUPP)?;
    match vm.lifecycle.lock().realm.state() {
        State::Active => {}
        State::None | State::New => return Err(EOPNOTSUPP),
        State::Dying | State::Dead => return Err(ENXIO),
    }
    let gfns = ipas.start / GRANULE_SIZE..ipas.end / GRANULE_SIZE;
    let block = block_around(gfns.start);
    let all = vm.wide && block.start == gfns.start && block.end <= gfns.end;
    let around = if all { BLOCK } else { CHUNK };
    let wanted = gfns.start..gfns.end.min((gfns.start / around + 1) * around);
    for tries in 0..TRIES {
        match guest_memfd::fault(vm, gfns.start, around, tries != 0, &mut rec.list) {
            Ok(Faulted::Again) => {}
            Ok(Faulted::NotPrivate) => return Err(ENOENT),
            Ok(Faulted::Lost) => return Err(EHWPOISON),
            // KVM would warn of it.
            Err(error) if error == EIO => return Err(ENXIO),
            Err(error) => return Err(error),
        }
        match first_missing(&vm.pages, &wanted) - wanted.start {
            0 if sched::signal_pending() => return Err(EINTR),
            0 => sched::wait_a_little(),
            granules => return Ok(granules * GRANULE_SIZE),
        }
    }
    Err(EAGAIN)
}
