// SPDX-License-Identifier: GPL-2.0

//! What KVM asks for, and who does it: the way from the C seam into the domain folders.

use crate::{
    guest_memfd,
    mmu::unmap,
    realm::{self, host::Host, next_span, vm::Vm},
    rec::{self, RealmVm, RecVcpu, Running},
    sys::{
        debugfs::Dir,
        kvm::{Kvm, MmuReadLock, MmuWriteLock},
        ops::{AttrOp, Component, Entry, Halves, Next, Shared},
        prelude::*,
        slots::NewSlot,
        user::{OneReg, VmAttr},
        vcpu::{Held, Locked}, //
    },
    uapi::KvmArmRmiPopulate, //
};
use core::ops::Range;

/// What all VMs have.
pub struct AllVms {
    /// The RMM.
    pub host: Arc<Host>,
    /// Where their files in debugfs are.
    pub status: Dir<Host>,
}

// What every entry and exit goes through is inlined into what KVM calls.
impl Component for RealmVm {
    type Host = AllVms;
    type Vcpu = RecVcpu;

    fn init_vm(all: &Arc<AllVms>, kvm: Kvm, ipa_bits: u32) -> Result<Arc<Self>> {
        let vm = Vm::new(all.host.clone(), kvm, ipa_bits)?;
        let ours = Arc::new(Self::new(vm.clone())?, GFP_KERNEL_ACCOUNT)?;
        *vm.files.lock() = realm::show_vm(&all.status, &vm);
        Ok(ours)
    }

    fn has_sve(&self) -> bool {
        self.host.negotiated.features.sve()
    }

    fn has_pmu(&self) -> bool {
        self.host.negotiated.features.pmu()
    }

    fn flush(&self) {
        unmap::all(self);
    }

    fn destroy(&self) {
        // Nobody else has it any more when these are gone.
        self.remove_files();
        unmap::all(self);
        Vm::destroy(self);
        self.host.stay_if_leaked();
    }

    fn destroy_vcpu(&self, vcpu: KBox<RecVcpu>) {
        RecVcpu::destroy(vcpu, self);
    }

    fn vm_attr(&self, op: AttrOp, attr: &VmAttr) -> Result {
        realm::attribute(self, op, attr)
    }

    fn populate(&self, args: &mut KvmArmRmiPopulate) -> Result {
        guest_memfd::populate(self, args)
    }

    fn pre_fault(&self, vcpu: &mut Held<'_, RecVcpu>, ipas: Range<u64>) -> Result<u64> {
        rec::pre_fault(self, vcpu, &ipas)
    }

    fn first_run(&self, vcpu: &mut Held<'_, RecVcpu>) -> Result {
        rec::activate(self, vcpu)
    }

    #[inline]
    fn complete(&self, vcpu: &mut Locked<'_>, rec: &mut RecVcpu) -> Result<Next> {
        running(self, vcpu, rec).complete()
    }

    fn memory_failed(&self, vcpu: &mut Locked<'_>, rec: &mut RecVcpu) -> Next {
        running(self, vcpu, rec).memory_failed()
    }

    #[inline]
    fn enter(&self, vcpu: &mut Locked<'_>, rec: &mut RecVcpu, entry: Entry) {
        running(self, vcpu, rec).enter(entry);
    }

    #[inline]
    fn handle_exit(&self, vcpu: &mut Locked<'_>, rec: &mut RecVcpu) -> Result<Next> {
        running(self, vcpu, rec).exited()
    }

    fn may_set_reg(&self, vcpu: &mut Held<'_, RecVcpu>, reg: &OneReg) -> Result<bool> {
        rec::may_set_reg(self, vcpu, reg)
    }

    fn listed_reg(&self, vcpu: &mut Held<'_, RecVcpu>, n: usize) -> Option<u64> {
        rec::listed_reg(vcpu, n)
    }

    fn map_shared(
        &self,
        vcpu: &mut Locked<'_>,
        rec: &mut RecVcpu,
        memory: Shared,
        lock: &MmuReadLock<'_>,
    ) -> Result {
        running(self, vcpu, rec).map_shared(memory, lock)
    }

    fn make_room(&self, rec: &mut RecVcpu) -> Result<bool> {
        rec.make_room(self)
    }

    fn check_slot(&self, slot: &NewSlot) -> Result {
        guest_memfd::check_slot(self, slot)
    }

    fn unmap(
        &self,
        gfns: Range<u64>,
        halves: Halves,
        lock: &mut MmuWriteLock<'_>,
        may_block: bool,
    ) -> bool {
        if halves.shared {
            unmap::shared(self, gfns.clone(), lock, may_block);
        }
        // Only MMU notifiers must not block, and they are about what is shared: private memory goes when
        // a file of guest_memfd is punched, closed or poisoned, when attributes change, and with a slot.
        match halves.private {
            true if may_block => unmap::private(self, gfns, lock),
            true => next_span(&self.pages, &gfns).is_none(),
            false => true,
        }
    }
}

fn running<'a, 'v>(
    vm: &'a RealmVm,
    vcpu: &'a mut Locked<'v>,
    rec: &'a mut RecVcpu,
) -> Running<'a, 'v> {
    Running { vm, vcpu, rec }
}
