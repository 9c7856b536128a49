// SPDX-License-Identifier: GPL-2.0

//! RIPAS changes: what `rec/ripas.rs` needs of KVM and of the RMM.

use crate::{
    ffi,
    fold,
    host::errno,
    mmu::{self, MissingTable, Step},
    rec::{RipasHost, Slot},
    rmi::{
        self,
        cmd::rec::RecName,
        IpaRange,
        Protected,
        GRANULE_SIZE, //
    },
    smccc::Pause,
    views,
    vm::Vm, //
};
use core::ops::Range;
use kernel::prelude::*;

/// Granules whose attributes are compared at once.
const COMPARED: u64 = 512;

/// What carries out a RIPAS change that a REC has asked for.
pub(crate) struct RipasChange<'a> {
    pub(crate) vm: &'a Vm,
    pub(crate) rec: RecName,
}

impl RipasHost for RipasChange<'_> {
    type Error = Error;

    fn first_slot(&self, ipas: &Range<u64>) -> Option<Slot> {
        let slots = views::read_slots(&self.vm.kvm);
        let slot = slots.first(&(ipas.start / GRANULE_SIZE..ipas.end.div_ceil(GRANULE_SIZE)))?;
        let gfns = slot.gfns();
        Some(Slot {
            ipas: gfns.start * GRANULE_SIZE..gfns.end * GRANULE_SIZE,
            private: slot.has_gmem(),
        })
    }

    fn matching(&self, ipas: &Range<u64>, private: bool) -> u64 {
        matching(self.vm, ipas, private)
    }

    fn go_on(&self) -> Result {
        match ffi::kvm_rmi_helper_signal_pending() {
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
fn matching(vm: &Vm, range: &Range<u64>, private: bool) -> u64 {
    let slots = views::read_slots(&vm.kvm);
    let (first, end) = (range.start / GRANULE_SIZE, range.end / GRANULE_SIZE);
    let at_once = if private { COMPARED } else { end - first };
    let mut gfn = first;
    while gfn < end {
        let next = end.min(gfn + at_once);
        if !slots.are(&(gfn..next), private) {
            return first_other(&slots, gfn..next, private) * GRANULE_SIZE;
        }
        gfn = next;
        ffi::kvm_rmi_helper_cond_resched();
    }
    end * GRANULE_SIZE
}

/// The first granule that is not private, or is: halves the range until only that one is left.
fn first_other(slots: &views::Slots<'_>, gfns: Range<u64>, private: bool) -> u64 {
    let (mut good, mut end) = (gfns.start, gfns.end);
    while end - good > 1 {
        let middle = good + (end - good) / 2;
        match slots.are(&(good..middle), private) {
            true => good = middle,
            false => end = middle,
        }
    }
    good
}
