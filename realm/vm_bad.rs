// SPDX-License-Identifier: GPL-2.0

//! Looking for bad memory in what the RMM has for a realm.

use super::{
    vm::Vm,
    Realm, //
};
use crate::{
    rmi::PhysAddr,
    sys::{
        memory,
        prelude::*, //
    }, //
};

impl Vm {
    /// Looks for memory that the host knows to be bad in what the RMM has for the realm, but for what RECs were
    /// lent, and keeps the RMM from it. Returns some of it.
    pub fn find_bad(&self, realm: &Realm) -> Option<PhysAddr> {
        let mut found = realm.loans().and_then(|lent| lent.find(memory::is_bad));
        if found.is_some() {
            self.bad.all();
        }
        self.objects.for_each(|granule, what| {
            if memory::is_bad(granule) {
                self.bad.object(granule, what);
                found = Some(granule);
            }
        });
        found
    }

    /// Ends a realm of bad memory.
    ///
    /// # Errors
    ///
    /// `EIO`: it is one.
    pub fn check_memory(&self, realm: &Realm) -> Result {
        match self.find_bad(realm) {
            Some(at) => {
                self.kill(fmt!("the RMM has memory at {:#x} for it, which is bad", at.raw()));
                Err(EIO)
            }
            None => Ok(()),
        }
    }
}
