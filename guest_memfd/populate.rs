// SPDX-License-Identifier: GPL-2.0

//! `KVM_ARM_RMI_POPULATE`: what a realm begins with.

use super::contents::{self, too_late};
use crate::{
    realm::{
        create,
        vm::Vm,
        State, //
    },
    rmi::{cmd::data::Measure, GRANULE_SIZE},
    sys::{
        prelude::*,
        sched,
        slots::{Memslot, Slots}, //
    },
    uapi::{KvmArmRmiPopulate, KVM_ARM_RMI_POPULATE_FLAGS_MEASURE}, //
};

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
        let (done, result) = contents::put(vm, range, args.source_uaddr, measure);
        args.base += done;
        args.source_uaddr += done;
        args.size -= done;
        match result {
            Ok(()) => {}
            // Memory was invalidated meanwhile, which need not have been any of this, or is right now: who
            // does that needs the CPU more.
            Err(error) if error == EAGAIN && !vm.is_dead() => sched::wait_a_little(),
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
