// SPDX-License-Identifier: GPL-2.0

//! What of KVM's objects is read here, with the locks that it takes.

use crate::{ffi, rmi::cmd::rec::RecName};
use core::{
    marker::PhantomData,
    mem::ManuallyDrop,
    ops::Range,
    sync::atomic::{AtomicU32, Ordering}, //
};
use kernel::{
    bindings,
    error::to_result,
    prelude::*,
    time::{delay::fsleep, Delta},
    types::NotThreadSafe, //
};

/// KVM's VM.
///
/// # Invariants
///
/// It is alive as long as this.
pub(crate) struct Kvm(*mut bindings::kvm);

impl Kvm {
    /// # Safety
    ///
    /// The VM is alive until what this returns is dropped.
    pub(crate) unsafe fn new(kvm: *mut bindings::kvm) -> Self {
        // INVARIANT: By the contract of this function.
        Self(kvm)
    }

    /// For KVM's own functions.
    pub(crate) fn as_ptr(&self) -> *mut bindings::kvm {
        self.0
    }
}

/// A read section of `kvm->srcu`: the memory slots that are there stay.
pub(crate) struct Slots<'a> {
    kvm: &'a Kvm,
    index: c_int,
    _task: NotThreadSafe,
}

/// Begins to look at the memory slots of a VM.
pub(crate) fn read_slots(kvm: &Kvm) -> Slots<'_> {
    // SAFETY: The VM is alive.
    let index = unsafe { bindings::srcu_read_lock(&raw mut (*kvm.0).srcu) };
    Slots {
        kvm,
        index,
        _task: NotThreadSafe,
    }
}

/// True if granule `gfn` is private, by the VM's memory attributes, which may change at any time. The
/// only place that knows where that stands.
pub(crate) fn is_private(kvm: &Kvm, gfn: u64) -> bool {
    // SAFETY: The VM is alive.
    unsafe { ffi::kvm_rmi_helper_mem_is_private(kvm.0, gfn) }
}

/// True if all granules are private, or all are not; see [`is_private`].
pub(crate) fn are(kvm: &Kvm, gfns: &Range<u64>, private: bool) -> bool {
    let mask = bindings::KVM_MEMORY_ATTRIBUTE_PRIVATE as c_ulong;
    let wanted = if private { mask } else { 0 };
    // SAFETY: The VM is alive.
    unsafe { bindings::kvm_range_has_memory_attributes(kvm.0, gfns.start, gfns.end, mask, wanted) }
}

/// The state of a VM's memory, to be compared when something is mapped: another one once anything was
/// invalidated.
pub(crate) fn invalidate_seq(kvm: &Kvm) -> c_ulong {
    // SAFETY: The VM is alive.
    unsafe { ffi::kvm_rmi_helper_mmu_invalidate_seq(kvm.0) }
}

/// True if memory of the VM is being unmapped.
pub(crate) fn is_invalidating(kvm: &Kvm) -> bool {
    // SAFETY: The VM is alive. It is only a hint.
    unsafe { (&raw const (*kvm.0).mmu_invalidate_in_progress).read_volatile() != 0 }
}

impl Slots<'_> {
    /// The slot that granule `gfn` is in.
    pub(crate) fn find(&self, gfn: u64) -> Option<Memslot<'_>> {
        // SAFETY: This is a read section, and the VM is alive.
        let slot = unsafe { ffi::kvm_rmi_helper_gfn_to_memslot(self.kvm.0, gfn) };
        (!slot.is_null()).then_some(Memslot {
            kvm: self.kvm,
            slot,
            _slots: PhantomData,
        })
    }

    /// The first slot, from the bottom, that has any of the granules `gfns`.
    pub(crate) fn first(&self, gfns: &Range<u64>) -> Option<Memslot<'_>> {
        // SAFETY: This is a read section, and the VM is alive.
        let slot = unsafe { ffi::kvm_rmi_helper_first_memslot(self.kvm.0, gfns.start, gfns.end) };
        (!slot.is_null()).then_some(Memslot {
            kvm: self.kvm,
            slot,
            _slots: PhantomData,
        })
    }

    /// See [`is_private`].
    pub(crate) fn is_private(&self, gfn: u64) -> bool {
        is_private(self.kvm, gfn)
    }

    /// See [`are`].
    pub(crate) fn are(&self, gfns: &Range<u64>, private: bool) -> bool {
        are(self.kvm, gfns, private)
    }

    /// See [`invalidate_seq`].
    pub(crate) fn invalidate_seq(&self) -> c_ulong {
        invalidate_seq(self.kvm)
    }
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        // SAFETY: Ends the section that this began.
        unsafe { bindings::srcu_read_unlock(&raw mut (*self.kvm.0).srcu, self.index) };
    }
}

/// A memory slot.
///
/// # Invariants
///
/// `slot` is a slot of `kvm`, and valid for `'a`.
pub(crate) struct Memslot<'a> {
    kvm: &'a Kvm,
    slot: *mut bindings::kvm_memory_slot,
    _slots: PhantomData<&'a Slots<'a>>,
}

impl Memslot<'_> {
    /// The slot's granules.
    pub(crate) fn gfns(&self) -> Range<u64> {
        // SAFETY: By the type's invariant; these fields do not change.
        let (base, pages) = unsafe { ((*self.slot).base_gfn, (*self.slot).npages) };
        base..base + pages as u64
    }

    /// True if the slot has private memory.
    pub(crate) fn has_gmem(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { has_gmem(self.slot) }
    }

    /// The page of granule `gfn`, which is in the slot, with a reference. It is zeroed if it is new.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EHWPOISON`, or `EFAULT` if the file was closed.
    pub(crate) fn get_pfn(&self, gfn: u64) -> Result<u64> {
        let mut pfn = 0;
        let mut page = core::ptr::null_mut();
        // SAFETY: By the type's invariant, and `gfn` is in the slot. The results have room.
        let result = unsafe {
            bindings::kvm_gmem_get_pfn(
                self.kvm.0,
                self.slot,
                gfn,
                &mut pfn,
                &mut page,
                core::ptr::null_mut(),
            )
        };
        to_result(result).map(|()| pfn)
    }

    /// True if the page of granule `gfn` is `pfn`.
    pub(crate) fn has_pfn(&self, gfn: u64, pfn: u64) -> bool {
        self.get_pfn(gfn).is_ok_and(|now| {
            // SAFETY: The page came with a reference.
            unsafe { put_pfn(now) };
            now == pfn
        })
    }
}

/// Drops a reference to a page.
///
/// # Safety
///
/// The caller has it.
unsafe fn put_pfn(pfn: u64) {
    // SAFETY: By the contract of this function.
    unsafe {
        ffi::kvm_rmi_helper_put_page(ffi::kvm_rmi_helper_phys_to_page(
            pfn << crate::GRANULE_SHIFT,
        ))
    };
}

/// `kvm_slot_has_gmem()`.
///
/// # Safety
///
/// `slot` is valid.
pub(crate) unsafe fn has_gmem(slot: *const bindings::kvm_memory_slot) -> bool {
    // SAFETY: By the contract of this function.
    unsafe { (*slot).flags & bindings::KVM_MEM_GUEST_MEMFD != 0 }
}

/// `kvm->mmu_lock`, held for reading.
pub(crate) struct MmuReadLock<'a> {
    kvm: &'a Kvm,
    _task: NotThreadSafe,
}

impl<'a> MmuReadLock<'a> {
    /// Takes the lock of a VM.
    pub(crate) fn new(kvm: &'a Kvm) -> Self {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_read_lock(kvm.0) };
        Self {
            kvm,
            _task: NotThreadSafe,
        }
    }

    /// The lock that KVM has taken, and will drop.
    ///
    /// # Safety
    ///
    /// This task holds the lock of `kvm` for reading until what this returns is gone.
    pub(crate) unsafe fn of_kvm(kvm: &'a Kvm) -> ManuallyDrop<Self> {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_assert_read(kvm.as_ptr()) };
        ManuallyDrop::new(Self {
            kvm,
            _task: NotThreadSafe,
        })
    }

    /// True if memory of the VM was invalidated since [`Slots::invalidate_seq`], or `gfns` are right
    /// now.
    pub(crate) fn invalidated_since(&self, seq: c_ulong, gfns: &Range<u64>) -> bool {
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
pub(crate) struct MmuWriteLock<'a> {
    kvm: &'a Kvm,
    _task: NotThreadSafe,
}

impl<'a> MmuWriteLock<'a> {
    /// Takes the lock of a VM.
    pub(crate) fn new(kvm: &'a Kvm) -> Self {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_write_lock(kvm.0) };
        Self {
            kvm,
            _task: NotThreadSafe,
        }
    }

    /// The lock that KVM has taken, and will drop.
    ///
    /// # Safety
    ///
    /// This task holds the lock of `kvm` for writing until what this returns is gone, and nothing else
    /// that spins. Who took the lock does not mind that it is dropped meanwhile, if that is done.
    pub(crate) unsafe fn of_kvm(kvm: &'a Kvm) -> ManuallyDrop<Self> {
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_assert_write(kvm.as_ptr()) };
        ManuallyDrop::new(Self {
            kvm,
            _task: NotThreadSafe,
        })
    }

    /// Does something without the lock, which may sleep.
    pub(crate) fn without<R>(&mut self, f: impl FnOnce() -> R) -> R {
        // SAFETY: By the constructors the lock is held, and it is taken again.
        unsafe { ffi::kvm_rmi_helper_mmu_write_unlock(self.kvm.0) };
        let result = f();
        // SAFETY: The VM is alive.
        unsafe { ffi::kvm_rmi_helper_mmu_write_lock(self.kvm.0) };
        result
    }

    /// Lets others have it.
    pub(crate) fn pause(&mut self) {
        self.without(|| ffi::kvm_rmi_helper_cond_resched());
    }
}

impl Drop for MmuWriteLock<'_> {
    fn drop(&mut self) {
        // SAFETY: This took the lock.
        unsafe { ffi::kvm_rmi_helper_mmu_write_unlock(self.kvm.0) };
    }
}

/// Place of ID_AA64DFR0_EL1 among a VM's ID registers: `IDREG_IDX()` of op0 3, CRm 5, op2 0.
const DFR0: usize = (5 - 1) << 3;
/// Number of breakpoints, less 1.
pub(crate) const DFR0_BRPS: u32 = bindings::ID_AA64DFR0_EL1_BRPs_SHIFT;
/// Number of watchpoints, less 1.
pub(crate) const DFR0_WRPS: u32 = bindings::ID_AA64DFR0_EL1_WRPs_SHIFT;

/// A VM's ID_AA64DFR0_EL1, 0 until a vCPU is initialised.
pub(crate) fn dfr0(kvm: &Kvm) -> u64 {
    // SAFETY: The VM is alive. It may change at this very moment, which is either before or after.
    unsafe { (&raw const (*kvm.0).arch.id_regs[DFR0]).read_volatile() }
}

/// Number of vCPUs that a VM has.
pub(crate) fn vcpu_count(kvm: &Kvm) -> c_int {
    // SAFETY: The VM is alive.
    unsafe { bindings::atomic_read(&raw const (*kvm.0).online_vcpus) }
}

/// The vCPUs that a VM has, whatever their numbers are, each valid as long as the VM.
fn vcpus(kvm: &Kvm) -> impl Iterator<Item = *mut bindings::kvm_vcpu> + '_ {
    // SAFETY: The VM is alive.
    let vcpus = (0..).map(move |index| unsafe { ffi::kvm_rmi_helper_get_vcpu(kvm.0, index) });
    vcpus.take_while(|vcpu| !vcpu.is_null())
}

/// The vCPU with number `id`, valid as long as the VM.
pub(crate) fn vcpu(kvm: &Kvm, id: c_int) -> Option<*mut bindings::kvm_vcpu> {
    // SAFETY: The VM is alive.
    let vcpu = unsafe { ffi::kvm_rmi_helper_get_vcpu_by_id(kvm.0, id) };
    (!vcpu.is_null()).then_some(vcpu)
}

/// The vCPU with an MPIDR, of which only affinity fields count.
pub(crate) fn vcpu_by_mpidr(kvm: &Kvm, mpidr: u64) -> Option<*mut bindings::kvm_vcpu> {
    // SAFETY: The VM is alive.
    let vcpu = unsafe { bindings::kvm_mpidr_to_vcpu(kvm.0, mpidr as c_ulong) };
    (!vcpu.is_null()).then_some(vcpu)
}

/// The program counter that `KVM_GET_ONE_REG` tells of.
///
/// # Safety
///
/// `vcpu` is valid, and this task holds its mutex.
pub(crate) unsafe fn pc(vcpu: *const bindings::kvm_vcpu) -> u64 {
    // SAFETY: By the contract of this function.
    unsafe { (*vcpu).arch.ctxt.regs.pc }
}

/// `kvm_arm_vcpu_stopped()`.
///
/// # Safety
///
/// `vcpu` is valid.
pub(crate) unsafe fn is_stopped(vcpu: *mut bindings::kvm_vcpu) -> bool {
    // SAFETY: By the contract of this function. The state may change at any time.
    let state = unsafe { (&raw const (*vcpu).arch.mp_state.mp_state).read_volatile() };
    state == bindings::KVM_MP_STATE_STOPPED
}

/// `kvm->slots_lock`.
pub(crate) struct SlotsLock<'a> {
    kvm: &'a Kvm,
    _task: NotThreadSafe,
}

impl<'a> SlotsLock<'a> {
    /// Takes the lock of a VM.
    ///
    /// # Errors
    ///
    /// `EINTR` for a signal: ioctls that take long hold it.
    pub(crate) fn new(kvm: &'a Kvm) -> Result<Self> {
        // SAFETY: The VM is alive.
        to_result(unsafe { ffi::kvm_rmi_helper_lock_slots_interruptible(kvm.0) })?;
        Ok(Self {
            kvm,
            _task: NotThreadSafe,
        })
    }
}

impl Drop for SlotsLock<'_> {
    fn drop(&mut self) {
        // SAFETY: This took the lock.
        unsafe { bindings::mutex_unlock(&raw mut (*self.kvm.0).slots_lock) };
    }
}

/// Calls `visit` for the granules of each slot that has private memory, under `slots_lock`.
///
/// # Errors
///
/// The first that `visit` returns.
pub(crate) fn for_each_gmem_slot<F: FnMut(Range<u64>) -> Result>(
    kvm: &Kvm,
    mut visit: F,
) -> Result {
    /// # Safety
    ///
    /// `slot` is a slot, and `arg` points to an `F` that nobody else uses.
    unsafe extern "C" fn step<F: FnMut(Range<u64>) -> Result>(
        slot: *mut bindings::kvm_memory_slot,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: By the contract of this function.
        let (has_gmem, base, pages, visit) = unsafe {
            (
                has_gmem(slot),
                (*slot).base_gfn,
                (*slot).npages as u64,
                &mut *arg.cast::<F>(),
            )
        };
        match has_gmem {
            true => kernel::error::from_result(|| visit(base..base + pages).map(|()| 0)),
            false => 0,
        }
    }
    // SAFETY: The VM is alive, and `visit` outlives the call.
    to_result(unsafe {
        ffi::kvm_rmi_helper_walk_memslots(kvm.0, core::ptr::from_mut(&mut visit).cast(), step::<F>)
    })
}

/// All vCPUs of a VM but one, locked, except for those that others have locked.
///
/// Nobody is waited for. Who has a vCPU locked may be at work on it for as long as user space likes
/// (its ioctl touches memory that user space has to bring first), and may want `slots_lock` or
/// another lock before it is done. So whoever finds vCPUs busy that it needs has to drop this, and
/// the lock that came before, before it waits.
pub(crate) struct OtherVcpus {
    locked: KVec<*mut bindings::kvm_vcpu>,
    busy: u32,
    _task: NotThreadSafe,
}

impl OtherVcpus {
    /// Locks those that can be, for who holds the mutex of `me`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn try_lock(slots: &SlotsLock<'_>, me: *mut bindings::kvm_vcpu) -> Result<Self> {
        let kvm = slots.kvm;
        // CAST: Not negative.
        let mut others = Self {
            locked: KVec::with_capacity(vcpu_count(kvm) as usize, GFP_KERNEL)?,
            busy: 0,
            _task: NotThreadSafe,
        };
        // SAFETY: The VM is alive.
        let nest = unsafe { &raw mut (*kvm.0).slots_lock };
        for vcpu in vcpus(kvm).filter(|vcpu| *vcpu != me) {
            // There is room, or the vCPU is left alone.
            others.locked.reserve(1, GFP_KERNEL)?;
            // SAFETY: The vCPU is valid as long as the VM, and `slots_lock` is held.
            match unsafe { ffi::kvm_rmi_helper_trylock_vcpu(vcpu, nest) } {
                true => others.locked.push(vcpu, GFP_KERNEL)?,
                false => others.busy += 1,
            }
        }
        Ok(others)
    }

    /// How many others have locked.
    pub(crate) fn busy(&self) -> u32 {
        self.busy
    }
}

impl Drop for OtherVcpus {
    fn drop(&mut self) {
        for vcpu in &self.locked {
            // SAFETY: This locked it.
            unsafe { bindings::mutex_unlock(&raw mut (**vcpu).mutex) };
        }
    }
}

/// The REC of a vCPU, if it has one.
///
/// # Safety
///
/// `vcpu` is valid, and no REC is being made for it.
pub(crate) unsafe fn rec_name(vcpu: *mut bindings::kvm_vcpu) -> Option<RecName> {
    // SAFETY: By the contract of this function.
    match unsafe { (*vcpu).arch.rmi.rec } {
        0 => None,
        rec => Some(RecName::from_raw(rec)),
    }
}

/// Notes that a vCPU has been turned on, in case it is about to stop: see `rec/psci.rs`.
///
/// # Safety
///
/// `vcpu` is valid.
pub(crate) unsafe fn mark_turned_on(vcpu: *mut bindings::kvm_vcpu) {
    // SAFETY: By the contract of this function. KVM reads and clears it as atomically.
    let mark = unsafe { AtomicU32::from_ptr(&raw mut (*vcpu).arch.rmi.turned_on) };
    mark.store(1, Ordering::SeqCst);
}

/// HCR_EL2.TWI: WFI is trapped.
pub(crate) const HCR_TWI: u64 = 1 << bindings::HCR_EL2_TWI_SHIFT;
/// HCR_EL2.TWE: WFE is trapped.
pub(crate) const HCR_TWE: u64 = 1 << bindings::HCR_EL2_TWE_SHIFT;

/// HPFAR_EL2.NS, which KVM takes for "valid".
const HPFAR_NS: u64 = 1 << bindings::HPFAR_EL2_NS_SHIFT;
/// Bits that an IPA is shifted by in HPFAR_EL2: it has the number of the 4K granule.
const HPFAR_SHIFT: u32 = 12 - bindings::HPFAR_EL2_FIPA_SHIFT;

/// HPFAR_EL2 for an IPA.
pub(crate) fn hpfar(ipa: u64) -> u64 {
    (ipa >> HPFAR_SHIFT) | HPFAR_NS
}

/// The IPA in what [`hpfar`] made.
pub(crate) fn ipa(hpfar: u64) -> u64 {
    (hpfar & !HPFAR_NS) << HPFAR_SHIFT
}

/// True if ESR_EL2 tells of an access that what is mapped does not allow.
pub(crate) fn is_permission_fault(esr: u64) -> bool {
    esr & u64::from(bindings::ESR_ELx_FSC_TYPE) == u64::from(bindings::ESR_ELx_FSC_PERM)
}

/// Lets others run for a moment, where trying again at once would only be in their way.
pub(crate) fn wait_a_little() {
    fsleep(Delta::from_micros(50));
}
