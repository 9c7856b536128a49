// SPDX-License-Identifier: GPL-2.0

//! KVM's VM, and `kvm->mmu_lock`.

use super::{
    machine::machine,
    slots::SlotArray,
    vcpu::{Vcpu, VcpuState},
};
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use shuttle::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

/// The state of a VM's memory: another one once anything was invalidated.
pub type Seq = u64;

/// Number of breakpoints, less 1, in ID_AA64DFR0_EL1.
pub const DFR0_BRPS: u32 = 12;
/// Number of watchpoints, less 1, in ID_AA64DFR0_EL1.
pub const DFR0_WRPS: u32 = 20;

/// `struct kvm`.
#[derive(Default)]
pub(super) struct State {
    mmu_lock: RwLock<()>,
    seq: AtomicU64,
    in_progress: AtomicU64,
    /// What is being invalidated; under `mmu_lock`.
    invalidating: std::sync::Mutex<Range<u64>>,
    /// Granules that are private.
    private: RwLock<BTreeSet<u64>>,
    pub(super) slots: shuttle::sync::Mutex<Arc<SlotArray>>,
    pub(super) slots_lock: shuttle::sync::Mutex<()>,
    pub(super) vcpus: RwLock<Vec<Arc<VcpuState>>>,
    /// `mn_active_invalidate_count`: MMU notifiers that have begun.
    pub(super) notifying: AtomicU64,
    dead: AtomicBool,
    pub(super) id_aa64dfr0: std::sync::OnceLock<u64>,
    /// Event counters of the PMU, and 1; 0 without a PMU.
    pub(super) pmu: AtomicU64,
}

/// KVM's VM.
#[derive(Clone)]
pub struct Kvm(pub(super) Arc<State>);

impl Kvm {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// True if anything is private by the VM's memory attributes, which may change at any time.
    pub fn has_attributes(&self) -> bool {
        !self.0.private.read().unwrap().is_empty()
    }

    /// True if granule `gfn` is private, by the VM's memory attributes, which may change at any time.
    pub fn is_private(&self, gfn: u64) -> bool {
        self.0.private.read().unwrap().contains(&gfn)
    }

    /// True if all granules are private, or all are not.
    pub fn are(&self, gfns: &Range<u64>, private: bool) -> bool {
        let noted = self.0.private.read().unwrap();
        match private {
            true => gfns.clone().all(|gfn| noted.contains(&gfn)),
            false => noted.range(gfns.clone()).next().is_none(),
        }
    }

    /// Sets attributes: one by one in truth, which others may see; in as many steps as make a difference.
    pub(super) fn set_private(&self, gfns: &Range<u64>, private: bool) {
        let step = (gfns.end - gfns.start).div_ceil(32);
        for first in gfns.clone().step_by(step as usize) {
            let some = first..gfns.end.min(first + step);
            let mut noted = self.0.private.write().unwrap();
            match private {
                true => noted.extend(some),
                false => noted.retain(|gfn| !some.contains(gfn)),
            }
        }
    }

    /// The state of the VM's memory.
    pub fn invalidate_seq(&self) -> Seq {
        self.0.seq.load(Ordering::SeqCst)
    }

    /// True if memory of the VM is being unmapped. It is only a hint.
    pub fn is_invalidating(&self) -> bool {
        self.0.in_progress.load(Ordering::SeqCst) != 0
    }

    /// `kvm_mmu_invalidate_begin()` and a range.
    pub(super) fn invalidate_begin(&self, _lock: &MmuWriteLock<'_>, gfns: &Range<u64>) {
        let mut range = self.0.invalidating.lock().unwrap();
        *range = match self.0.in_progress.fetch_add(1, Ordering::SeqCst) {
            0 => gfns.clone(),
            _ => range.start.min(gfns.start)..range.end.max(gfns.end),
        };
    }

    /// `kvm_mmu_invalidate_end()`.
    pub(super) fn invalidate_end(&self, _lock: &MmuWriteLock<'_>) {
        self.0.seq.fetch_add(1, Ordering::SeqCst);
        self.0.in_progress.fetch_sub(1, Ordering::SeqCst);
    }

    /// The VM's ID_AA64DFR0_EL1, 0 until a vCPU is initialised.
    pub fn id_aa64dfr0(&self) -> u64 {
        *self.0.id_aa64dfr0.get().unwrap_or(&0x0030_5000)
    }

    /// Event counters of the PMU that the VM's vCPUs have.
    pub fn pmu_counters(&self) -> Option<u64> {
        self.0.pmu.load(Ordering::SeqCst).checked_sub(1)
    }

    /// Number of vCPUs.
    pub fn vcpu_count(&self) -> usize {
        self.0.vcpus.read().unwrap().len()
    }

    /// The vCPU with number `id`.
    pub fn vcpu(&self, id: u32) -> Option<Vcpu<'_>> {
        let vcpus = self.0.vcpus.read().unwrap();
        let found = vcpus.iter().find(|vcpu| vcpu.id == id);
        found.map(|vcpu| Vcpu::new(vcpu.clone()))
    }

    /// The vCPU with an MPIDR.
    pub fn vcpu_by_mpidr(&self, mpidr: u64) -> Option<Vcpu<'_>> {
        self.vcpu(u32::try_from(mpidr & 0xff_ffff).ok()?)
    }

    /// No vCPU of the VM runs any more.
    pub fn kill(&self) {
        machine().kill();
        self.0.dead.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::SeqCst)
    }
}

/// `kvm->mmu_lock`, held for reading.
pub struct MmuReadLock<'a> {
    kvm: &'a Kvm,
    _guard: RwLockReadGuard<'a, ()>,
}

impl<'a> MmuReadLock<'a> {
    /// Takes the lock of a VM.
    pub fn new(kvm: &'a Kvm) -> Self {
        let guard = kvm.0.mmu_lock.read().unwrap();
        machine().spinning(true);
        Self { kvm, _guard: guard }
    }

    /// True if memory of the VM was invalidated since [`Kvm::invalidate_seq`], or `gfns` are right now.
    pub fn invalidated_since(&self, seq: Seq, gfns: &Range<u64>) -> bool {
        let now = self.kvm.0.invalidating.lock().unwrap().clone();
        let overlaps = now.start < gfns.end && gfns.start < now.end;
        self.kvm.is_invalidating() && overlaps || self.kvm.invalidate_seq() != seq
    }

    /// The same for all that is being invalidated.
    pub(super) fn anything_since(&self, seq: Seq) -> bool {
        self.kvm.is_invalidating() || self.kvm.invalidate_seq() != seq
    }
}

impl Drop for MmuReadLock<'_> {
    fn drop(&mut self) {
        machine().spinning(false);
    }
}

/// `kvm->mmu_lock`, held for writing.
pub struct MmuWriteLock<'a> {
    kvm: &'a Kvm,
    guard: Option<RwLockWriteGuard<'a, ()>>,
}

impl<'a> MmuWriteLock<'a> {
    /// Takes the lock of a VM.
    pub fn new(kvm: &'a Kvm) -> Self {
        let guard = kvm.0.mmu_lock.write().unwrap();
        machine().spinning(true);
        Self {
            kvm,
            guard: Some(guard),
        }
    }

    /// Does something without the lock, which may sleep.
    pub fn without<R>(&mut self, f: impl FnOnce() -> R) -> R {
        machine().spinning(false);
        self.guard = None;
        let result = f();
        self.guard = Some(self.kvm.0.mmu_lock.write().unwrap());
        machine().spinning(true);
        result
    }

    /// Lets others have it.
    pub fn pause(&mut self) {
        self.without(super::sched::cond_resched);
    }
}

impl Drop for MmuWriteLock<'_> {
    fn drop(&mut self) {
        machine().spinning(false);
    }
}
