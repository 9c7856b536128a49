// SPDX-License-Identifier: GPL-2.0

//! What is kept for a vCPU: its REC, and what that was made of.

use super::{
    ending::{Ending, Entered},
    Vcpu, //
};
use crate::{
    mmu::shared::Wanted,
    realm::{
        dump::What,
        host::errno,
        smc::{HostPages, Pause},
        vm::Vm, //
    },
    rmi::{
        cmd::{realm::RdName, rec as cmd},
        Delegated,
        GranuleRange,
        PhysAddr, //
    },
    sys::{
        kvm::Seq,
        memory::{self, Page},
        prelude::*,
        sync::atomic::Ordering,
        vcpu::Locked, //
    }, //
};

/// What a REC is made of.
pub struct Parts {
    /// For its parameters, zeroed.
    pub page: Page,
    /// Becomes the REC.
    pub granule: GranuleRange<Delegated>,
}

/// What a REC needs.
pub struct RecVcpu {
    /// The REC, from when there is one.
    pub rec: Option<cmd::Rec>,
    /// What it was made with.
    pub begins_with: Option<cmd::Params>,
    /// What it will be made of, until it is.
    pub parts: Option<Parts>,
    /// The page that its entries and exits are described in.
    pub run: Page,
    /// For lists, when memory is mapped.
    pub list: Page,
    /// What is owed to it.
    pub state: Vcpu,
    /// That it is entered.
    pub entered: Arc<Entered>,
    /// What the last attempt to map shared memory lacked.
    pub wanted: Option<Wanted>,
    /// It mapped something.
    pub mapped: bool,
    /// Attempts to map shared memory that were in vain since.
    pub tries: u32,
    /// Shared faults to come that map their own page alone.
    pub alone: u32,
    /// Where the last exit was a private fault.
    pub faulted: Option<u64>,
    /// User space was asked about a RIPAS change, and has not answered.
    pub asked: bool,
    /// The state of the VM's memory when the last shared fault began.
    pub seen: Seq,
}

impl RecVcpu {
    /// A vCPU that has no REC yet, of a realm whose end is `ending`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(ending: &Ending) -> Result<KBox<Self>> {
        let new = Self {
            rec: None,
            begins_with: None,
            parts: None,
            run: Page::new()?,
            list: Page::new()?,
            state: Vcpu::new(),
            entered: ending.add()?,
            wanted: None,
            mapped: false,
            tries: 0,
            alone: 0,
            faulted: None,
            asked: false,
            seen: 0,
        };
        let new = KBox::new(new, GFP_KERNEL_ACCOUNT)?;
        Ok(new)
    }

    /// Sets aside what its REC takes, so that making one fails for want of the host's memory as seldom
    /// as can be.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
    pub fn prepare(&mut self, vm: &Vm) -> Result {
        // What an attempt before this one has set aside may have gone bad.
        let is_good = |parts: &Parts| !memory::is_bad(parts.granule.range().base());
        if self.rec.is_none() && !self.parts.as_ref().is_some_and(is_good) {
            let parts = Parts {
                page: Page::new()?,
                granule: vm.alloc_delegated(0)?,
            };
            let bad = self.parts.replace(parts);
            bad.into_iter().for_each(|bad| vm.free(bad.granule));
        }
        Ok(())
    }

    /// Makes the REC, if there is none, of what [`Self::prepare`] has set aside. `list` is used while this
    /// runs.
    ///
    /// # Errors
    ///
    /// `EBUSY` if the REC that there is begins with something else than the vCPU now has, `ENOMEM`, or
    /// what [`errno`] makes of the RMM's answer.
    pub fn make_rec(
        &mut self,
        vm: &Vm,
        list: &mut Page,
        name: RdName,
        vcpu: &mut Locked<'_>,
    ) -> Result {
        let begins_with = begins_with(vcpu);
        let Some(mut parts) = self.parts.take() else {
            return match self.begins_with == Some(begins_with) {
                true => Ok(()),
                false => Err(EBUSY),
            };
        };
        let rmi = vm.rmi(Pause::Resched);
        let (granule, page) = (parts.granule, &mut parts.page);
        match cmd::create(&rmi, name, granule, &begins_with, page, &HostPages, list) {
            Ok(rec) => {
                vcpu.set_rec(rec.name(), &self.run);
                let at = PhysAddr::new(rec.name().raw());
                vm.made(at, What::Rec(vcpu.id().into()));
                self.rec = Some(rec);
                self.begins_with = Some(begins_with);
                vm.recs.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(failed) => {
                failed.granules.into_iter().for_each(|left| vm.free(left));
                Err(errno(failed.error))
            }
        }
    }

    /// The vCPU goes away.
    pub fn destroy(this: KBox<Self>, vm: &Vm) {
        let mut this = KBox::into_inner(this);
        if let Some(parts) = this.parts.take() {
            vm.free(parts.granule);
        }
        if this.rec.is_none() {
            return;
        }
        this.find_bad(vm);
        let rmi = vm.rmi(Pause::Resched);
        match cmd::destroy(&rmi, &mut this.rec, &HostPages, &mut this.list) {
            Ok(granule) => granule.into_iter().for_each(|granule| vm.free(granule)),
            Err(_) => {
                pr_err_once!("a REC cannot be destroyed; its memory is lost\n");
                if let Some(rec) = this.rec {
                    rec.leak(&rmi);
                }
            }
        }
    }
}

/// What a vCPU's REC has to begin with.
fn begins_with(vcpu: &Locked<'_>) -> cmd::Params {
    let [a, b, c, d, e, f, g, h, ..] = *vcpu.gprs();
    cmd::Params {
        runnable: !vcpu.is_stopped(),
        mpidr: vcpu.mpidr(),
        pc: vcpu.pc(),
        gprs: [a, b, c, d, e, f, g, h],
    }
}
