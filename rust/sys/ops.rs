// SPDX-License-Identifier: GPL-2.0

//! What KVM asks of a component that drives the RMM: `struct kvm_rmi_ops` in Rust's terms.

use super::{
    kvm::{Kvm, MmuReadLock, MmuWriteLock},
    prelude::*,
    slots::NewSlot,
    user::{OneReg, VmAttr},
    vcpu::{Held, Locked}, //
};
use crate::uapi::KvmArmRmiPopulate;
use core::ops::Range;

/// What does not change while a component is registered.
#[derive(Clone, Copy)]
pub struct Settings {
    /// Widest IPA space of a VM, in bits.
    pub ipa_limit: u32,
    /// Longest SVE vector in bytes, or 0.
    pub sve_max_vl: u32,
    /// Most breakpoints of a VM.
    pub breakpoints: u32,
    /// Most watchpoints of a VM.
    pub watchpoints: u32,
    /// Most event counters of a VM's PMU; `None` if it can have no PMU.
    pub pmu_counters: Option<u32>,
    /// List registers of a REC's vGIC, if the RMM switches that; or 0 if KVM does.
    pub list_registers: u32,
    /// Capabilities that a VM has of those that KVM has.
    pub caps: &'static [u32],
}

/// Flags of an entry.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// KVM has advanced the PC.
    pub pc_advanced: bool,
    /// KVM wants the vCPU to take a synchronous external abort.
    pub external_abort: bool,
}

/// What KVM has to do about an exit: what `handle_exit()` returns, or one of `enum kvm_rmi_exit`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i32)]
pub enum Next {
    /// Go to user space, with the reason that stands in `kvm_run`.
    User = 0,
    /// Enter the REC again.
    Enter = 1,
    /// Handle it as a trap of an ordinary vCPU.
    Trap,
    /// Handle it as a PSCI call, whose results go nowhere.
    Psci,
    /// Handle it as a hypercall.
    Hypercall,
    /// Call [`Component::complete`], and enter then.
    Complete,
    /// Stop the vCPU: another one, or itself, has turned it off.
    Off,
}

/// Memory that a realm is mapped at the IPA `ipa`, in the half that it shares with the host.
#[derive(Clone, Copy, Debug)]
pub struct Shared {
    /// Without the bit that tells the halves apart.
    pub ipa: u64,
    /// The memory.
    pub pa: u64,
    /// Bytes. A block or more is a power of two, to which both are aligned.
    pub size: u64,
    /// The realm may write.
    pub writable: bool,
}

/// Which halves of the IPA space are meant.
#[derive(Clone, Copy, Debug)]
pub struct Halves {
    /// What is the realm's alone.
    pub private: bool,
    /// What it shares with the host.
    pub shared: bool,
}

/// What user space wants to do with an attribute of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AttrOp {
    /// `KVM_HAS_DEVICE_ATTR`.
    Has,
    /// `KVM_GET_DEVICE_ATTR`.
    Get,
    /// `KVM_SET_DEVICE_ATTR`.
    Set,
}

/// The component's half of a VM, by what KVM asks of it. The errors are those of the user ABI
/// (`uapi/README.md`), but where it says otherwise.
pub trait Component: Sized + Send + Sync + 'static {
    /// What all VMs have.
    type Host: Send + Sync + 'static;
    /// What is kept for a vCPU.
    type Vcpu: Send + 'static;

    /// `KVM_CREATE_VM`: a VM with an IPA space of `ipa_bits`.
    ///
    /// # Errors
    ///
    /// See above.
    fn init_vm(host: &Arc<Self::Host>, kvm: Kvm, ipa_bits: u32) -> Result<Arc<Self>>;

    /// True if the VM can have SVE.
    fn has_sve(&self) -> bool;

    /// True if the VM can have a PMU.
    fn has_pmu(&self) -> bool;

    /// The VM's address space goes away, or its last file descriptor: no vCPU runs any more.
    fn flush(&self);

    /// The VM goes away.
    fn destroy(&self);

    /// A vCPU goes away, for which this was kept.
    fn destroy_vcpu(&self, vcpu: KBox<Self::Vcpu>);

    /// An attribute of the group `KVM_ARM_VM_RMI_CTRL`.
    ///
    /// # Errors
    ///
    /// See above.
    fn vm_attr(&self, op: AttrOp, attr: &VmAttr) -> Result;

    /// `KVM_ARM_RMI_POPULATE`; `args` are brought up to date as it goes.
    ///
    /// # Errors
    ///
    /// See above.
    fn populate(&self, args: &mut KvmArmRmiPopulate) -> Result;

    /// `KVM_PRE_FAULT_MEMORY`: maps private memory of `ipas`, which is not empty, from its start on.
    /// Returns how many bytes are mapped there, at least a page.
    ///
    /// # Errors
    ///
    /// See above; never `EIO`, which KVM takes for an error of its own.
    fn pre_fault(&self, vcpu: &mut Held<'_, Self::Vcpu>, ipas: Range<u64>) -> Result<u64>;

    /// A vCPU is about to run for the first time since it was initialised.
    ///
    /// # Errors
    ///
    /// See above.
    fn first_run(&self, vcpu: &mut Held<'_, Self::Vcpu>) -> Result;

    /// Does what is owed before the next entry. That is [`Next::Enter`], or [`Next::User`] if nobody
    /// knows how to go on.
    ///
    /// # Errors
    ///
    /// See above.
    fn complete(&self, vcpu: &mut Locked<'_>, data: &mut Self::Vcpu) -> Result<Next>;

    /// Memory of the host has gone bad: perhaps some that the RMM has for this VM. [`Next::Enter`] if not,
    /// [`Next::User`] if that is the VM's end.
    fn memory_failed(&self, vcpu: &mut Locked<'_>, data: &mut Self::Vcpu) -> Next;

    /// Describes the next entry. Interrupts are off.
    fn enter(&self, vcpu: &mut Locked<'_>, data: &mut Self::Vcpu, entry: Entry);

    /// Takes note of an exit.
    ///
    /// # Errors
    ///
    /// What KVM_RUN returns.
    fn handle_exit(&self, vcpu: &mut Locked<'_>, data: &mut Self::Vcpu) -> Result<Next>;

    /// Whether user space may set a register of a vCPU. True if there is nothing to do: it has that
    /// value.
    ///
    /// # Errors
    ///
    /// See above.
    fn may_set_reg(&self, vcpu: &mut Held<'_, Self::Vcpu>, reg: &OneReg) -> Result<bool>;

    /// The number of the `n`th register that user space is told of; `None` after the last.
    fn listed_reg(&self, vcpu: &mut Held<'_, Self::Vcpu>, n: usize) -> Option<u64>;

    /// Maps memory after a fault in the shared half.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if [`Self::make_room`] has to be called without the lock, and then the fault be looked at
    /// again.
    fn map_shared(
        &self,
        vcpu: &mut Locked<'_>,
        data: &mut Self::Vcpu,
        memory: Shared,
        lock: &MmuReadLock<'_>,
    ) -> Result;

    /// After an attempt to map shared memory, makes what it lacked. True if it makes sense to try again.
    ///
    /// # Errors
    ///
    /// See above.
    fn make_room(&self, data: &mut Self::Vcpu) -> Result<bool>;

    /// Whether the VM may have a memory slot.
    ///
    /// # Errors
    ///
    /// See above.
    fn check_slot(&self, slot: &NewSlot) -> Result;

    /// Takes memory out of the realm. The lock may be dropped meanwhile if `may_block`. False if the RMM may
    /// have private memory of that still: nobody else may get it.
    fn unmap(
        &self,
        gfns: Range<u64>,
        halves: Halves,
        lock: &mut MmuWriteLock<'_>,
        may_block: bool,
    ) -> bool;
}
