// SPDX-License-Identifier: GPL-2.0

//! From a VM to a realm that is New: its descriptor.

use super::{
    dump::List,
    host::errno,
    smc::{HostPages, Pause},
    vm::{Lifecycle, Vm},
    shape::{Choice, Shape},
    Refused, //
};
use crate::{
    rmi::{
        cmd::realm::{Params, RealmGranules},
        needs_lpa2,
        Loans,
        Status, //
    },
    sys::{
        memory::Page,
        prelude::*, //
    }, //
};

/// VMIDs that are tried for a realm where the host chooses them.
const VMID_TRIES: u32 = 8;

/// None becomes New.
///
/// # Errors
///
/// `ENOMEM`, `ENOSPC` if all VMIDs are taken, `EINVAL` if the RMM has no hash algorithm that we know or not
/// the SVE or the PMU that the vCPUs have, or what [`errno`] makes of its answer. The realm is None still.
pub fn create(vm: &Vm, lifecycle: &mut Lifecycle) -> Result {
    let shape = Shape::of(&vm.kvm, &vm.host.negotiated.features)?;
    let params = params(vm, &shape, &lifecycle.choice)?;
    let mut page = Page::new()?;
    let objects = List::new()?;
    let granules = granules(vm)?;
    let (at, root) = (granules.rd.range().base(), granules.roots.range().base());
    let created = begin(vm, lifecycle, granules, &params, &mut page);
    match created {
        Ok(()) => {
            vm.settle_attributes();
            let lent = lifecycle.realm.loans().map(Loans::lent);
            vm.objects
                .begin(&vm.host.realms, (objects, lent), (at, root), &vm.layout);
            vm.bad.look_again();
            lifecycle.shape = Some(shape);
            lifecycle.realm.name().map(|name| vm.name.populate(name));
            Ok(())
        }
        Err((refused, granules)) => {
            granules.into_iter().for_each(|granules| vm.free_realm(granules));
            Err(refusal(refused))
        }
    }
}

/// Has the RMM make the realm. Where the host chooses the VMID, others are tried if the RMM refuses it, which
/// may have a realm of that from before.
///
/// # Errors
///
/// As for [`super::Realm::create`].
fn begin(
    vm: &Vm,
    lifecycle: &mut Lifecycle,
    mut granules: RealmGranules,
    params: &Params,
    page: &mut Page,
) -> Result<(), (Refused, Option<RealmGranules>)> {
    let Lifecycle { realm, list, .. } = lifecycle;
    let rmi = vm.rmi(Pause::Resched);
    let mut tries = 1..VMID_TRIES;
    loop {
        let (refused, back) = match realm.create(&rmi, granules, params, page, (&HostPages, list)) {
            Err((Refused::Rmm(error), Some(back))) => (error, back),
            made => return made,
        };
        granules = back;
        let another = refused.status() == Some(Status::ErrorInput)
            && tries.next().is_some()
            && vm.host.vmids.lock().exchange(&mut granules.vmid);
        if !another {
            return Err((Refused::Rmm(refused), Some(granules)));
        }
    }
}

/// What a realm is made of.
///
/// # Errors
///
/// `ENOSPC` if all VMIDs are taken, `ENOMEM`, or what [`errno`] makes of the RMM's answer.
fn granules(vm: &Vm) -> Result<RealmGranules> {
    let vmid = vm.host.vmids.lock().take().ok_or(ENOSPC)?;
    let rd = match vm.alloc_delegated(0) {
        Ok(rd) => rd,
        Err(error) => {
            vm.host.vmids.lock().give(vmid);
            return Err(error);
        }
    };
    match vm.alloc_delegated(vm.layout.order) {
        Ok(roots) => Ok(RealmGranules { rd, roots, vmid }),
        Err(error) => {
            vm.host.vmids.lock().give(vmid);
            vm.free(rd);
            Err(error)
        }
    }
}

/// What user space is told of a state that does not change.
pub fn refusal(refused: Refused) -> Error {
    match refused {
        Refused::Rmm(error) => errno(error),
        Refused::State(_) => EIO,
    }
}

/// What the realm shall be.
///
/// # Errors
///
/// `EINVAL` if the RMM measures in no way that we know.
fn params(vm: &Vm, shape: &Shape, choice: &Choice) -> Result<Params> {
    Ok(Params {
        s2sz: vm.space.bits(),
        lpa2: needs_lpa2(vm.space.bits()),
        sve_vq: shape.sve_vq,
        breakpoints: shape.breakpoints,
        watchpoints: shape.watchpoints,
        pmu_counters: shape.pmu_counters,
        hash: choice.hash.ok_or(EINVAL)?,
        rpv: choice.rpv,
        rtt_level_start: vm.layout.start.raw() as i64,
    })
}
