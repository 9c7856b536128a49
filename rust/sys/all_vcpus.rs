// SPDX-License-Identifier: GPL-2.0

//! All vCPUs of a VM at once, as its first KVM_RUN needs them.
//!
//! Whoever runs a vCPU holds its mutex, and several may run for the first time at once. Each of them
//! needs all the others. So a task that is about to run lends its vCPU to the rest while it waits
//! ([`Waiting::lend`]): one that can lock all that are not lent has all there are. Nobody waits for a
//! mutex: who has a vCPU locked and does not lend it may be at work on it for as long as user space
//! likes (its ioctl touches memory that user space has to bring first), and may want `slots_lock` or
//! another lock before it is done. Who finds such a vCPU has to drop what it holds before it waits.

use super::kernel::{
    bindings,
    prelude::*,
    types::NotThreadSafe, //
};
use super::{
    ffi,
    slots::SlotsLock,
    sync::{mutex, Mutex, MutexGuard},
    vcpu::{Held, Locked}, //
};
use core::marker::PhantomData;

type List<D> = KVec<(*mut bindings::kvm_vcpu, PhantomData<D>)>;

/// vCPUs whose tasks wait for the end of the VM's first run, of one VM.
///
/// # Invariants
///
/// Each in the list is valid, and its mutex is held by a task that waits in [`Self::lend`], where there
/// is a [`Held`] of it with `D` that is not used meanwhile. They come and go under the mutex.
pub struct Waiting<D>(Mutex<List<D>>);

// SAFETY: A list of vCPUs, which any task may use that has the mutex.
unsafe impl<D: Send> Send for Waiting<D> {}
// SAFETY: As above.
unsafe impl<D: Send> Sync for Waiting<D> {}

impl<D> Waiting<D> {
    /// None.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        mutex!(KVec::new(), "kvm_arm_rmi::waiting").map(Self)
    }

    /// Lends the vCPU to whoever calls [`Self::lock_all`], while `f` runs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or those of `f`.
    pub fn lend(&self, held: &mut Held<'_, D>, f: impl FnOnce() -> Result) -> Result {
        let vcpu = held.as_ptr();
        // INVARIANT: `held` is borrowed until it has left the list again.
        self.0
            .lock()
            .push((vcpu, PhantomData), GFP_KERNEL_ACCOUNT)?;
        let result = f();
        self.0.lock().retain(|(other, _)| *other != vcpu);
        result
    }

    /// All vCPUs of the VM. `None` if others are at work on some, or nobody has lent one.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn lock_all<'a>(&'a self, slots: &'a SlotsLock<'_>) -> Result<Option<AllVcpus<'a, D>>> {
        let kvm = slots.kvm();
        let waiting = self.0.lock();
        if waiting.is_empty() {
            return Ok(None);
        }
        let mut all = AllVcpus {
            vcpus: KVec::with_capacity(kvm.vcpu_count(), GFP_KERNEL)?,
            locked: KVec::with_capacity(kvm.vcpu_count(), GFP_KERNEL)?,
            waiting,
            _task: NotThreadSafe,
        };
        // SAFETY: The VM is alive.
        let nest = unsafe { &raw mut (*kvm.as_ptr()).slots_lock };
        for index in 0.. {
            // SAFETY: The VM is alive.
            let vcpu = unsafe { ffi::kvm_rmi_helper_get_vcpu(kvm.as_ptr(), index) };
            if vcpu.is_null() {
                break;
            }
            let lent = all.waiting.iter().any(|(other, _)| *other == vcpu);
            if !lent {
                all.locked.reserve(1, GFP_KERNEL)?;
                // SAFETY: The vCPU is valid as long as the VM, and `slots_lock` is held.
                if !unsafe { ffi::kvm_rmi_helper_trylock_vcpu(vcpu, nest) } {
                    return Ok(None);
                }
                all.locked.push(vcpu, GFP_KERNEL)?;
            }
            // SAFETY: The vCPU is valid, and its mutex is held until `all` goes, by this task or by one
            // that has lent it; it is in the list once. `D` is right, for somebody has lent one.
            all.vcpus.push(unsafe { Held::new(vcpu) }, GFP_KERNEL)?;
        }
        all.vcpus.sort_unstable_by_key(|held| held.id());
        Ok(Some(all))
    }
}

/// All vCPUs of a VM, each locked by this task or lent by the one that has it locked.
pub struct AllVcpus<'a, D> {
    /// By their numbers.
    vcpus: KVec<Held<'a, D>>,
    /// # Invariants
    ///
    /// This task has locked each of these.
    locked: KVec<*mut bindings::kvm_vcpu>,
    waiting: MutexGuard<'a, List<D>>,
    _task: NotThreadSafe,
}

impl<D> AllVcpus<'_, D> {
    /// Calls `f` for each of them, in the order of their numbers.
    ///
    /// # Errors
    ///
    /// The first that `f` returns.
    pub fn each(
        &mut self,
        mut f: impl FnMut(&mut Locked<'_>, &mut Option<KBox<D>>) -> Result,
    ) -> Result {
        self.vcpus.iter_mut().try_for_each(|held| {
            let (vcpu, data) = held.split();
            f(vcpu, data)
        })
    }
}

impl<D> Drop for AllVcpus<'_, D> {
    fn drop(&mut self) {
        for vcpu in &self.locked {
            // SAFETY: By the invariant.
            unsafe { bindings::mutex_unlock(&raw mut (**vcpu).mutex) };
        }
    }
}
