// SPDX-License-Identifier: GPL-2.0

//! A fault in the half that a realm shares with the host: KVM finds the memory, as for any VM, and what
//! is here maps it.

use super::{rec_vcpu::RecVcpu, running::Running};
use crate::{
    mmu::shared::{self, Mapped, Mapping},
    realm::vm::Vm,
    rmi::{cmd::unprot::Access, GRANULE_SIZE},
    sys::{
        kvm::{MmuReadLock, Seq},
        ops::Shared,
        prelude::*,
        sched,
        slots::Slots, //
    }, //
};
use core::ops::Range;

/// Attempts to map shared memory while other memory of the VM is being unmapped, before the vCPU is
/// entered again.
const TRIES: u32 = 8;
/// Shared faults that map their own page alone, after one behind whose page there was none.
const ALONE: u32 = 16;

impl Running<'_, '_> {
    /// Maps shared memory, under `mmu_lock` for reading.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if something has to be made first ([`Self::make_room`]), or what
    /// [`shared::map`] says.
    pub fn map_shared(&mut self, memory: Shared, lock: &MmuReadLock<'_>) -> Result {
        let (fault_ipa, replaces) = (self.vcpu.fault_ipa(), self.vcpu.is_permission_fault());
        let mapping = Mapping {
            ipa: memory.ipa,
            pa: memory.pa,
            size: memory.size,
            access: match memory.writable {
                true => Access::ReadWrite,
                false => Access::Read,
            },
            replaces,
        };
        let mapping = mapping.around(fault_ipa);
        let Some(mapping) = what_is_shared(self.vm, mapping, fault_ipa, self.rec.seen) else {
            // The next fault will tell user space.
            return Err(EAGAIN);
        };
        self.rec.wanted = match shared::map(self.vm, &mapping, lock) {
            Ok(Mapped::Done) => {
                self.rec.mapped = true;
                self.map_ahead(&mapping, lock);
                return Ok(());
            }
            Ok(Mapped::Lacks(wanted)) => Some(wanted),
            Ok(Mapped::Again) => None,
            // The next entry will tell.
            Err(error) if error == ESHUTDOWN => None,
            Err(error) => return Err(at_its_end(self.vm, error)),
        };
        Err(EAGAIN)
    }

    /// Maps what user space has behind a page, as a realm that has come to one comes to the next. Where
    /// there was nothing some faults go by before that is looked at again: memory that comes with its
    /// first use has nothing there, over and over.
    fn map_ahead(&mut self, page: &Mapping, lock: &MmuReadLock<'_>) {
        if page.size != GRANULE_SIZE || page.replaces {
            return;
        }
        self.rec.alone = match self.rec.alone {
            0 if !shared::map_ahead(self.vm, page, lock, &mut self.rec.list) => ALONE,
            faults => faults.saturating_sub(1),
        };
    }
}

/// `EIO` is what the RMM refuses, about which user space can do nothing: then the realm is at its end.
/// KVM hands the error on, which is what it says of a dead VM from then on.
fn at_its_end(vm: &Vm, error: Error) -> Error {
    if error == EIO {
        vm.kill(fmt!("the RMM refuses what shared memory needs"));
    }
    error
}

impl RecVcpu {
    /// After an attempt to map shared memory, makes what it lacked. True if it makes sense to try
    /// again.
    ///
    /// # Errors
    ///
    /// As for [`shared::make`].
    pub fn make_room(&mut self, vm: &Vm) -> Result<bool> {
        if let Some(wanted) = self.wanted.take() {
            let made = shared::make(vm, wanted);
            return made.map(|()| true).map_err(|error| at_its_end(vm, error));
        }
        if core::mem::take(&mut self.mapped) {
            self.tries = 0;
            return Ok(false);
        }
        self.tries += 1;
        if self.tries > TRIES {
            self.tries = 0;
            return Ok(false);
        }
        if vm.kvm.is_invalidating() {
            // Memory of the VM is being unmapped, and the vCPU would only fault again.
            sched::wait_a_little();
        }
        // Copying the page before it is written unmaps it, for one.
        Ok(true)
    }
}

/// The shared granules of `gfns` that lie next to each other with `gfn`, which is one.
fn shared_around(vm: &Vm, gfn: u64, gfns: &Range<u64>) -> Range<u64> {
    let all_shared = |part: Range<u64>| vm.halves().may_all_be(&part, false);
    let (mut start, mut end) = (gfn, gfn + 1);
    // Halves what is left on either side until nothing is.
    let mut step = (gfns.end - gfns.start).next_power_of_two();
    while step > 0 {
        if start - gfns.start >= step && all_shared(start - step..start) {
            start -= step;
        }
        if gfns.end - end >= step && all_shared(end..end + step) {
            end += step;
        }
        step /= 2;
    }
    start..end
}

/// As much of `mapping`, with what the realm has touched at `ipa`, as is shared; `None` if that is
/// private. When `seen` was the state of the VM's memory, the attributes said that it is shared.
///
/// Under `mmu_lock`, after KVM has seen that nothing is being invalidated. Attributes change inside of
/// an invalidation: so if none has ended since they were looked at they are the same still, and they
/// will be until this lock is dropped. Whoever changes them after that unmaps what is mapped here.
fn what_is_shared(vm: &Vm, mapping: Mapping, ipa: u64, seen: Seq) -> Option<Mapping> {
    let (first, gfn) = (mapping.ipa / GRANULE_SIZE, ipa / GRANULE_SIZE);
    let all_shared = match mapping.size {
        GRANULE_SIZE => {
            vm.kvm.invalidate_seq() == seen || vm.halves().may_be_shared(first)
        }
        size => vm.halves().may_all_be(&(first..first + size / GRANULE_SIZE), false),
    };
    if all_shared {
        return Some(mapping);
    }
    let slots = Slots::read(&vm.kvm);
    // Without private memory there is nothing else that it could be.
    if !slots.find(gfn).is_some_and(|slot| slot.has_gmem()) {
        return Some(mapping);
    }
    // One call for all around it that is shared, which most of a huge page is.
    let block = first..first + mapping.size / GRANULE_SIZE;
    vm.halves().may_be_shared(gfn).then(|| mapping.within(&shared_around(vm, gfn, &block)))
}
