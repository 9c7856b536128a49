// SPDX-License-Identifier: GPL-2.0

//! A REC that runs: it goes from one trap to the next until one of them is the host's business.

use kvm_arm_rmi::rmi::{Status, GRANULE_SIZE};

use super::context::Trap;
use super::esr::{self, Esr, SError};
use super::exit::{self, Enter, Exit, Reason};
use super::ids::Options;
use super::object::{Rec, Syndrome};
use super::reset::{HCR, HCR_TWE, HCR_TWI, HCR_VSE};
use super::vgic;
use crate::platform::{GranuleData, Platform};
use crate::rmi::Rmm;
use crate::rtt::{Ripas, Stage2};

/// What becomes of a REC after a trap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Flow {
    /// It runs on.
    Resume,
    /// It exits to the host.
    Exit,
}

/// Why there is no memory of the realm's to use at an IPA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Miss {
    /// The realm must not expect any there.
    Empty,
    /// The host has to provide it: there is none in a table at this level.
    Fault(i8),
}

/// What a REC needs to know about its realm. None of it changes while the REC is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Realm {
    /// Stage 2.
    pub(crate) stage2: Stage2,
    /// What it has that others may not have.
    pub(crate) options: Options,
}

/// A REC that this CPU runs.
pub(crate) struct Running<'r, 'a, P> {
    pub(crate) rmm: &'r Rmm<'a, P>,
    pub(crate) realm: Realm,
    pub(crate) rec: &'r mut Rec,
    pub(crate) exit: Exit,
}

impl<P: Platform> Running<'_, '_, P> {
    /// Enters the REC as the host has said in `enter`, and runs it until it exits. [`Self::exit`] then
    /// has what the host is told.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorRec`] if the REC is not in the state for it; in this order: it is off, or waits
    /// for PSCI_COMPLETE; the host has programmed its list registers wrongly; the last exit was not
    /// one that the host may answer with what `enter` says. Nothing has changed then.
    pub(crate) fn enter(&mut self, enter: &Enter) -> Result<(), Status> {
        if !self.rec.is_runnable() || self.rec.is_psci_pending() {
            return Err(Status::ErrorRec);
        }
        let platform = self.rmm.platform();
        let v1 = self.rmm.is_v1();
        let valid = match v1 {
            true => vgic::is_valid_page(enter, platform),
            false => vgic::is_valid(&platform.list_registers()),
        };
        if !valid {
            return Err(Status::ErrorRec);
        }
        if v1 {
            self.rec.context.vgic.enter(enter, platform);
        }
        self.complete_abort(enter)?;
        if self.complete_host_call(enter) == Flow::Exit {
            return Ok(());
        }
        self.complete_ripas(enter);
        self.complete_sysreg(enter);
        self.rec.last.esr = 0;

        let hcr = &mut self.rec.context.el2.hcr_el2;
        *hcr = HCR;
        if enter.has(exit::TRAP_WFI) {
            *hcr |= HCR_TWI;
        }
        if enter.has(exit::TRAP_WFE) {
            *hcr |= HCR_TWE;
        }
        self.run();
        Ok(())
    }

    /// Runs the REC until it exits, and tells the host about its timers and its PMU.
    fn run(&mut self) {
        let platform = self.rmm.platform();
        loop {
            let told = self.rec.timers_told;
            if self.rec.context.timers_changed(told, platform.counter()) {
                self.exit.set_reason(Reason::Irq);
                break;
            }
            if self.rec.take_serror() {
                self.rec.context.el2.hcr_el2 |= HCR_VSE;
            }
            let trap = platform.run(&mut self.rec.context);
            if self.trap(trap) == Flow::Exit {
                break;
            }
        }
        platform.leave(&mut self.rec.context);

        if self.rmm.is_v1() {
            self.rec.context.vgic.exit(&mut self.exit);
        }
        let timers = &mut self.rec.context.timers;
        timers.refresh(platform.counter());
        self.rec.timers_told = timers.outputs();
        self.exit.cntv_ctl = timers.cntv_ctl;
        self.exit.cntv_cval = timers.cntv_cval;
        self.exit.cntp_ctl = timers.cntp_ctl;
        self.exit.cntp_cval = timers.cntp_cval;
        self.exit.pmu_ovf_status = self.rec.context.pmu.overflow_status();
    }

    fn trap(&mut self, trap: Trap) -> Flow {
        match trap {
            Trap::Sync { esr, far, hpfar } => self.synchronous(Syndrome { esr, far, hpfar }),
            Trap::Irq => self.exit_for(Reason::Irq),
            Trap::Fiq => self.exit_for(Reason::Fiq),
            Trap::SError { esr } => self.serror(esr),
        }
    }

    fn exit_for(&mut self, reason: Reason) -> Flow {
        self.exit.set_reason(reason);
        Flow::Exit
    }

    fn synchronous(&mut self, syndrome: Syndrome) -> Flow {
        self.exit.set_reason(Reason::Sync);
        let esr = Esr::new(syndrome.esr);
        let flow = match esr.class() {
            esr::WFX => self.wait(esr),
            // A realm has nobody to talk to by HVC.
            esr::HVC => self.undefined(),
            esr::SMC => self.smc(),
            esr::SYSREG => self.sysreg(esr),
            esr::INSTRUCTION_ABORT => self.instruction_abort(&syndrome),
            esr::DATA_ABORT => self.data_abort(&syndrome),
            // The platform deals with those that the realm may use.
            esr::FP | esr::SVE | esr::SME => self.undefined(),
            // The host learns that the realm has done something and nothing else.
            _ => Flow::Exit,
        };
        if flow == Flow::Exit {
            // What the host has not been told about the access, it cannot have emulated.
            let told = Esr::new(self.exit.esr).is_described();
            let esr = if told { esr } else { esr.undescribed() };
            self.rec.last = Syndrome {
                esr: esr.raw(),
                ..syndrome
            };
        }
        flow
    }

    /// A WFI or WFE that the host wants to know of.
    fn wait(&mut self, esr: Esr) -> Flow {
        self.exit.esr = esr.wfx();
        self.advance();
        Flow::Exit
    }

    /// # Panics
    ///
    /// If the SError is one after which nothing in the machine can be relied on.
    #[allow(clippy::panic, reason = "there is no safe way on, see above")]
    fn serror(&mut self, esr: u64) -> Flow {
        match SError::judge(esr) {
            SError::Tell => self.rec.raise_serror(esr),
            SError::Harmless => {}
            SError::Uncontainable => panic!("SError from a realm, ESR_EL2 {esr:#x}"),
        }
        self.exit.esr = SError::public(esr);
        self.rec.last = Syndrome {
            esr,
            ..Syndrome::default()
        };
        self.exit_for(Reason::SError)
    }

    /// Makes the realm take the exception of an undefined instruction.
    pub(super) fn undefined(&mut self) -> Flow {
        let platform = self.rmm.platform();
        self.rec.context.inject_undefined(platform);
        Flow::Resume
    }

    /// Goes on after the instruction that has trapped.
    pub(crate) fn advance(&mut self) {
        self.rec.context.pc = self.rec.context.pc.wrapping_add(4);
    }

    /// The value of a general purpose register, 0 for number 31.
    pub(crate) fn gpr(&self, number: u64) -> u64 {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        self.rec.context.gprs.get(index).copied().unwrap_or(0)
    }

    /// Changes a general purpose register; nothing for number 31.
    pub(crate) fn set_gpr(&mut self, number: u64, value: u64) {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(register) = self.rec.context.gprs.get_mut(index) {
            *register = value;
        }
    }

    /// True if `ipa` is protected and the realm must not expect anything there.
    pub(super) fn is_empty(&self, ipa: u64) -> bool {
        let stage2 = &self.realm.stage2;
        let granule = ipa..ipa.saturating_add(GRANULE_SIZE);
        stage2.is_protected(ipa) && self.rmm.ripas(stage2, granule).0 == Ripas::Empty
    }

    /// Runs `f` on the granule of the realm's memory at `ipa`, which is granule aligned and protected.
    ///
    /// # Errors
    ///
    /// See [`Miss`].
    pub(crate) fn memory<R>(
        &self,
        ipa: u64,
        f: impl FnOnce(&mut GranuleData) -> R,
    ) -> Result<R, Miss> {
        let found = self.rmm.with_realm_granule(&self.realm.stage2, ipa, f);
        found.map_err(|absent| match absent.ripas {
            Ripas::Empty => Miss::Empty,
            _ => Miss::Fault(absent.level),
        })
    }

    /// Tells the host that the realm needs memory at `ipa`, as if an access of the realm's had shown
    /// it: there is none in a table at `level`.
    pub(crate) fn exit_for_memory(&mut self, ipa: u64, level: i8) {
        self.exit.esr = Esr::translation_fault(level).raw();
        self.exit.far = 0;
        self.exit.hpfar = ipa >> 8;
        self.exit.set_reason(Reason::Sync);
    }
}
