// SPDX-License-Identifier: GPL-2.0

//! KVM's vCPUs: seen from anywhere, and with `vcpu->mutex` held.
//!
//! `struct kvm_vcpu` is written by other CPUs, and `struct kvm_run` by user space, at any time. So there
//! never is a reference to either, but to fields that only the task has that runs the vCPU.

use super::kernel::{
    bindings,
    prelude::*, //
};
use super::{
    ffi,
    memory::Page, //
};
use crate::{
    rmi::{cmd::rec::RecName, SharedPage},
    uapi::KvmArmRmiMemoryFault, //
};
use core::{
    marker::PhantomData,
    sync::atomic::{AtomicU32, Ordering}, //
};

/// A vCPU, of which only little is known at any time.
///
/// # Invariants
///
/// It is valid for `'a`.
#[derive(Clone, Copy)]
pub struct Vcpu<'a>(*mut bindings::kvm_vcpu, PhantomData<&'a ()>);

impl<'a> Vcpu<'a> {
    /// # Safety
    ///
    /// `vcpu` is null, for none, or valid for `'a`.
    pub(super) unsafe fn new(vcpu: *mut bindings::kvm_vcpu) -> Option<Self> {
        (!vcpu.is_null()).then_some(Self(vcpu, PhantomData))
    }

    /// The REC, if there is one. A VM gets all of them before its first vCPU runs.
    pub fn rec(&self) -> Option<RecName> {
        // SAFETY: By the type's invariant. It is written once, as a word.
        match unsafe { (&raw const (*self.0).arch.rmi.rec).read_volatile() } {
            0 => None,
            rec => Some(RecName::from_raw(rec)),
        }
    }

    /// Its longest SVE vector in quadwords, of which another task may make something else; `None` without
    /// SVE.
    pub fn sve_vq(&self) -> Option<u64> {
        // SAFETY: By the type's invariant.
        match unsafe { ffi::kvm_rmi_helper_vcpu_sve_vq(self.0) } {
            0 => None,
            vq => Some(vq.into()),
        }
    }

    /// Notes that the vCPU has been turned on, in case it is about to stop: see `rec/psci.rs`.
    pub fn mark_turned_on(&self) {
        // SAFETY: By the type's invariant. KVM reads and clears it as atomically.
        let mark = unsafe { AtomicU32::from_ptr(&raw mut (*self.0).arch.rmi.turned_on) };
        mark.store(1, Ordering::SeqCst);
    }
}

/// A vCPU whose mutex is held by this task, or by one that waits meanwhile (see [`Waiting`]).
///
/// # Invariants
///
/// It is valid, and nobody else has its registers, its fault information or its half of us.
pub struct Locked<'a>(*mut bindings::kvm_vcpu, PhantomData<&'a mut ()>);

/// What KVM finds out about a fault, as the registers would have it.
#[derive(Clone, Copy, Debug)]
pub struct FaultInfo {
    /// ESR_EL2.
    pub esr: u64,
    /// The address in the page, of FAR_EL2.
    pub offset: u64,
    /// The IPA.
    pub ipa: u64,
}

// It fits in where the exits are, begins as the kernel's own, and what follows is nobody's.
const _: () = {
    let run = core::mem::MaybeUninit::<bindings::kvm_run>::uninit();
    // SAFETY: Only sizes are asked for.
    let exits = unsafe { &(*run.as_ptr()).__bindgen_anon_1 };
    // SAFETY: As above.
    let own = unsafe { &exits.memory_fault };
    assert!(size_of::<KvmArmRmiMemoryFault>() <= core::mem::size_of_val(exits));
    assert!(core::mem::offset_of!(KvmArmRmiMemoryFault, cause) == core::mem::size_of_val(own));
};

/// HPFAR_EL2.NS, which KVM takes for "valid".
const HPFAR_NS: u64 = 1 << bindings::HPFAR_EL2_NS_SHIFT;
/// Bits that an IPA is shifted by in HPFAR_EL2: it has the number of the 4K granule.
const HPFAR_SHIFT: u32 = 12 - bindings::HPFAR_EL2_FIPA_SHIFT;

impl Locked<'_> {
    /// # Safety
    ///
    /// For `'a` `vcpu` is valid, its mutex is held, and this is the only `Locked` of it in use.
    unsafe fn new(vcpu: *mut bindings::kvm_vcpu) -> Self {
        // INVARIANT: By the contract of this function.
        Self(vcpu, PhantomData)
    }

    /// See [`Vcpu::rec`].
    pub fn rec(&self) -> Option<RecName> {
        Vcpu(self.0, PhantomData).rec()
    }

    /// The number that user space gave it.
    pub fn id(&self) -> u32 {
        // SAFETY: By the type's invariant; it does not change.
        let id = unsafe { (*self.0).vcpu_id };
        u32::try_from(id).unwrap_or(u32::MAX)
    }

    /// Its place among the VM's.
    pub fn index(&self) -> usize {
        // SAFETY: By the type's invariant; it does not change.
        let index = unsafe { (*self.0).vcpu_idx };
        usize::try_from(index).unwrap_or(usize::MAX)
    }

    /// x0 to x30.
    pub fn gprs(&self) -> &[u64; 31] {
        // SAFETY: By the type's invariant.
        unsafe { &(*self.0).arch.ctxt.regs.regs }
    }

    /// x0 to x30.
    pub fn gprs_mut(&mut self) -> &mut [u64; 31] {
        // SAFETY: By the type's invariant.
        unsafe { &mut (*self.0).arch.ctxt.regs.regs }
    }

    /// The PC.
    pub fn pc(&self) -> u64 {
        // SAFETY: By the type's invariant.
        unsafe { (*self.0).arch.ctxt.regs.pc }
    }

    /// What the last REC_ENTER has returned in x0.
    pub fn entered(&self) -> u64 {
        // SAFETY: By the type's invariant; only the task that runs the vCPU writes it.
        unsafe { (*self.0).arch.rmi.result }
    }

    /// True if WFI is to be trapped, and if WFE is.
    pub fn traps_waits(&self) -> (bool, bool) {
        // SAFETY: By the type's invariant; other tasks may change bits of HCR_EL2, though not these.
        let hcr = unsafe { (&raw const (*self.0).arch.hcr_el2).read_volatile() };
        let has = |shift: u32| hcr & (1 << shift) != 0;
        (
            has(bindings::HCR_EL2_TWI_SHIFT),
            has(bindings::HCR_EL2_TWE_SHIFT),
        )
    }

    fn fault_info(&mut self) -> &mut bindings::kvm_vcpu_fault_info {
        // SAFETY: By the type's invariant.
        unsafe { &mut (*self.0).arch.fault }
    }

    /// What KVM is to take for ESR_EL2.
    pub fn set_esr(&mut self, esr: u64) {
        self.fault_info().esr_el2 = esr;
    }

    /// What KVM is to take for a stage 2 fault.
    pub fn set_fault(&mut self, fault: FaultInfo) {
        let info = self.fault_info();
        info.esr_el2 = fault.esr;
        info.far_el2 = fault.offset;
        info.hpfar_el2 = (fault.ipa >> HPFAR_SHIFT) | HPFAR_NS;
    }

    /// The IPA of [`Self::set_fault`].
    pub fn fault_ipa(&mut self) -> u64 {
        (self.fault_info().hpfar_el2 & !HPFAR_NS) << HPFAR_SHIFT
    }

    /// True if the fault was an access that what is mapped does not allow.
    pub fn is_permission_fault(&mut self) -> bool {
        let (mask, permission) = (bindings::ESR_ELx_FSC_TYPE, bindings::ESR_ELx_FSC_PERM);
        self.fault_info().esr_el2 & u64::from(mask) == u64::from(permission)
    }

    /// Tells user space that a signal has come.
    pub fn exit_intr(&mut self) {
        self.set_exit_reason(bindings::KVM_EXIT_INTR);
    }

    /// Tells user space that nobody knows how to go on. `detail` is for it to print.
    pub fn exit_internal_error(&mut self, detail: u64) {
        self.set_exit_reason(bindings::KVM_EXIT_INTERNAL_ERROR);
        let suberror = bindings::KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
        // SAFETY: By the type's invariant. User space may write there at any time.
        unsafe {
            let internal = &raw mut (*(*self.0).run).__bindgen_anon_1.internal;
            (&raw mut (*internal).suberror).write_volatile(suberror);
            (&raw mut (*internal).ndata).write_volatile(1);
            (&raw mut (*internal).data[0]).write_volatile(detail);
        }
    }

    /// Tells user space to look after memory, for a cause of `KVM_ARM_RMI_FAULT_*`.
    pub fn exit_memory_fault(&mut self, gpa: u64, size: u64, private: bool, cause: u64) {
        // SAFETY: By the type's invariant.
        unsafe { ffi::kvm_rmi_helper_prepare_memory_fault_exit(self.0, gpa, size, private) };
        self.set_fault_cause(cause);
        // SAFETY: By the type's invariant. User space may write there at any time.
        unsafe { (&raw mut (*self.long_memory_fault()).answer).write_volatile(0) };
    }

    /// The cause of a memory fault that KVM may be about to tell user space of: as above.
    pub fn set_fault_cause(&mut self, cause: u64) {
        // SAFETY: By the type's invariant. User space may write there at any time.
        unsafe { (&raw mut (*self.long_memory_fault()).cause).write_volatile(cause) };
    }

    /// What user space has answered to [`Self::exit_memory_fault`].
    pub fn fault_answer(&self) -> u64 {
        // SAFETY: By the type's invariant. User space may write there at any time.
        unsafe { (&raw const (*self.long_memory_fault()).answer).read_volatile() }
    }

    /// `kvm_run.memory_fault`, with what the other exits have room for.
    fn long_memory_fault(&self) -> *mut KvmArmRmiMemoryFault {
        // SAFETY: By the type's invariant.
        unsafe { (&raw mut (*(*self.0).run).__bindgen_anon_1).cast() }
    }

    fn set_exit_reason(&mut self, reason: u32) {
        // SAFETY: By the type's invariant. User space may write there at any time.
        unsafe { (&raw mut (*(*self.0).run).exit_reason).write_volatile(reason) };
    }

    /// `kvm_arm_vcpu_stopped()`; the state may change at any time.
    pub fn is_stopped(&self) -> bool {
        // SAFETY: By the type's invariant.
        let state = unsafe { (&raw const (*self.0).arch.mp_state.mp_state).read_volatile() };
        state == bindings::KVM_MP_STATE_STOPPED
    }

    /// `kvm_vcpu_initialized()`.
    pub fn is_initialized(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { ffi::kvm_rmi_helper_vcpu_is_initialized(self.0) }
    }

    /// `kvm_arm_vcpu_is_finalized()`.
    pub fn is_finalized(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { ffi::kvm_rmi_helper_vcpu_is_finalized(self.0) }
    }

    /// `vcpu_has_feature(KVM_ARM_VCPU_PSCI_0_2)`.
    pub fn has_psci_0_2(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { ffi::kvm_rmi_helper_vcpu_has_psci_0_2(self.0) }
    }

    /// Its longest SVE vector in quadwords; `None` without SVE.
    pub fn sve_vq(&self) -> Option<u64> {
        Vcpu(self.0, PhantomData).sve_vq()
    }

    /// PMCR_EL0, by which user space chooses how many event counters there are; `None` without a PMU.
    pub fn pmcr(&self) -> Option<u64> {
        // SAFETY: By the type's invariant.
        unsafe {
            let has_pmu = ffi::kvm_rmi_helper_vcpu_has_pmu(self.0);
            has_pmu.then(|| ffi::kvm_rmi_helper_vcpu_read_pmcr(self.0))
        }
    }

    /// `kvm_vcpu_get_mpidr_aff()`.
    pub fn mpidr(&self) -> u64 {
        // SAFETY: By the type's invariant.
        unsafe { ffi::kvm_rmi_helper_vcpu_mpidr_aff(self.0) }
    }

    /// The vCPU is a REC from now on, which is entered with `run`.
    ///
    /// `run` has to stay as long as the vCPU: it belongs to what is kept in [`Held`].
    pub fn set_rec(&mut self, rec: RecName, run: &Page) {
        // SAFETY: By the type's invariant. Others look only at `rec`, and take it for a number.
        unsafe {
            let arch = &raw mut (*self.0).arch.rmi;
            (*arch).run = run.address();
            (*arch).run_pa = run.pa().raw();
            (&raw mut (*arch).rec).write_volatile(rec.raw());
        }
    }
}

/// A vCPU whose mutex is held, and what we keep for it.
///
/// # Invariants
///
/// `data` is `arch.rmi.priv` of the vCPU, which is null or a `KBox<D>`: an `Option` of it.
pub struct Held<'a, D> {
    vcpu: Locked<'a>,
    data: *mut Option<KBox<D>>,
}

// SAFETY: Both are used by one task at a time, whoever has this.
unsafe impl<D: Send> Send for Held<'_, D> {}

const _: () = assert!(size_of::<Option<KBox<u64>>>() == size_of::<*mut c_void>());

impl<D> Held<'_, D> {
    /// # Safety
    ///
    /// As for [`Locked::new`]; and `D` is the type of what we keep for vCPUs.
    pub(super) unsafe fn new(vcpu: *mut bindings::kvm_vcpu) -> Self {
        // SAFETY: By the contract of this function.
        unsafe {
            Self {
                vcpu: Locked::new(vcpu),
                // INVARIANT: A box is a pointer that is not null, and so its option is as well.
                data: (&raw mut (*vcpu).arch.rmi.priv_).cast(),
            }
        }
    }

    pub(super) fn as_ptr(&self) -> *mut bindings::kvm_vcpu {
        self.vcpu.0
    }

    /// The number that user space gave it.
    pub fn id(&self) -> u32 {
        self.vcpu.id()
    }

    /// KVM's half of it, and what we keep for it.
    pub fn split(&mut self) -> (&mut Locked<'_>, &mut Option<KBox<D>>) {
        // SAFETY: By the type's invariant, and that of `Locked`: for as long as `self` is borrowed.
        unsafe { (&mut *(&raw mut self.vcpu).cast(), &mut *self.data) }
    }
}
