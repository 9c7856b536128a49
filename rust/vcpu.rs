// SPDX-License-Identifier: GPL-2.0

//! A vCPU that is a REC: between its exits and its entries.
//!
//! `rec/` and `exit/` decide what an exit means and what the next entry needs; what is here does it
//! with KVM's means. Only the task that runs a vCPU comes here, under `vcpu->mutex`.

use crate::{
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
    fold,
    host::{errno, errno_or_off},
    memory::{HostPages, RmmBuffer},
    mmu::{self, Step},
    private::{self, Faulted},
    rec::{
        self,
        entry::Input,
        Wake, //
    },
    rmi::{
        cmd::{data, rec as cmd},
        Delegated,
        GranuleRange,
        IpaRange,
        Protected,
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

/// Bytes of a change to RAM that are done at once, between looks at signals.
const RIPAS_PART: u64 = 64 << 20;

/// Attempts to map shared memory while other memory of the VM is being unmapped, before the vCPU is
/// entered again.
const TRIES: u32 = 8;

/// Granules whose attributes are compared at once.
const COMPARED: u64 = 512;

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
    fn arch(&mut self) -> &mut bindings::kvm_vcpu_arch {
        // SAFETY: By the type's invariant.
        unsafe { &mut (*self.vcpu).arch }
    }

    /// KVM's number of the vCPU.
    pub(crate) fn id(&self) -> c_int {
        // SAFETY: By the type's invariant; it does not change.
        unsafe { (*self.vcpu).vcpu_id }
    }

    fn kvm_run(&mut self) -> &mut bindings::kvm_run {
        // SAFETY: By the type's invariant. User space may write there as well, and what is only
        // written here is not harmed.
        unsafe { &mut *(*self.vcpu).run }
    }

    /// Describes the next entry. Interrupts are off.
    pub(crate) fn enter(&mut self, flags: c_ulong) {
        // SAFETY: By the type's invariant.
        let arch = unsafe { &(*self.vcpu).arch };
        let has = |bit: bindings::kvm_rmi_entry| flags & bit as c_ulong != 0;
        let input = Input {
            advanced: has(bindings::kvm_rmi_entry_KVM_RMI_ENTRY_PC_ADVANCED),
            external_abort: has(bindings::kvm_rmi_entry_KVM_RMI_ENTRY_SEA_PENDING),
            trap_wfi: arch.hcr_el2 & views::HCR_TWI != 0,
            trap_wfe: arch.hcr_el2 & views::HCR_TWE != 0,
            gprs: &arch.ctxt.regs.regs,
        };
        // What has to be done first has been done: `complete()` runs before, and comes back until it
        // is. Were it not so, the RMM would refuse.
        let _ = self.rec.state.prepare(&input, &mut self.rec.run);
        trace::rec_enter(self);
    }

    /// Takes note of an exit.
    ///
    /// # Errors
    ///
    /// What KVM_RUN returns, see `uapi/README.md`.
    pub(crate) fn exited(&mut self) -> Result<Next> {
        let x0 = ReturnCode::new(self.arch().rmi.result);
        self.vm.rmi(Pause::Never).entered(x0);
        trace::rec_exit(self, x0);
        match self.rec.state.exited(x0, &self.rec.run, self.vm.space) {
            Ok(exit) => self.handle(exit),
            Err(Refused::RealmOff) => {
                self.kvm_run().exit_reason = bindings::KVM_EXIT_SHUTDOWN;
                Ok(Next::User)
            }
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
        // SAFETY: By the type's invariant.
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
                self.arch().fault.esr_el2 = call.esr();
                Ok(Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_HYPERCALL))
            }
            Exit::SError { esr } if !views::is_fatal_serror(esr) => Ok(Next::Enter),
            Exit::SError { esr } => Ok(self.internal_error(esr, fmt!("SError, ESR {esr:#x}"))),
            Exit::Sync(Sync::ExternalAbort { esr }) => {
                Ok(self.internal_error(esr, fmt!("external abort, ESR {esr:#x}")))
            }
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

    /// KVM handles the exit as a trap of an ordinary vCPU.
    fn trap(&mut self, esr: u64) -> Next {
        self.arch().fault.esr_el2 = esr;
        Next::Kvm(bindings::kvm_rmi_exit_KVM_RMI_EXIT_TRAP)
    }

    /// Nobody knows what to do about an exit, and the realm cannot go on. `detail` is for user space to
    /// print, `why` for the log.
    fn internal_error(&mut self, detail: u64, why: fmt::Arguments<'_>) -> Next {
        self.vm.kill(why);
        let run = self.kvm_run();
        run.exit_reason = bindings::KVM_EXIT_INTERNAL_ERROR;
        // SAFETY: The fields are plain numbers, which may have any value.
        let internal = unsafe { &mut run.__bindgen_anon_1.internal };
        internal.suberror = bindings::KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON;
        internal.ndata = 1;
        internal.data[0] = detail;
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
        self.rec.seen = views::invalidate_seq(self.vm.kvm);
        if views::is_private(self.vm.kvm, gfn) {
            let slots = views::read_slots(self.vm.kvm);
            if slots.find(gfn).is_some_and(|slot| slot.has_gmem()) {
                self.memory_fault(fault.ipa, GRANULE_SIZE, false);
                return Err(EFAULT);
            }
        }
        let arch = self.arch();
        arch.fault.far_el2 = fault.offset;
        arch.fault.hpfar_el2 = views::hpfar(fault.ipa);
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
        let target = views::vcpu_by_mpidr(self.vm.kvm, call.target());
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
    /// [`errno_or_off`] makes of the RMM's answer. It may be called again.
    pub(crate) fn complete(&mut self) -> Result {
        while let Some((range, ripas)) = self
            .rec
            .state
            .ripas()
            .and_then(|work| work.next().map(|range| (range, work.ripas())))
        {
            if ffi::kvm_rmi_helper_signal_pending() {
                self.kvm_run().exit_reason = bindings::KVM_EXIT_INTR;
                return Err(EINTR);
            }
            let private = ripas == Ripas::Ram;
            let part = match private {
                true => range.base().saturating_add(RIPAS_PART).min(range.top()),
                false => range.top(),
            };
            let top = matching(self.vm, range.base()..part, private);
            let Some(part) = range.until(top) else {
                self.memory_fault(range.base(), range.bytes(), private);
                return Err(EFAULT);
            };
            let done = match self.set_ripas(part) {
                Err(error) if error == ESHUTDOWN => {
                    // The next entry will tell; and should the RMM enter the REC after all, the realm
                    // sees how far it has come.
                    if let Some(work) = self.rec.state.ripas() {
                        work.reject();
                    }
                    return Ok(());
                }
                result => result?,
            };
            if let Some(work) = self.rec.state.ripas() {
                work.advance(done).map_err(|_| EIO)?;
            }
            if !private {
                fold::empty(self.vm, range.base()..done);
            }
        }
        Ok(())
    }

    /// Returns how far it came.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what [`errno_or_off`] makes of the RMM's answer.
    fn set_ripas(&mut self, range: IpaRange<Protected>) -> Result<u64> {
        let vm = self.vm;
        let Some(me) = self.rec.rec.as_ref().map(cmd::Rec::name) else {
            return Err(EIO);
        };
        let rmi = vm.rmi(Pause::Resched);
        match mmu::set_ripas(&rmi, vm.name()?, me, &vm.tables(), range) {
            Step::Done => Ok(range.top()),
            Step::Until(top) => Ok(top),
            Step::NeedTable(at, table) => {
                vm.make_table(table)?;
                match at == range.base() {
                    true => self.set_ripas(range),
                    false => Ok(at),
                }
            }
            Step::Failed(_, error) => Err(errno_or_off(error)),
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
        lock: &MmuReadLock,
    ) -> Result {
        let fault = &self.arch().fault;
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
        if views::is_invalidating(self.vm.kvm) {
            // Memory of the VM is being unmapped, and the vCPU would only fault again.
            views::wait_a_little();
        }
        // Copying the page before it is written unmaps it, for one.
        Ok(true)
    }

    /// See [`rec::Vcpu::mmio_pending`].
    pub(crate) fn mmio_pending(&self) -> bool {
        self.rec.state.mmio_pending()
    }
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
        GRANULE_SIZE => views::invalidate_seq(vm.kvm) == seen || !views::is_private(vm.kvm, first),
        size => views::are(vm.kvm, &(first..first + size / GRANULE_SIZE), false),
    };
    if all_shared {
        return Some(mapping);
    }
    let slots = views::read_slots(vm.kvm);
    // Without private memory there is nothing else that it could be.
    if !slots.find(gfn).is_some_and(|slot| slot.has_gmem()) {
        return Some(mapping);
    }
    (!slots.is_private(gfn)).then(|| mapping.granule(ipa))
}

/// How far the attributes of `range` are what they would have to be, as an IPA.
///
/// What is not private is quick to find, since only private memory is written down.
fn matching(vm: &Vm, range: core::ops::Range<u64>, private: bool) -> u64 {
    let slots = views::read_slots(vm.kvm);
    let (first, end) = (range.start / GRANULE_SIZE, range.end / GRANULE_SIZE);
    let at_once = if private { COMPARED } else { end - first };
    let mut gfn = first;
    while gfn < end {
        let next = end.min(gfn + at_once);
        if !slots.are(&(gfn..next), private) {
            return first_other(&slots, gfn..next, private) * GRANULE_SIZE;
        }
        gfn = next;
        ffi::kvm_rmi_helper_cond_resched();
    }
    end * GRANULE_SIZE
}

/// The first granule that is not private, or is: halves the range until only that one is left.
fn first_other(slots: &views::Slots, gfns: core::ops::Range<u64>, private: bool) -> u64 {
    let (mut good, mut end) = (gfns.start, gfns.end);
    while end - good > 1 {
        let middle = good + (end - good) / 2;
        match slots.are(&(good..middle), private) {
            true => good = middle,
            false => end = middle,
        }
    }
    good
}
