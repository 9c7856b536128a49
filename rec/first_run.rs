// SPDX-License-Identifier: GPL-2.0

//! From a VM to a realm that runs: the RECs, its memory's first RIPAS, activation.

use super::{
    rec_vcpu::RecVcpu,
    vm::RealmVm, //
};
use crate::{
    mmu::{self, Step},
    realm::{
        create::{self, refusal},
        first_missing,
        host::errno,
        next_span,
        smc::Pause,
        vm::{Lifecycle, Vm},
        Shape,
        State, //
    },
    rmi::{
        cmd::realm::RdName,
        IpaRange,
        Protected,
        GRANULE_SIZE, //
    },
    sys::{
        all_vcpus::AllVcpus,
        prelude::*,
        sched,
        slots::SlotsLock,
        vcpu::{Held, Locked}, //
    }, //
};
use core::ops::Range;

/// A vCPU is about to run: the realm is made what it takes to be Active. May be repeated when it has
/// failed.
///
/// That takes all vCPUs, locked: what they begin with becomes the RECs'. One that another task has
/// locked is not waited for, since that task may be waiting itself, for user space or for a lock
/// that is held here: everything is given up, and tried again later, until a signal comes. But those
/// whose tasks are in here as well lend theirs.
///
/// # Errors
///
/// See `uapi/README.md`.
pub fn activate(vm: &RealmVm, me: &mut Held<'_, RecVcpu>) -> Result {
    vm.waiting.lend(me, || {
        while !try_activate(vm)? {
            if sched::signal_pending() {
                return Err(EINTR);
            }
            sched::wait_a_little();
        }
        Ok(())
    })?;
    // One that was added when it was too late has none.
    me.split().0.rec().map(drop).ok_or(EIO)
}

/// False if others are at work on vCPUs.
///
/// # Errors
///
/// See `uapi/README.md`.
fn try_activate(vm: &RealmVm) -> Result<bool> {
    match vm.lifecycle.lock().realm.state() {
        State::Active => return Ok(true),
        State::Dying | State::Dead => return Err(EIO),
        State::None | State::New => {}
    }
    let slots = SlotsLock::new(&vm.kvm)?;
    let Some(mut vcpus) = vm.waiting.lock_all(&slots)? else {
        return Ok(false);
    };
    let mut lifecycle = vm.lifecycle.lock();
    if !matches!(lifecycle.realm.state(), State::None | State::New) {
        return Ok(false);
    }
    check_vcpus(vm, &lifecycle, &mut vcpus)?;
    if let State::None = lifecycle.realm.state() {
        create::create(vm, &mut lifecycle)?;
    }
    let name = vm.name()?;
    // What can fail for want of memory comes before what cannot be taken back.
    vcpus.each(|_, ours| prepare(vm, ours))?;
    vcpus.each(|vcpu, ours| {
        let ours = ours.as_mut().ok_or(EINVAL)?;
        ours.make_rec(vm, &mut lifecycle.list, name, vcpu)
    })?;
    slots.for_each_gmem(|gfns| init_ripas(vm, name, gfns))?;
    let rmi = vm.rmi(Pause::Resched);
    let activated = lifecycle.realm.activate(&rmi);
    activated.map(|()| true).map_err(|refused| {
        vm.log_death(fmt!("it cannot be activated: {refused}"));
        refusal(refused)
    })
}

/// Looks at every vCPU before anything is made.
///
/// Their numbers have to count from 0, since KVM makes MPIDRs of them, and the RMM takes a REC only
/// if its MPIDR is the next.
///
/// # Errors
///
/// `ENOEXEC` for one that is not initialised, `EPERM` for SVE that is not finalised, `EINVAL` for one
/// without PSCI 0.2 or with another vector length, for numbers that do not count from 0, and if the
/// realm was made with anything else than they have.
fn check_vcpus(
    vm: &Vm,
    lifecycle: &Lifecycle,
    vcpus: &mut AllVcpus<'_, RecVcpu>,
) -> Result {
    let shape = Shape::of(&vm.kvm, &vm.host.negotiated.features)?;
    let mut id = 0;
    vcpus.each(|vcpu, _| {
        if vcpu.id() != id {
            return Err(EINVAL);
        }
        id += 1;
        check_vcpu(vcpu, &shape)
    })?;
    match lifecycle.shape.is_none_or(|made| made == shape) {
        true => Ok(()),
        false => Err(EINVAL),
    }
}

/// # Errors
///
/// As for [`check_vcpus`].
fn check_vcpu(vcpu: &Locked<'_>, shape: &Shape) -> Result {
    match () {
        () if !vcpu.is_initialized() => Err(ENOEXEC),
        () if !vcpu.is_finalized() => Err(EPERM),
        () if !vcpu.has_psci_0_2() || vcpu.sve_vq() != shape.sve_vq => Err(EINVAL),
        () => Ok(()),
    }
}

/// Sets aside what a vCPU's REC takes, if it has none. It stays until the vCPU goes.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn prepare(vm: &RealmVm, ours: &mut Option<KBox<RecVcpu>>) -> Result {
    let ours = match ours {
        Some(ours) => ours,
        none => none.insert(RecVcpu::new(&vm.ending)?),
    };
    ours.prepare(vm)
}

/// Declares the memory of a guest_memfd slot to be RAM. What has been populated is already, and RMI 1.0 does not
/// pass over it.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn init_ripas(vm: &Vm, name: RdName, gfns: Range<u64>) -> Result {
    let mut from = gfns.start;
    while from < gfns.end {
        let rest = from..gfns.end;
        let populated = next_span(&vm.pages, &rest).map_or(rest.end, |span| span.start);
        let mut left = vm
            .space
            .protected(from * GRANULE_SIZE, populated * GRANULE_SIZE);
        while let Some(range) = left {
            left = init_ripas_step(vm, name, range)?;
        }
        from = first_missing(&vm.pages, &(populated..gfns.end));
    }
    Ok(())
}

/// # Errors
///
/// As for [`init_ripas`].
fn init_ripas_step(
    vm: &Vm,
    name: RdName,
    range: IpaRange<Protected>,
) -> Result<Option<IpaRange<Protected>>> {
    let rmi = vm.rmi(Pause::Resched);
    match mmu::init_ripas(&rmi, name, &vm.tables(), range) {
        Step::Done => Ok(None),
        Step::Until(at) => Ok(range.from(at)),
        Step::NeedTable(at, table) => {
            vm.make_table(table)?;
            Ok(range.from(at))
        }
        Step::Failed(_, error) => Err(errno(error)),
    }
}
