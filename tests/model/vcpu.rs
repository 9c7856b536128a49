// SPDX-License-Identifier: GPL-2.0

//! KVM's vCPUs.

use super::{kvm::Kvm, memory::Page, prelude::*};
use crate::rmi::{cmd::rec::RecName, SharedPage};
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use shuttle::sync::Condvar;
use std::any::Any;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::sync::Arc as StdArc;

/// What user space is told when it gets a vCPU back.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Exit {
    /// Nothing in particular.
    #[default]
    None,
    /// `KVM_EXIT_INTR`.
    Intr,
    /// `KVM_EXIT_INTERNAL_ERROR`.
    InternalError(u64),
    /// `KVM_EXIT_MEMORY_FAULT`.
    MemoryFault {
        /// The IPA.
        gpa: u64,
        /// Bytes.
        size: u64,
        /// The private half is meant.
        private: bool,
    },
    /// `KVM_EXIT_SYSTEM_EVENT`.
    SystemEvent,
    /// `KVM_EXIT_MMIO`, or what else there is no memory for.
    Mmio(u64),
    /// What KVM would emulate, by its ESR_EL2.
    Trap(u64),
    /// What `kvm_smccc_call_handler()` would answer, or user space.
    Hypercall(u64),
}

/// What a vCPU has not been given yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lacks {
    /// `KVM_ARM_VCPU_INIT`.
    Init = 1,
    /// `KVM_ARM_VCPU_FINALIZE`.
    Finalize,
    /// PSCI 0.2, or later.
    Psci,
}

/// What only the task has that runs the vCPU.
pub(super) struct Regs {
    pub(super) gprs: [u64; 31],
    pub(super) pc: u64,
    pub(super) fault: FaultInfo,
    pub(super) run_pa: u64,
    pub(super) result: u64,
    pub(super) exit: Exit,
    /// `kvm_arm_rmi_memory_fault.cause`.
    pub(super) fault_cause: u64,
    /// `kvm_arm_rmi_memory_fault.answer`.
    pub(super) fault_answer: u64,
    pub(super) owes: bool,
    /// `kvm_rmi_vcpu.bad_pages`.
    pub(super) bad_pages: u64,
    /// A first KVM_RUN has come past what can fail: `vcpu->pid`.
    pub(super) has_run: bool,
    /// An `Option<KBox<D>>`, once somebody has looked.
    ours: Option<Box<dyn Any>>,
}

/// `struct kvm_vcpu`.
pub struct VcpuState {
    pub(super) id: u32,
    index: usize,
    mutex: shuttle::sync::Mutex<bool>,
    unlocked: Condvar,
    rec: AtomicU64,
    pub(super) turned_on: AtomicBool,
    /// `mp_state`.
    pub(super) stopped: AtomicBool,
    /// Its longest SVE vector in quadwords; 0 without SVE.
    pub(super) sve_vq: AtomicU64,
    /// Event counters of its PMU, and 1; 0 without a PMU.
    pub(super) pmu: AtomicU64,
    /// One of [`Lacks`], or 0.
    pub(super) lacks: AtomicU64,
    regs: UnsafeCell<Regs>,
}

// SAFETY: Registers are used by the task alone that has the mutex, or has been lent them.
unsafe impl Sync for VcpuState {}
// SAFETY: As above.
unsafe impl Send for VcpuState {}

impl VcpuState {
    pub(super) fn new(id: u32, index: usize) -> Self {
        Self {
            id,
            index,
            mutex: shuttle::sync::Mutex::new(false),
            unlocked: Condvar::new(),
            rec: AtomicU64::new(0),
            turned_on: AtomicBool::new(false),
            stopped: AtomicBool::new(id != 0),
            sve_vq: AtomicU64::new(0),
            pmu: AtomicU64::new(0),
            lacks: AtomicU64::new(0),
            regs: UnsafeCell::new(Regs {
                gprs: [0; 31],
                pc: 0,
                fault: FaultInfo {
                    esr: 0,
                    offset: 0,
                    ipa: 0,
                },
                run_pa: 0,
                result: 0,
                exit: Exit::None,
                fault_cause: 0,
                fault_answer: 0,
                owes: false,
                bad_pages: 0,
                has_run: false,
                ours: None,
            }),
        }
    }

    pub(super) fn lock(&self) {
        super::machine::machine().may_sleep("vcpu->mutex");
        let mut locked = self.mutex.lock().unwrap();
        while *locked {
            locked = self.unlocked.wait(locked).unwrap();
        }
        *locked = true;
    }

    pub(super) fn try_lock(&self) -> bool {
        !core::mem::replace(&mut *self.mutex.lock().unwrap(), true)
    }

    pub(super) fn unlock(&self) {
        *self.mutex.lock().unwrap() = false;
        self.unlocked.notify_one();
    }

    /// # Safety
    ///
    /// The caller has the mutex, or was lent the vCPU, and uses nothing else of this meanwhile.
    #[allow(clippy::mut_from_ref, reason = "this is what the mutex is for")]
    unsafe fn regs(&self) -> &mut Regs {
        // SAFETY: By the contract of this function.
        unsafe { &mut *self.regs.get() }
    }
}

/// A vCPU, of which only little is known at any time.
#[derive(Clone)]
pub struct Vcpu<'a>(StdArc<VcpuState>, PhantomData<&'a Kvm>);

impl Vcpu<'_> {
    pub(super) fn new(vcpu: StdArc<VcpuState>) -> Self {
        Self(vcpu, PhantomData)
    }

    /// The REC, if there is one.
    pub fn rec(&self) -> Option<RecName> {
        match self.0.rec.load(Ordering::SeqCst) {
            0 => None,
            rec => Some(RecName::from_raw(rec)),
        }
    }

    /// Its longest SVE vector in quadwords; `None` without SVE.
    pub fn sve_vq(&self) -> Option<u64> {
        match self.0.sve_vq.load(Ordering::SeqCst) {
            0 => None,
            vq => Some(vq),
        }
    }

    /// Notes that the vCPU has been turned on.
    pub fn mark_turned_on(&self) {
        self.0.turned_on.store(true, Ordering::SeqCst);
    }
}

/// A vCPU whose mutex is held.
pub struct Locked<'a>(StdArc<VcpuState>, PhantomData<&'a mut ()>);

/// What KVM finds out about a fault.
#[derive(Clone, Copy, Debug)]
pub struct FaultInfo {
    /// ESR_EL2.
    pub esr: u64,
    /// The address in the page, of FAR_EL2.
    pub offset: u64,
    /// The IPA.
    pub ipa: u64,
}

impl Locked<'_> {
    pub(super) fn new(vcpu: StdArc<VcpuState>) -> Self {
        Self(vcpu, PhantomData)
    }

    pub(super) fn regs(&mut self) -> &mut Regs {
        // SAFETY: The mutex is held for this.
        unsafe { self.0.regs() }
    }

    fn see(&self) -> &Regs {
        // SAFETY: The mutex is held for this.
        unsafe { self.0.regs() }
    }

    /// See [`Vcpu::rec`].
    pub fn rec(&self) -> Option<RecName> {
        Vcpu(self.0.clone(), PhantomData).rec()
    }

    /// The number that user space gave it.
    pub fn id(&self) -> u32 {
        self.0.id
    }

    /// Its place among the VM's.
    pub fn index(&self) -> usize {
        self.0.index
    }

    /// x0 to x30.
    pub fn gprs(&self) -> &[u64; 31] {
        &self.see().gprs
    }

    /// x0 to x30.
    pub fn gprs_mut(&mut self) -> &mut [u64; 31] {
        &mut self.regs().gprs
    }

    /// The PC.
    pub fn pc(&self) -> u64 {
        self.see().pc
    }

    /// What the last REC_ENTER has returned in x0.
    pub fn entered(&self) -> u64 {
        self.see().result
    }

    /// True if WFI is to be trapped, and if WFE is.
    pub fn traps_waits(&self) -> (bool, bool) {
        (true, false)
    }

    /// What KVM is to take for ESR_EL2.
    pub fn set_esr(&mut self, esr: u64) {
        self.regs().fault.esr = esr;
    }

    /// What KVM is to take for a stage 2 fault.
    pub fn set_fault(&mut self, fault: FaultInfo) {
        self.regs().fault = fault;
    }

    /// The IPA of [`Self::set_fault`].
    pub fn fault_ipa(&mut self) -> u64 {
        self.regs().fault.ipa
    }

    /// True if the fault was an access that what is mapped does not allow.
    pub fn is_permission_fault(&mut self) -> bool {
        self.regs().fault.esr & 0x3c == 0xc
    }

    /// Tells user space that a signal has come.
    pub fn exit_intr(&mut self) {
        self.regs().exit = Exit::Intr;
    }

    /// Tells user space that nobody knows how to go on.
    pub fn exit_internal_error(&mut self, detail: u64) {
        self.regs().exit = Exit::InternalError(detail);
    }

    /// Tells user space to look after memory, for a cause of `KVM_ARM_RMI_FAULT_*`.
    pub fn exit_memory_fault(&mut self, gpa: u64, size: u64, private: bool, cause: u64) {
        self.regs().exit = Exit::MemoryFault { gpa, size, private };
        self.regs().fault_cause = cause;
        self.regs().fault_answer = 0;
    }

    /// The cause of a memory fault that KVM may be about to tell user space of: as above.
    pub fn set_fault_cause(&mut self, cause: u64) {
        self.regs().fault_cause = cause;
    }

    /// What user space has answered to [`Self::exit_memory_fault`].
    pub fn fault_answer(&mut self) -> u64 {
        self.regs().fault_answer
    }

    /// The vCPU does not run.
    pub fn is_stopped(&self) -> bool {
        self.0.stopped.load(Ordering::SeqCst)
    }

    fn lacks(&self, what: Lacks) -> bool {
        self.0.lacks.load(Ordering::SeqCst) == what as u64
    }

    /// It is initialised.
    pub fn is_initialized(&self) -> bool {
        !self.lacks(Lacks::Init)
    }

    /// Its SVE is finalised, or there is none.
    pub fn is_finalized(&self) -> bool {
        !self.lacks(Lacks::Finalize)
    }

    /// It has PSCI 0.2.
    pub fn has_psci_0_2(&self) -> bool {
        !self.lacks(Lacks::Psci)
    }

    /// Its longest SVE vector in quadwords.
    pub fn sve_vq(&self) -> Option<u64> {
        Vcpu(self.0.clone(), PhantomData).sve_vq()
    }

    /// PMCR_EL0, which has LC.
    pub fn pmcr(&self) -> Option<u64> {
        match self.0.pmu.load(Ordering::SeqCst) {
            0 => None,
            pmu => Some((pmu - 1) << 11 | 1 << 6),
        }
    }

    /// Its MPIDR.
    pub fn mpidr(&self) -> u64 {
        self.0.id.into()
    }

    /// The vCPU is a REC from now on.
    pub fn set_rec(&mut self, rec: RecName, run: &Page) {
        self.regs().run_pa = run.pa().raw();
        self.0.rec.store(rec.raw(), Ordering::SeqCst);
    }
}

/// A vCPU whose mutex is held, and what we keep for it.
pub struct Held<'a, D> {
    vcpu: Locked<'a>,
    _data: PhantomData<D>,
}

impl<D: 'static> Held<'_, D> {
    pub(super) fn new(vcpu: StdArc<VcpuState>) -> Self {
        Self {
            vcpu: Locked::new(vcpu),
            _data: PhantomData,
        }
    }

    pub(super) fn state(&self) -> &StdArc<VcpuState> {
        &self.vcpu.0
    }

    /// The number that user space gave it.
    pub fn id(&self) -> u32 {
        self.vcpu.id()
    }

    /// KVM's half of it, and what we keep for it.
    pub fn split(&mut self) -> (&mut Locked<'_>, &mut Option<KBox<D>>) {
        let state = StdArc::as_ptr(&self.vcpu.0);
        // SAFETY: The mutex is held for this, and of the registers nobody but this looks at `ours`.
        let ours = unsafe { &mut (*(*state).regs.get()).ours };
        let ours = ours.get_or_insert_with(|| Box::new(None::<KBox<D>>));
        let vcpu = core::ptr::from_mut(&mut self.vcpu).cast();
        // SAFETY: The same vCPU, for as long as `self` is borrowed.
        let vcpu = unsafe { &mut *vcpu };
        (vcpu, ours.downcast_mut().expect("one type"))
    }
}
