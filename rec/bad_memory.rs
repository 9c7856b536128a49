// SPDX-License-Identifier: GPL-2.0

//! Memory goes bad that the RMM has for a realm: for its descriptor, its tables, a REC.
//!
//! Nobody can take that from the RMM and go on, and what the RMM would find there is not for the host to
//! try: the realm ends. Memory of guest_memfd and memory that is shared can be replaced, and are not looked
//! at here.

use super::running::Running;
use crate::{
    rmi::{Loans, PhysAddr},
    sys::{
        memory,
        ops::Next,
        prelude::*, //
    }, //
};

impl Running<'_, '_> {
    /// The host has been told of bad memory since this vCPU last ran. If the RMM has it for this realm, or
    /// for this REC, that is the end.
    pub fn memory_failed(&mut self) -> Next {
        match self.bad_memory() {
            Some(at) => self.internal_error(
                0,
                fmt!("the RMM has memory at {:#x} for it, which is bad", at.raw()),
            ),
            None => Next::Enter,
        }
    }

    /// Memory of the realm's or this REC's that the host knows to be bad. What other RECs have been lent is
    /// for their vCPUs to look at.
    fn bad_memory(&self) -> Option<PhysAddr> {
        let lent = |loans: &Loans| loans.find(memory::is_bad);
        let rec = self.rec.rec.as_ref();
        let named = self.vm.objects.find(memory::is_bad);
        named
            .or_else(|| rec.and_then(|rec| lent(rec.loans())))
            .or_else(|| self.vm.lifecycle.lock().realm.loans().and_then(lent))
    }
}
