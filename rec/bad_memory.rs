// SPDX-License-Identifier: GPL-2.0

//! Memory goes bad that the RMM has for a realm: for its descriptor, its tables, a REC.
//!
//! Nobody can take that from the RMM and go on, and what the RMM would find there is not for the host to
//! try: the realm ends, and see [`crate::realm::bad`] for how. Memory of guest_memfd and memory that is shared
//! can be replaced, and are not looked at here.

use super::{
    rec_vcpu::RecVcpu,
    running::Running, //
};
use crate::{
    realm::vm::Vm,
    rmi::PhysAddr,
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
        self.vm.look(true);
        self.vm.bad.first().or(self.rec.find_bad(self.vm))
    }
}

impl RecVcpu {
    /// Looks for bad memory in what the REC was lent, and keeps the RMM from it. Returns some of it.
    pub(super) fn find_bad(&self, vm: &Vm) -> Option<PhysAddr> {
        let rec = self.rec.as_ref()?;
        let lent = rec.loans().lent();
        let found = lent.granules().find(|granule| memory::is_bad(*granule))?;
        vm.bad.lent(found, PhysAddr::new(rec.name().raw()));
        Some(found)
    }
}
