// SPDX-License-Identifier: GPL-2.0

//! All vCPUs of a VM at once, as its first KVM_RUN needs them.

use super::{
    prelude::*,
    slots::SlotsLock,
    sync::MutexGuard,
    vcpu::{Held, Locked, VcpuState}, //
};
use std::marker::PhantomData;
use std::sync::Arc as StdArc;

type List = Vec<StdArc<VcpuState>>;

/// vCPUs whose tasks wait for the end of the VM's first run, of one VM.
pub struct Waiting<D>(Mutex<List>, PhantomData<fn(D)>);

impl<D: 'static> Waiting<D> {
    /// None.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self(mutex!(Vec::new(), "waiting")?, PhantomData))
    }

    /// Lends the vCPU to whoever calls [`Self::lock_all`], while `f` runs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or those of `f`.
    pub fn lend(&self, held: &mut Held<'_, D>, f: impl FnOnce() -> Result) -> Result {
        super::alloc::allocate()?;
        self.0.lock().push(held.state().clone());
        let result = f();
        self.0.lock().retain(|vcpu| vcpu.id != held.id());
        result
    }

    /// All vCPUs of the VM. `None` if others are at work on some, or nobody has lent one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn lock_all<'a>(&'a self, slots: &'a SlotsLock<'_>) -> Result<Option<AllVcpus<'a, D>>> {
        super::alloc::allocate()?;
        let waiting = self.0.lock();
        if waiting.is_empty() {
            return Ok(None);
        }
        let vcpus = slots.kvm().0.vcpus.read().unwrap().clone();
        let mut all = AllVcpus {
            locked: Vec::new(),
            vcpus,
            waiting,
            _data: PhantomData,
        };
        for vcpu in &all.vcpus {
            if all.waiting.iter().any(|lent| lent.id == vcpu.id) {
                continue;
            }
            if !vcpu.try_lock() {
                return Ok(None);
            }
            all.locked.push(vcpu.clone());
        }
        all.vcpus.sort_by_key(|vcpu| vcpu.id);
        Ok(Some(all))
    }
}

/// All vCPUs of a VM, each locked by this task or lent by the one that has it locked.
pub struct AllVcpus<'a, D> {
    vcpus: List,
    locked: List,
    waiting: MutexGuard<'a, List>,
    _data: PhantomData<fn(D)>,
}

impl<D: 'static> AllVcpus<'_, D> {
    /// Calls `f` for each of them, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// The first that `f` returns.
    pub fn each(
        &mut self,
        mut f: impl FnMut(&mut Locked<'_>, &mut Option<KBox<D>>) -> Result,
    ) -> Result {
        self.vcpus.iter().try_for_each(|vcpu| {
            let mut held = Held::new(vcpu.clone());
            let (vcpu, data) = held.split();
            f(vcpu, data)
        })
    }
}

impl<D> Drop for AllVcpus<'_, D> {
    fn drop(&mut self) {
        for vcpu in &self.locked {
            vcpu.unlock();
        }
    }
}
