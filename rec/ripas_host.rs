// SPDX-License-Identifier: GPL-2.0

//! RIPAS changes: what `rec/ripas.rs` needs of KVM and of the RMM, and what user space has to do with
//! them.

use super::{running::Running, Progress, RipasHost, Slot};
use crate::{
    exit::Ripas,
    mmu::{self, fold, Step},
    realm::{host::errno, smc::Pause, vm::Vm, MissingTable},
    rmi::{
        self,
        cmd::rec::RecName,
        IpaRange,
        Protected,
        GRANULE_SIZE, //
    },
    sys::{
        kvm::Kvm,
        ops::Next,
        prelude::*,
        sched,
        slots::Slots, //
    },
    uapi::{KVM_ARM_RMI_FAULT_REJECT, KVM_ARM_RMI_FAULT_RIPAS}, //
};
use core::ops::Range;

/// Granules whose attributes are compared at once.
const COMPARED: u64 = 512;

impl Running<'_, '_> {
    /// Does what is owed before the next entry.
    ///
    /// # Errors
    ///
    /// `EINTR` for a signal, `EFAULT` if user space has to convert memory first, `EINVAL` if it has
    /// answered what is no answer, `ENOMEM`. It may be called again.
    pub fn complete(&mut self) -> Result<Next> {
        let next = self.ripas_change().map(|()| Next::Enter);
        self.or_the_end(next)
    }

    /// # Errors
    ///
    /// As for [`Self::complete`], and what [`errno`] makes of the RMM's answer.
    fn ripas_change(&mut self) -> Result {
        let (Some(work), Some(rec)) = (self.rec.state.ripas(), self.rec.rec.as_ref()) else {
            return Ok(());
        };
        if self.rec.asked {
            match self.vcpu.fault_answer() {
                0 => {}
                KVM_ARM_RMI_FAULT_REJECT => work.reject(),
                _ => return Err(EINVAL),
            }
            self.rec.asked = false;
        }
        let host = RipasChange {
            vm: self.vm,
            rec: rec.name(),
        };
        let private = work.ripas() == Ripas::Ram;
        match work.carry_out(&host) {
            Ok(Progress::Complete) => Ok(()),
            Ok(Progress::Convert(range)) => {
                let (gpa, size) = (range.base(), range.bytes());
                let cause = KVM_ARM_RMI_FAULT_RIPAS;
                self.vcpu.exit_memory_fault(gpa, size, private, cause);
                self.rec.asked = true;
                Err(EFAULT)
            }
            Err(error) => {
                if error == EINTR {
                    self.vcpu.exit_intr();
                }
                Err(error)
            }
        }
    }
}

/// What carries out a RIPAS change that a REC has asked for.
struct RipasChange<'a> {
    /// The VM.
    vm: &'a Vm,
    /// The REC.
    rec: RecName,
}

impl RipasHost for RipasChange<'_> {
    type Error = Error;

    fn first_slot(&self, ipas: &Range<u64>) -> Option<Slot> {
        let slots = Slots::read(&self.vm.kvm);
        let slot = slots.first(&(ipas.start / GRANULE_SIZE..ipas.end.div_ceil(GRANULE_SIZE)))?;
        let gfns = slot.gfns();
        Some(Slot {
            ipas: gfns.start * GRANULE_SIZE..gfns.end * GRANULE_SIZE,
            private: slot.has_gmem(),
        })
    }

    fn has_attributes(&self) -> bool {
        self.vm.halves().by_attributes()
    }

    fn matching(&self, ipas: &Range<u64>, private: bool) -> u64 {
        matching(&self.vm.kvm, ipas, private)
    }

    fn go_on(&self) -> Result {
        match sched::signal_pending() {
            true => Err(EINTR),
            false => Ok(()),
        }
    }

    fn set_ripas(&self, range: IpaRange<Protected>) -> Result<Step> {
        let (vm, rmi) = (self.vm, self.vm.rmi(Pause::Resched));
        let step = mmu::set_ripas(&rmi, vm.name()?, self.rec, &vm.tables(), range);
        Ok(step)
    }

    fn make_table(&self, table: MissingTable) -> Result {
        self.vm.make_table(table)
    }

    fn emptied(&self, ipas: Range<u64>) {
        fold::empty(self.vm, ipas);
    }

    fn refused(&self, error: rmi::Error) -> Error {
        errno(error)
    }
}

/// How far the attributes of `range` are what they would have to be, as an IPA.
///
/// What is not private is quick to find, since only private memory is written down.
fn matching(kvm: &Kvm, range: &Range<u64>, private: bool) -> u64 {
    let (first, end) = (range.start / GRANULE_SIZE, range.end / GRANULE_SIZE);
    let at_once = if private { COMPARED } else { end - first };
    let mut gfn = first;
    while gfn < end {
        let next = end.min(gfn + at_once);
        if !kvm.are(&(gfn..next), private) {
            return first_other(kvm, gfn..next, private) * GRANULE_SIZE;
        }
        gfn = next;
        sched::cond_resched();
    }
    end * GRANULE_SIZE
}

/// The first granule that is not private, or is: halves the range until only that one is left.
fn first_other(kvm: &Kvm, gfns: Range<u64>, private: bool) -> u64 {
    let (mut good, mut end) = (gfns.start, gfns.end);
    while end - good > 1 {
        let middle = good + (end - good) / 2;
        match kvm.are(&(good..middle), private) {
            true => good = middle,
            false => end = middle,
        }
    }
    good
}
