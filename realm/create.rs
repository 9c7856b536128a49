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
        needs_lpa2, //
    },
    sys::{
        memory::Page,
        prelude::*, //
    }, //
};

/// None becomes New.
///
/// # Errors
///
/// `ENOMEM`, `EINVAL` if the RMM has no hash algorithm that we know or not the SVE or the PMU that the
/// vCPUs have, or what [`errno`] makes of its answer. The realm is None still.
pub fn create(vm: &Vm, lifecycle: &mut Lifecycle) -> Result {
    let shape = Shape::of(&vm.kvm, &vm.host.negotiated.features)?;
    let params = params(vm, &shape, &lifecycle.choice)?;
    let mut page = Page::new()?;
    let objects = List::new()?;
    let rd = vm.alloc_delegated(0)?;
    let roots = match vm.alloc_delegated(vm.layout.order) {
        Ok(roots) => roots,
        Err(error) => {
            vm.free(rd);
            return Err(error);
        }
    };
    let rmi = vm.rmi(Pause::Resched);
    let (at, root) = (rd.range().base(), roots.range().base());
    let granules = RealmGranules { rd, roots };
    let list = &mut lifecycle.list;
    let created = lifecycle
        .realm
        .create(&rmi, granules, &params, &mut page, (&HostPages, list));
    match created {
        Ok(()) => {
            vm.settle_attributes();
            vm.objects
                .begin(&vm.host.realms, objects, (at, root), &vm.layout);
            lifecycle.shape = Some(shape);
            lifecycle.realm.name().map(|name| vm.name.populate(name));
            Ok(())
        }
        Err((refused, granules)) => {
            if let Some(granules) = granules {
                vm.free(granules.rd);
                vm.free(granules.roots);
            }
            Err(refusal(refused))
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
        vmid: 0,
    })
}
