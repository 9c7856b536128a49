// SPDX-License-Identifier: GPL-2.0

//! RIPAS changes: what `rec/ripas.rs` needs of KVM and of the RMM.

use super::{RipasHost, Slot};
use crate::{
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
        prelude::*,
        sched,
        slots::Slots, //
    }, //
};
use core::ops::Range;

/// Granules whose attributes are compared at once.
const COMPARED: u64 = 512;

/// What carries out a RIPAS change that a REC has asked for.
pub(super) struct RipasChange<'a> {
    /// The VM.
    pub(super) vm: &'a Vm,
    /// The REC.
    pub(super) rec: RecName,
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
