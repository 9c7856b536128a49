// SPDX-License-Identifier: GPL-2.0

//! KVM's VM, and `kvm->mmu_lock`.

use super::kernel::{
    bindings,
    ffi::c_ulong,
    types::NotThreadSafe, //
};
use super::{ffi, vcpu::Vcpu};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Range, //
};

/// KVM's VM.
///
/// # Invariants
///
/// It is alive as long as this.
pub struct Kvm(*mut bindings::kvm);

// SAFETY: It is only handed to functions of KVM that any task may call.
unsafe impl Send for Kvm {}
// SAFETY: As above.
unsafe impl Sync for Kvm {}

/// The state of a VM's memory: another one once anything was invalidated.
pub type Seq = u64;

/// Place of ID_AA64DFR0_EL1 among a VM's ID registers: `IDREG_IDX()` of op0 3, CRm 5, op2 0.
const DFR0: usize = (5 - 1) << 3;
/// Number of breakpoints, less 1, in ID_AA64DFR0_EL1.
pub const DFR0_BRPS: u32 = bindings::ID_AA64DFR0_EL1_BRPs_SHIFT;
/// Number of watchpoints, less 1, in ID_AA64DFR0_EL1.
pub const DFR0_WRPS: u32 = bindings::ID_AA64DFR0_EL1_WRPs_SHIFT;

/// The feature of a vCPU that has a PMU.
const PMU_V3: c_ulong = 1 << bindings::KVM_ARM_VCPU_PMU_V3;

impl Kvm {
    /// # Safety
    ///
    /// The VM is alive until what this returns is dropped.
    pub(super) unsafe fn new(kvm: *mut bindings::kvm) -> Self {
        // INVARIANT: By the contract of this function.
        Self(kvm)
    }

    /// For KVM's own functions.
    pub(super) fn as_ptr(&self) -> *mut bindings::kvm {
        self.0
    }

    /// True if anything is private by the VM's memory attributes, which may change at any time.
    pub fn has_attributes(&self) -> bool {
        // SAFETY: The VM is alive. As `xa_empty()`, which takes no lock either.
        let head = unsafe { (&raw const (*self.0).mem_attr_array.xa_head).read_volatile() };
        !head.is_null()
    }

    /// True if granule `gfn` is private, by the VM's memory attributes, which may change at any time.
    /// The only place that knows where that stands.
    pub fn is_private(&self, gfn: u64) -> bool {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mem_is_private(self.0, gfn) }
    }

    /// True if all granules are private, or all are not; see [`Self::is_private`].
    pub fn are(&self, gfns: &Range<u64>, private: bool) -> bool {
        let mask = bindings::KVM_MEMORY_ATTRIBUTE_PRIVATE as c_ulong;
        let wanted = if private { mask } else { 0 };
        // SAFETY: The VM is alive.
        unsafe {
            bindings::kvm_range_has_memory_attributes(self.0, gfns.start, gfns.end, mask, wanted)
        }
    }

    /// The state of the VM's memory, to be compared when something is mapped: read before everything
    /// that follows.
    pub fn invalidate_seq(&self) -> Seq {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_invalidate_seq(self.0) as Seq }
    }

    /// True if memory of the VM is being unmapped. It is only a hint.
    pub fn is_invalidating(&self) -> bool {
        // SAFETY: The VM is alive.
        unsafe { (&raw const (*self.0).mmu_invalidate_in_progress).read_volatile() != 0 }
    }

    /// The VM's ID_AA64DFR0_EL1, 0 until a vCPU is initialised.
    pub fn id_aa64dfr0(&self) -> u64 {
        // SAFETY: The VM is alive. It may change at this very moment, which is either before or after.
        unsafe { (&raw const (*self.0).arch.id_regs[DFR0]).read_volatile() }
    }

    /// Event counters of the PMU that the VM's vCPUs have, as they stand now; `None` without a PMU, or as
    /// long as none is initialised.
    pub fn pmu_counters(&self) -> Option<u64> {
        // SAFETY: The VM is alive. Either may change at this very moment, as above.
        let (features, counters) = unsafe {
            (
                (&raw const (*self.0).arch.vcpu_features).read_volatile(),
                ffi::kvm_rmi_helper_nr_pmu_counters(self.0),
            )
        };
        let [features] = features;
        (features & PMU_V3 != 0).then_some(counters.into())
    }

    /// Number of vCPUs.
    pub fn vcpu_count(&self) -> usize {
        // SAFETY: The VM is alive.
        let count = unsafe { bindings::atomic_read(&raw const (*self.0).online_vcpus) };
        usize::try_from(count).unwrap_or(0)
    }

    /// The vCPU with number `id`.
    pub fn vcpu(&self, id: u32) -> Option<Vcpu<'_>> {
        let id = i32::try_from(id).ok()?;
        // SAFETY: The VM is alive, and its vCPUs as long.
        unsafe { Vcpu::new(ffi::kvm_rmi_helper_get_vcpu_by_id(self.0, id)) }
    }

    /// The vCPU with an MPIDR, of which only affinity fields count.
    pub fn vcpu_by_mpidr(&self, mpidr: u64) -> Option<Vcpu<'_>> {
        // SAFETY: The VM is alive, and its vCPUs as long.
        unsafe { Vcpu::new(bindings::kvm_mpidr_to_vcpu(self.0, mpidr as c_ulong)) }
    }

    /// `kvm_vm_dead()`: no vCPU of the VM runs when this returns, and none will.
    pub fn kill(&self) {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_vm_dead(self.0) };
    }
}

/// `kvm->mmu_lock`, held for reading.
pub struct MmuReadLock<'a> {
    kvm: &'a Kvm,
    _task: NotThreadSafe,
}

impl<'a> MmuReadLock<'a> {
    /// Takes the lock of a VM.
    pub fn new(kvm: &'a Kvm) -> Self {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_read_lock(kvm.0) };
        Self {
            kvm,
            _task: PhantomData,
        }
    }

    /// The lock that KVM has taken, and will drop.
    ///
    /// # Safety
    ///
    /// This task holds the lock of `kvm` for reading until what this returns is gone.
    pub(super) unsafe fn of_kvm(kvm: &'a Kvm) -> ManuallyDrop<Self> {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_assert_read(kvm.0) };
        ManuallyDrop::new(Self {
            kvm,
            _task: PhantomData,
        })
    }

    /// True if memory of the VM was invalidated since [`Kvm::invalidate_seq`], or `gfns` are right now.
    pub fn invalidated_since(&self, seq: Seq, gfns: &Range<u64>) -> bool {
        let seq = seq as c_ulong;
        // SAFETY: The lock is held.
        unsafe { ffi::kvm_rmi_helper_mmu_invalidate_retry(self.kvm.0, seq, gfns.start, gfns.end) }
    }
}

impl Drop for MmuReadLock<'_> {
    fn drop(&mut self) {
        // SAFETY: This took the lock.
        unsafe { ffi::kvm_rmi_helper_mmu_read_unlock(self.kvm.0) };
    }
}

/// `kvm->mmu_lock`, held for writing. This task holds nothing else that spins.
pub struct MmuWriteLock<'a> {
    kvm: &'a Kvm,
    _task: NotThreadSafe,
}

impl<'a> MmuWriteLock<'a> {
    /// Takes the lock of a VM.
    pub fn new(kvm: &'a Kvm) -> Self {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_write_lock(kvm.0) };
        Self {
            kvm,
            _task: PhantomData,
        }
    }

    /// The lock that KVM has taken, and will drop.
    ///
    /// # Safety
    ///
    /// This task holds the lock of `kvm` for writing until what this returns is gone, and nothing else
    /// that spins. Who took the lock does not mind that it is dropped meanwhile, if that is done.
    pub(super) unsafe fn of_kvm(kvm: &'a Kvm) -> ManuallyDrop<Self> {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_assert_write(kvm.0) };
        ManuallyDrop::new(Self {
            kvm,
            _task: PhantomData,
        })
    }

    /// Does something without the lock, which may sleep.
    pub fn without<R>(&mut self, f: impl FnOnce() -> R) -> R {
        // SAFETY: By the constructors the lock is held, and it is taken again.
        unsafe { ffi::kvm_rmi_helper_mmu_write_unlock(self.kvm.0) };
        let result = f();
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_write_lock(self.kvm.0) };
        result
    }

    /// Lets others have it.
    pub fn pause(&mut self) {
        self.without(super::sched::cond_resched);
    }
}

impl Drop for MmuWriteLock<'_> {
    fn drop(&mut self) {
        // SAFETY: This took the lock.
        unsafe { ffi::kvm_rmi_helper_mmu_write_unlock(self.kvm.0) };
    }
}
