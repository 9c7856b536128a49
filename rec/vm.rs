// SPDX-License-Identifier: GPL-2.0

//! A VM, and what its vCPUs tell each other.

use super::{ending::Ending, rec_vcpu::RecVcpu};
use crate::{
    realm::vm::Vm,
    sys::{all_vcpus::Waiting, prelude::*}, //
};
use core::ops::Deref;

/// A VM, and what its vCPUs tell each other.
pub struct RealmVm {
    vm: Arc<Vm>,
    /// What vCPUs know of the realm's end.
    pub ending: Ending,
    /// vCPUs that are about to run for the first time.
    pub waiting: Waiting<RecVcpu>,
}

impl RealmVm {
    /// No vCPU has run yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(vm: Arc<Vm>) -> Result<Self> {
        Ok(Self {
            vm,
            ending: Ending::new()?,
            waiting: Waiting::new()?,
        })
    }
}

impl Deref for RealmVm {
    type Target = Vm;

    fn deref(&self) -> &Vm {
        &self.vm
    }
}
