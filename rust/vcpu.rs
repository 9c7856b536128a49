// SPDX-License-Identifier: GPL-2.0

//! A vCPU that is a REC: between its exits and its entries.
//!
//! `rec/` and `exit/` decide what an exit means and what the next entry needs; what is here does it
//! with KVM's means. Only the task that runs a vCPU comes here, under `vcpu->mutex`.

use crate::{
    ending::Cause,
    exit::{
        Exit,
        Fault,
        Half,
        Psci,
        PsciCall,
        Refused,
        Ripas,
        Sync, //
    },
    ffi,
    host::errno,
    memory::{HostPages, RmmBuffer},
    private::{self, Faulted},
    rec::{
        self,
        entry::Input,
        Progress,
        Wake, //
    },
    ripas::RipasChange,
    rmi::{
        cmd::{data, rec as cmd},
        Delegated,
        GranuleRange,
        ReturnCode,
        GRANULE_SIZE, //
    },
    shared::{self, Mapped, Mapping, Wanted},
    smccc::Pause,
    trace,
    views::{self, MmuReadLock},
    vm::Vm, //
};
use core::sync::atomic::Ordering;
use kernel::{
    bindings,
    fmt,
    pr_err_once,
    prelude::*, //
};

/// Attempts to map shared memory while other memory of the VM is being unmapped, before the vCPU is
/// entered again.
const TRIES: u32 = 8;

/// What a REC is made of.
pub(crate) struct Parts {
    /// For its parameters, zeroed.
    pub(crate) page: RmmBuffer,
    pub(crate) granule: GranuleRange<Delegated>,
}

/// What a REC needs.
pub(crate) struct RecVcpu {
    /// The REC, from when there is one.
    pub(crate) rec: Option<cmd::Rec>,
    /// What it was made with.
    pub(crate) begins_with: Option<cmd::Params>,
    /// What it will be made of, until it is.
    pub(crate) parts: Option<Parts>,
    /// The page that its entries and exits are described in.
    pub(crate) run: RmmBuffer,
    /// For lists, when memory is mapped.
    list: RmmBuffer,
    state: rec::Vcpu,
    /// What the last attempt to map shared memory lacked.
    wanted: Option<Wanted>,
    /// It mapped something.
    mapped: bool,
    /// Attempts to map shared memory that were in vain since.
    tries: u32,
    /// Where the last exit was a private fault.
    faulted: Option<u64>,
    /// The state of the VM's memory when the last shared fault began.
    seen: c_ulong,
}

impl RecVcpu {
    /// A vCPU that has no REC yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn new() -> Result<KBox<Self>> {
        let new = Self {
            rec: None,
            begins_with: None,
            parts: None,
            run: RmmBuffer::new()?,
            list: RmmBuffer::new()?,
            state: rec::Vcpu::new(),
            wanted: None,
            mapped: false,
            tries: 0,
            faulted: None,
            seen: 0,
        };
        Ok(KBox::new(new, GFP_KERNEL_ACCOUNT)?)
    }

    /// Sets aside what its REC takes, so that making one fails for want of the host's memory as seldom
    /// as can be.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
    pub(crate) fn prepare(&mut self, vm: &Vm) -> Result {
        if self.rec.is_none() && self.parts.is_none() {
            self.parts = Some(Parts {
                page: RmmBuffer::new()?,
                granule: vm.alloc_delegated(0)?,
            });
        }
        Ok(())
    }

    /// The vCPU goes away.
    pub(crate) fn destroy(self: KBox<Self>, vm: &Vm) {
        let mut this = KBox::into_inner(self);
        if let Some(parts) = this.parts {
            vm.free(parts.granule);
        }
        if this.rec.is_none() {
            return;
        }
        vm.recs.fetch_sub(1, Ordering::Relaxed);
        let rmi = vm.rmi(Pause::Resched);
        match cmd::destroy(&rmi, &mut this.rec, &HostPages, &mut this.list) {
            Ok(granule) => granule.into_iter().for_each(|granule| vm.free(granule)),
            Err(_) => {
                pr_err_once!("a REC cannot be destroyed; its memory is lost\n");
                if let Some(rec) = this.rec {
                    rec.leak(&rmi);
                }
            }
        }
    }
}

/// A vCPU at work: KVM's half and ours.
///
/// # Invariants
///
/// `vcpu` is valid and its mutex is held by this task.
pub(crate) struct Running<'a> {
    pub(crate) vm: &'a Vm,
    pub(crate) vcpu: *mut bindings::kvm_vcpu,
    pub(crate) rec: &'a mut RecVcpu,
}

/// What KVM has to do about an exit.
pub(crate) enum Next {
    /// Enter the REC again.
    Enter,
    /// Go to user space, with the reason that stands in `kvm_run`.
    User,
    /// One of `enum kvm_rmi_exit`.
    Kvm(bindings::kvm_rmi_exit),
}

const KVM_PSCI: Next = Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_PSCI);

impl Running<'_> {
    /// What KVM knows of the vCPU's last fault. Only the task that runs the vCPU looks there; the rest
    /// of `struct kvm_vcpu_arch` other tasks write at any time, so that there is no reference to it.
    fn fault(&mut self) -> &mut bindings::kvm_vcpu_fault_info {
        // SAFETY: By the type's invariant, and nobody else has it.
        unsafe { &mut (*self.vcpu).arch.fault }
    }

    /// KVM's number of the vCPU.
    pub(crate) fn id(&self) -> c_int {
        // SAFETY: By the type's invariant; it does not change.
        unsafe { (*self.vcpu).vcpu_id }
    }

    /// Tells user space why it gets the vCPU back.
    fn set_exit_reason(&mut self, reason: u32) {
        // SAFETY: By the type's invariant. User space may write there at any time.
        unsafe { (&raw mut (*(*self.vcpu).run).exit_reason).write_volatile(reason) };
    }

    /// Describes the next entry. Interrupts are off.
    pub(crate) fn enter(&mut self, flags: c_ulong) {
        // SAFETY: By the type's invariant. Only this task uses the registers; other tasks may change
        // bits of HCR_EL2, though not these.
        let (hcr, gprs) = unsafe {
            let arch = &raw const (*self.vcpu).arch;
            let hcr = (&raw const (*arch).hcr_el2).read_volatile();
            (hcr, &(*arch).ctxt.regs.regs)
        };
        let has = |bit: bindings::kvm_rmi_entry| flags & bit as c_ulong != 0;
        let input = Input {
            advanced: has(bindings::kvm_rmi_entry_KVM_RMI_ENTRY_PC_ADVANCED),
            external_abort: has(bindings::kvm_rmi_entry_KVM_RMI_ENTRY_SEA_PENDING),
            trap_wfi: hcr & views::HCR_TWI != 0,
            trap_wfe: hcr & views::HCR_TWE != 0,
            gprs,
        };
        // What has to be done first has been done: `complete()` runs before, and comes back until it
        // is. Were it not so, the RMM would refuse.
        let _ = self.rec.state.prepare(&input, &mut self.rec.run);
        self.vm.ending.enters(self.vcpu);
        trace::rec_enter(self);
    }

    /// Takes note of an exit.
    ///
    /// # Errors
    ///
    /// What KVM_RUN returns, see `uapi/README.md`.
    pub(crate) fn exited(&mut self) -> Result<Next> {
        // SAFETY: By the type's invariant; only this task writes it.
        let x0 = ReturnCode::new(unsafe { (*self.vcpu).arch.rmi.result });
        self.vm.rmi(Pause::Never).entered(x0);
        trace::rec_exit(self, x0);
        let exit = self.rec.state.exited(x0, &self.rec.run, self.vm.space);
        let off = matches!(exit, Ok(Exit::Psci(Psci::SystemOff | Psci::SystemReset)));
        self.vm.ending.left(self.vcpu, off);
        match exit {
            Ok(exit) => self.handle(exit),
            Err(Refused::RealmOff) => Ok(self.realm_off(x0)),
            Err(Refused::NotReady) => Err(EAGAIN),
            Err(Refused::TurnedOff) => Ok(Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_OFF)),
            Err(Refused::Failed(code)) => {
                let why = fmt!("a REC cannot be entered: {:?}", code.status());
                Ok(self.internal_error(code.raw(), why))
            }
        }
    }

    /// # Errors
    ///
    /// As for [`Self::exited`].
    fn handle(&mut self, exit: Exit) -> Result<Next> {
        // SAFETY: By the type's invariant, and nobody else uses the registers.
        let regs = unsafe { &mut (*self.vcpu).arch.ctxt.regs.regs };
        exit.take_gprs(&self.rec.run, regs);
        match exit {
            Exit::Irq | Exit::Fiq => Ok(Next::Enter),
            Exit::Sync(Sync::Fault(fault)) => match fault.half {
                Half::Protected => self.private_fault(&fault),
                Half::Unprotected => self.shared_fault(&fault),
            },
            Exit::Sync(Sync::Sysreg(trap)) => Ok(self.trap(trap.esr)),
            Exit::Sync(Sync::Wait { esr }) => Ok(self.trap(esr)),
            Exit::Psci(psci) => self.psci(psci),
            Exit::Ripas(_) => Ok(Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_COMPLETE)),
            // Its results stand in the registers already.
            Exit::HostCall(call) if call.is_psci => Ok(Next::Enter),
            Exit::HostCall(call) => {
                self.fault().esr_el2 = call.esr();
                Ok(Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_HYPERCALL))
            }
            Exit::SError {
                contained: true, ..
            } => Ok(Next::Enter),
            Exit::SError { esr, .. } => Ok(self.internal_error(esr, fmt!("SError, ESR {esr:#x}"))),
            Exit::Sync(Sync::ExternalAbort { esr, told }) => Ok(self.external_abort(esr, told)),
            Exit::Sync(Sync::Unknown { esr }) => {
                Ok(self.internal_error(esr, fmt!("an unknown exit, ESR {esr:#x}")))
            }
            Exit::Unknown { reason } => {
                let why = fmt!("a REC exited with unknown reason {reason}");
                Ok(self.internal_error(reason.into(), why))
            }
            Exit::Malformed(what) => {
                Ok(self.internal_error(0, fmt!("an exit that cannot be: {what:x?}")))
            }
        }
    }

    /// The RMM says that the realm is off. The vCPU stops, as those of any VM do when another turns
    /// it off; that one tells user space.
    fn realm_off(&mut self, x0: ReturnCode) -> Next {
        match self.vm.ending.cause() {
            Cause::TurnedOff => Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_OFF),
            Cause::Perhaps => {
                views::wait_a_little();
                Next::Enter
            }
            Cause::Unknown => {
                let why = fmt!("the RMM says that it is off, and no vCPU has turned it off");
                self.internal_error(x0.raw(), why)
            }
        }
    }

    /// The memory system has answered an access with an error. Firmware may know where, so that the
    /// page is taken out of use. The realm has been told by the RMM, or tries the access again.
    fn external_abort(&mut self, esr: u64, told: bool) -> Next {
        match ffi::kvm_rmi_helper_claim_sea() || told {
            true => Next::Enter,
            // It would only end the same way.
            false => self.internal_error(esr, fmt!("external abort, ESR {esr:#x}")),
        }
    }

    /// KVM handles the exit as a trap of an ordinary vCPU.
    fn trap(&mut self, esr: u64) -> Next {
        self.fault().esr_el2 = esr;
        Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_TRAP)
    }

    /// Nobody knows what to do about an exit, and the realm cannot go on. `detail` is for user space to
    /// print, `why` for the log.
    fn internal_error(&mut self, detail: u64, why: fmt::Arguments<'_>) -> Next {
        self.vm.kill(why);
        self.set_exit_reason(bindings::KVM_EXIT_INTERNAL_ERROR);
        let suberror = bindings::KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
        // SAFETY: By the type's invariant. User space may write there at any time.
        unsafe {
            let internal = &raw mut (*(*self.vcpu).run).__bindgen_anon_1.internal;
            (&raw mut (*internal).suberror).write_volatile(suberror);
            (&raw mut (*internal).ndata).write_volatile(1);
            (&raw mut (*internal).data[0]).write_volatile(detail);
        }
        Next::User
    }

    /// User space is to look after memory.
    fn memory_fault(&mut self, gpa: u64, size: u64, private: bool) {
        // SAFETY: By the type's invariant.
        unsafe {
            ffi::kvm_rmi_helper_prepare_memory_fault_exit(self.vcpu, gpa, size, private);
        }
    }

    /// # Errors
    ///
    /// `EFAULT` if the memory is not private, `EHWPOISON` if what was there is lost, or what its file
    /// says. `kvm_run` has the rest.
    fn private_fault(&mut self, fault: &Fault) -> Result<Next> {
        let gfn = fault.ipa / GRANULE_SIZE;
        let repeated = self.rec.faulted.replace(gfn) == Some(gfn);
        match private::fault(self.vm, gfn, repeated, &mut self.rec.list) {
            Ok(Faulted::Again) => Ok(Next::Enter),
            Ok(Faulted::Lost) => {
                self.memory_fault(fault.ipa, GRANULE_SIZE, true);
                Err(EHWPOISON)
            }
            Ok(Faulted::NotPrivate) => {
                self.memory_fault(fault.ipa, GRANULE_SIZE, true);
                Err(EFAULT)
            }
            Err(error) => {
                self.memory_fault(fault.ipa, GRANULE_SIZE, true);
                Err(error)
            }
        }
    }

    /// # Errors
    ///
    /// `EFAULT` if the memory is private. `kvm_run` has the rest.
    fn shared_fault(&mut self, fault: &Fault) -> Result<Next> {
        let gfn = fault.ipa / GRANULE_SIZE;
        self.rec.seen = views::invalidate_seq(&self.vm.kvm);
        if views::is_private(&self.vm.kvm, gfn) {
            let slots = views::read_slots(&self.vm.kvm);
            if slots.find(gfn).is_some_and(|slot| slot.has_gmem()) {
                self.memory_fault(fault.ipa, GRANULE_SIZE, false);
                return Err(EFAULT);
            }
        }
        let kvm = self.fault();
        kvm.far_el2 = fault.offset;
        kvm.hpfar_el2 = views::hpfar(fault.ipa);
        Ok(self.trap(fault.esr))
    }

    /// # Errors
    ///
    /// What [`errno`] makes of the RMM's answer.
    fn psci(&mut self, psci: Psci) -> Result<Next> {
        match psci {
            Psci::Ask(call) => self.ask(call),
            // It stops when the RMM says that it is still off: see `rec/psci.rs`.
            Psci::Off => Ok(Next::Enter),
            Psci::Unknown { .. } => Ok(Next::Enter),
            // KVM's results go nowhere.
            Psci::Suspend | Psci::SystemOff | Psci::SystemReset => Ok(KVM_PSCI),
        }
    }

    /// A call about another vCPU: the RMM is answered before that one is woken.
    ///
    /// # Errors
    ///
    /// What [`errno`] makes of the RMM's answer; the VM is dead then.
    fn ask(&mut self, call: PsciCall) -> Result<Next> {
        let target = views::vcpu_by_mpidr(&self.vm.kvm, call.target());
        // SAFETY: vCPUs are valid as long as their VM, and its REC does not change while another
        // one runs.
        let name = target.and_then(|target| unsafe { views::rec_name(target) });
        let Some(me) = self.rec.rec.as_ref().map(cmd::Rec::name) else {
            return Err(EIO);
        };
        let rmi = self.vm.rmi(Pause::Resched);
        let wake = self
            .rec
            .state
            .complete_psci(&rmi, me, name, cmd::Verdict::Success);
        let wake = wake.map_err(|error| {
            // It stays owed, and without it the REC can never be entered.
            self.vm.kill(fmt!("a PSCI call cannot be ended: {error}"));
            errno(error)
        })?;
        match (wake, target) {
            (Wake::Target, Some(target)) => {
                // SAFETY: As above.
                unsafe { views::mark_turned_on(target) };
                Ok(KVM_PSCI)
            }
            _ => Ok(Next::Enter),
        }
    }

    /// Does what is owed before the next entry.
    ///
    /// # Errors
    ///
    /// `EINTR` for a signal, `EFAULT` if user space has to convert memory first, or what
    /// [`errno`] makes of the RMM's answer. It may be called again.
    pub(crate) fn complete(&mut self) -> Result {
        let (Some(work), Some(rec)) = (self.rec.state.ripas(), self.rec.rec.as_ref()) else {
            return Ok(());
        };
        let host = RipasChange {
            vm: self.vm,
            rec: rec.name(),
        };
        let private = work.ripas() == Ripas::Ram;
        match work.carry_out(&host) {
            Ok(Progress::Complete) => Ok(()),
            Ok(Progress::Convert(range)) => {
                self.memory_fault(range.base(), range.bytes(), private);
                Err(EFAULT)
            }
            Err(error) => {
                if error == EINTR {
                    self.set_exit_reason(bindings::KVM_EXIT_INTR);
                }
                Err(error)
            }
        }
    }

    /// Maps shared memory, under `mmu_lock` for reading.
    ///
    /// # Errors
    ///
    /// `EAGAIN` if something has to be made first ([`Self::add_table`]), or what
    /// [`shared::map`] says.
    pub(crate) fn map_shared(
        &mut self,
        ipa: u64,
        pa: u64,
        size: u64,
        writable: bool,
        lock: &MmuReadLock<'_>,
    ) -> Result {
        let fault = self.fault();
        let (fault_ipa, replaces) = (
            views::ipa(fault.hpfar_el2),
            views::is_permission_fault(fault.esr_el2),
        );
        let mapping = Mapping {
            ipa,
            pa,
            size,
            access: match writable {
                true => data::Access::ReadWrite,
                false => data::Access::Read,
            },
            replaces,
        };
        let Some(mapping) =
            what_is_shared(self.vm, mapping.around(fault_ipa), fault_ipa, self.rec.seen)
        else {
            // The next fault will tell user space.
            return Err(EAGAIN);
        };
        self.rec.wanted = match shared::map(self.vm, &mapping, lock) {
            Ok(Mapped::Done) => {
                self.rec.mapped = true;
                return Ok(());
            }
            Ok(Mapped::Lacks(wanted)) => Some(wanted),
            Ok(Mapped::Again) => None,
            // The next entry will tell.
            Err(error) if error == ESHUTDOWN => None,
            Err(error) => return Err(error),
        };
        Err(EAGAIN)
    }

    /// After an attempt to map shared memory, makes what it lacked. True if it makes sense to try
    /// again.
    ///
    /// # Errors
    ///
    /// As for [`shared::make`].
    pub(crate) fn add_table(&mut self) -> Result<bool> {
        if let Some(wanted) = self.rec.wanted.take() {
            return shared::make(self.vm, wanted).map(|()| true);
        }
        if core::mem::take(&mut self.rec.mapped) {
            self.rec.tries = 0;
            return Ok(false);
        }
        self.rec.tries += 1;
        if self.rec.tries > TRIES {
            self.rec.tries = 0;
            return Ok(false);
        }
        if views::is_invalidating(&self.vm.kvm) {
            // Memory of the VM is being unmapped, and the vCPU would only fault again.
            views::wait_a_little();
        }
        // Copying the page before it is written unmaps it, for one.
        Ok(true)
    }
}

/// The shared granules of `gfns` that lie next to each other with `gfn`, which is one.
fn shared_around(vm: &Vm, gfn: u64, gfns: &core::ops::Range<u64>) -> core::ops::Range<u64> {
    let all_shared = |part: core::ops::Range<u64>| views::are(&vm.kvm, &part, false);
    let (mut start, mut end) = (gfn, gfn + 1);
    // Halves what is left on either side until nothing is.
    let mut step = (gfns.end - gfns.start).next_power_of_two();
    while step > 0 {
        if start - gfns.start >= step && all_shared(start - step..start) {
            start -= step;
        }
        if gfns.end - end >= step && all_shared(end..end + step) {
            end += step;
        }
        step /= 2;
    }
    start..end
}

/// As much of `mapping`, with what the realm has touched at `ipa`, as is shared; `None` if that is
/// private. When `seen` was the state of the VM's memory, the attributes said that it is shared.
///
/// Under `mmu_lock`, after KVM has seen that nothing is being invalidated. Attributes change inside of
/// an invalidation: so if none has ended since they were looked at they are the same still, and they
/// will be until this lock is dropped. Whoever changes them after that unmaps what is mapped here.
fn what_is_shared(vm: &Vm, mapping: Mapping, ipa: u64, seen: c_ulong) -> Option<Mapping> {
    let (first, gfn) = (mapping.ipa / GRANULE_SIZE, ipa / GRANULE_SIZE);
    let all_shared = match mapping.size {
        GRANULE_SIZE => {
            views::invalidate_seq(&vm.kvm) == seen || !views::is_private(&vm.kvm, first)
        }
        size => views::are(&vm.kvm, &(first..first + size / GRANULE_SIZE), false),
    };
    if all_shared {
        return Some(mapping);
    }
    let slots = views::read_slots(&vm.kvm);
    // Without private memory there is nothing else that it could be.
    if !slots.find(gfn).is_some_and(|slot| slot.has_gmem()) {
        return Some(mapping);
    }
    // One call for all around it that is shared, which most of a huge page is.
    let block = first..first + mapping.size / GRANULE_SIZE;
    (!slots.is_private(gfn)).then(|| mapping.within(&shared_around(vm, gfn, &block)))
}
