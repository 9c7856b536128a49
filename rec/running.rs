// SPDX-License-Identifier: GPL-2.0

//! A vCPU that is a REC: between its exits and its entries.
//!
//! `rec/` and `exit/` decide what an exit means and what the next entry needs; what is here does it
//! with KVM's means. Only the task that runs a vCPU comes here, under `vcpu->mutex`.

use super::{
    entry::Input,
    ending::Cause,
    rec_vcpu::RecVcpu,
    vm::RealmVm,
    Wake, //
};
use crate::{
    exit::{
        Exit,
        Fault,
        Half,
        Psci,
        PsciCall,
        Refused,
        Sync, //
    },
    guest_memfd::{self, Faulted},
    realm::{host::errno, smc::Pause},
    rmi::{
        cmd::rec as cmd,
        run,
        ReturnCode,
        GRANULE_SIZE, //
    },
    sys::{
        ops::{Entry, Next},
        platform,
        prelude::*,
        sched,
        slots::Slots,
        trace,
        vcpu::{FaultInfo, Locked}, //
    },
    uapi::{
        KVM_ARM_RMI_FAULT_ACCESS,
        KVM_ARM_RMI_FAULT_MEMORY, //
    }, //
};

/// A vCPU at work: KVM's half and ours.
pub struct Running<'a, 'v> {
    /// Its VM.
    pub vm: &'a RealmVm,
    /// KVM's half.
    pub vcpu: &'a mut Locked<'v>,
    /// Our half.
    pub rec: &'a mut RecVcpu,
}

impl Running<'_, '_> {
    /// Describes the next entry. Interrupts are off.
    #[inline]
    pub fn enter(&mut self, entry: Entry) {
        let (trap_wfi, trap_wfe) = self.vcpu.traps_waits();
        let input = Input {
            advanced: entry.pc_advanced,
            external_abort: entry.external_abort,
            trap_wfi,
            trap_wfe,
            gprs: self.vcpu.gprs(),
        };
        // What has to be done first has been done: `complete()` runs before, and comes back until it
        // is. Were it not so, the RMM would refuse.
        let _ = self.rec.state.prepare(&input, &mut self.rec.run);
        self.rec.entered.enters();
        trace::rec_enter(self.vcpu.id(), || self.vm.rd());
    }

    /// Takes note of an exit.
    ///
    /// # Errors
    ///
    /// What KVM_RUN returns, see `uapi/README.md`.
    #[inline]
    pub fn exited(&mut self) -> Result<Next> {
        let x0 = ReturnCode::new(self.vcpu.entered());
        self.vm.rmi(Pause::Never).entered(x0);
        let run = &self.rec.run;
        trace::rec_exit(
            self.vcpu.id(),
            x0,
            || self.vm.rd(),
            || {
                let exit = run::Exit::of(run);
                (exit.reason().into(), exit.esr())
            },
        );
        let exit = self.rec.state.exited(x0, run, self.vm.space);
        if let Ok(Exit::Psci(Psci::SystemOff | Psci::SystemReset)) = exit {
            self.vm.ending.turned_off();
        }
        self.rec.entered.left();
        match exit {
            Ok(exit) => {
                let next = self.handle(exit);
                self.or_the_end(next)
            }
            Err(Refused::RealmOff) => Ok(self.realm_off(x0)),
            Err(Refused::NotReady) => Err(EAGAIN),
            Err(Refused::TurnedOff) => Ok(Next::Off),
            Err(Refused::Failed(code)) => {
                let status = code.status();
                Ok(self.internal_error(code.raw(), fmt!("a REC cannot be entered: {status:?}")))
            }
        }
    }

    /// # Errors
    ///
    /// As for [`Self::exited`].
    #[inline]
    fn handle(&mut self, exit: Exit) -> Result<Next> {
        exit.take_gprs(&self.rec.run, self.vcpu.gprs_mut());
        match exit {
            Exit::Irq | Exit::Fiq => Ok(Next::Enter),
            Exit::Sync(Sync::Fault(fault)) => match fault.half {
                Half::Protected => self.private_fault(&fault),
                Half::Unprotected => self.shared_fault(&fault),
            },
            Exit::Sync(Sync::Sysreg(trap)) => Ok(self.trap(trap.esr)),
            Exit::Sync(Sync::Wait { esr }) => Ok(self.trap(esr)),
            Exit::Psci(psci) => self.psci(psci),
            Exit::Ripas(_) => Ok(Next::Complete),
            // Its results stand in the registers already.
            Exit::HostCall(call) if call.is_psci => Ok(Next::Enter),
            Exit::HostCall(call) => {
                self.vcpu.set_esr(call.esr());
                Ok(Next::Hypercall)
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
                let detail = reason.into();
                Ok(self.internal_error(detail, fmt!("a REC exited with unknown reason {reason}")))
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
            Cause::TurnedOff => Next::Off,
            Cause::Perhaps => {
                sched::wait_a_little();
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
        match platform::claim_sea() || told {
            true => Next::Enter,
            // It would only end the same way.
            false => self.internal_error(esr, fmt!("external abort, ESR {esr:#x}")),
        }
    }

    /// KVM handles the exit as a trap of an ordinary vCPU.
    fn trap(&mut self, esr: u64) -> Next {
        self.vcpu.set_esr(esr);
        Next::Trap
    }

    /// Nobody knows what to do about an exit, and the realm cannot go on. `detail` is for user space to
    /// print, `why` for the log.
    pub(super) fn internal_error(&mut self, detail: u64, why: fmt::Arguments<'_>) -> Next {
        self.vm.kill(why);
        self.vcpu.exit_internal_error(detail);
        Next::User
    }

    /// `EIO` is what the RMM refuses, about which user space can do nothing: then the realm is at its
    /// end, and nobody knows how to go on.
    ///
    /// # Errors
    ///
    /// Those of `next` that user space can do something about.
    #[inline]
    pub(super) fn or_the_end(&mut self, next: Result<Next>) -> Result<Next> {
        match next {
            Err(error) if error == EIO => {
                let reason = run::Exit::of(&self.rec.run).reason();
                Ok(self.internal_error(
                    reason.into(),
                    fmt!("the RMM refuses what an exit asks for, of reason {reason}"),
                ))
            }
            next => next,
        }
    }

    /// # Errors
    ///
    /// `EFAULT` if the memory is not private, `EHWPOISON` if what was there is lost, or what its file
    /// says. `kvm_run` has the rest.
    fn private_fault(&mut self, fault: &Fault) -> Result<Next> {
        let gfn = fault.ipa / GRANULE_SIZE;
        let repeated = self.rec.faulted.replace(gfn) == Some(gfn);
        let around = guest_memfd::fault_around(self.vm, gfn);
        let list = &mut self.rec.list;
        let (error, cause) = match guest_memfd::fault(self.vm, gfn, around, repeated, list) {
            Ok(Faulted::Again) => return Ok(Next::Enter),
            Ok(Faulted::Lost) => (EHWPOISON, KVM_ARM_RMI_FAULT_MEMORY),
            Ok(Faulted::NotPrivate) => (EFAULT, KVM_ARM_RMI_FAULT_ACCESS),
            Err(error) => (error, KVM_ARM_RMI_FAULT_MEMORY),
        };
        self.vcpu
            .exit_memory_fault(fault.ipa, GRANULE_SIZE, true, cause);
        Err(error)
    }

    /// # Errors
    ///
    /// `EFAULT` if the memory is private. `kvm_run` has the rest.
    #[inline]
    fn shared_fault(&mut self, fault: &Fault) -> Result<Next> {
        let (gfn, kvm) = (fault.ipa / GRANULE_SIZE, &self.vm.kvm);
        self.rec.seen = kvm.invalidate_seq();
        if !self.vm.halves().may_be_shared(gfn) {
            let slots = Slots::read(kvm);
            if slots.find(gfn).is_some_and(|slot| slot.has_gmem()) {
                let cause = KVM_ARM_RMI_FAULT_ACCESS;
                self.vcpu
                    .exit_memory_fault(fault.ipa, GRANULE_SIZE, false, cause);
                return Err(EFAULT);
            }
        }
        // Should KVM find none.
        self.vcpu.set_fault_cause(KVM_ARM_RMI_FAULT_MEMORY);
        self.vcpu.set_fault(FaultInfo {
            esr: fault.esr,
            offset: fault.offset,
            ipa: fault.ipa,
        });
        Ok(Next::Trap)
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
            Psci::Suspend | Psci::SystemOff | Psci::SystemReset => Ok(Next::Psci),
        }
    }

    /// A call about another vCPU: the RMM is answered before that one is woken.
    ///
    /// # Errors
    ///
    /// What [`errno`] makes of the RMM's answer; the VM is dead then.
    fn ask(&mut self, call: PsciCall) -> Result<Next> {
        let target = self.vm.kvm.vcpu_by_mpidr(call.target());
        let name = target.as_ref().and_then(|target| target.rec());
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
                target.mark_turned_on();
                Ok(Next::Psci)
            }
            _ => Ok(Next::Enter),
        }
    }
}
