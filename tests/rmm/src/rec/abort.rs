// SPDX-License-Identifier: GPL-2.0

//! Instruction and data aborts of a realm, and what the host may answer to them.

use kvm_arm_rmi::rmi::{Status, GRANULE_SIZE};

use super::esr::{self, Esr, Severity};
use super::exit::{self, Enter};
use super::inject::AARCH32;
use super::object::Syndrome;
use super::running::{Flow, Running};
use crate::platform::Platform;

/// HPFAR_EL2.FIPA.
const FIPA: u64 = ((1 << 40) - 1) << 4;
/// How far the IPA in HPFAR_EL2 is shifted.
const FIPA_SHIFT: u32 = 8;

/// The IPA in HPFAR_EL2, of the granule that was accessed.
fn fault_ipa(hpfar: u64) -> u64 {
    (hpfar & FIPA) << FIPA_SHIFT
}

impl<P: Platform> Running<'_, '_, P> {
    /// A data abort.
    pub(super) fn data_abort(&mut self, syndrome: &Syndrome) -> Flow {
        let esr = Esr::new(syndrome.esr);
        if let Some(severity) = esr.external_abort() {
            return self.external_abort(syndrome, severity);
        }
        let ipa = fault_ipa(syndrome.hpfar);
        let stage2 = self.realm.stage2;
        if self.is_empty(ipa) || ipa >= stage2.ipa_size() {
            return self.inject_external_abort(syndrome);
        }

        let aarch32 = self.rec.context.pstate & AARCH32 != 0;
        self.exit.hpfar = syndrome.hpfar;
        if aarch32 || stage2.is_protected(ipa) {
            self.exit.esr = esr.public();
        } else if !esr.is_described() && !self.rmm.is_v1() {
            self.exit.esr = esr.public_with_length();
        } else {
            self.exit.esr = esr.emulation();
            self.exit.far = syndrome.far & GRANULE_SIZE.wrapping_sub(1);
            if esr.is_write() && esr.is_described() {
                let value = self.gpr(esr.register()) & esr.access_mask();
                let [x0, ..] = &mut self.exit.gprs;
                *x0 = value;
            }
        }
        Flow::Exit
    }

    /// An instruction abort. A realm executes protected memory only.
    pub(super) fn instruction_abort(&mut self, syndrome: &Syndrome) -> Flow {
        let esr = Esr::new(syndrome.esr);
        if let Some(severity) = esr.external_abort() {
            return self.external_abort(syndrome, severity);
        }
        let ipa = fault_ipa(syndrome.hpfar);
        let outside = !self.realm.stage2.is_protected(ipa);
        if outside || esr.is_permission_fault() || self.is_empty(ipa) {
            return self.inject_external_abort(syndrome);
        }
        self.exit.hpfar = syndrome.hpfar;
        self.exit.esr = esr.public();
        Flow::Exit
    }

    /// An external abort: the host is told, without the address.
    ///
    /// # Panics
    ///
    /// If it is one after which nothing in the machine can be relied on.
    #[allow(clippy::panic, reason = "there is no safe way on, see above")]
    fn external_abort(&mut self, syndrome: &Syndrome, severity: Severity) -> Flow {
        let esr = Esr::new(syndrome.esr);
        match severity {
            Severity::Recoverable => {
                self.inject_external_abort(syndrome);
            }
            Severity::Restartable => {}
            Severity::Uncontainable => panic!("external abort in a realm, {esr:x?}"),
        }
        self.exit.esr = esr.public();
        Flow::Exit
    }

    fn inject_external_abort(&mut self, syndrome: &Syndrome) -> Flow {
        let platform = self.rmm.platform();
        let esr = Esr::new(syndrome.esr);
        let context = &mut self.rec.context;
        context.inject_external_abort(platform, esr, syndrome.far);
        Flow::Resume
    }

    /// Carries out what the host says about the data abort that the REC exited with: the realm takes
    /// an external abort, or goes on after the access with what the host has read for it.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorRec`] if there was none that can end so.
    pub(super) fn complete_abort(&mut self, enter: &Enter) -> Result<(), Status> {
        let last = self.rec.last.clone();
        let esr = Esr::new(last.esr);
        let data_abort = esr.class() == esr::DATA_ABORT;
        if enter.has(exit::INJECT_SEA) {
            if !data_abort || self.realm.stage2.is_protected(fault_ipa(last.hpfar)) {
                return Err(Status::ErrorRec);
            }
            self.inject_external_abort(&last);
        } else if enter.has(exit::EMULATED_MMIO) {
            if !data_abort || !esr.is_described() {
                return Err(Status::ErrorRec);
            }
            if !esr.is_write() {
                let [value, ..] = enter.gprs;
                self.set_gpr(esr.register(), esr.loaded(value));
            }
            self.advance();
        }
        Ok(())
    }
}
