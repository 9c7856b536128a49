// SPDX-License-Identifier: GPL-2.0

//! Exceptions that the RMM makes a realm take: what the CPU would have done to the registers.

use super::context::Context;
use super::esr::Esr;
use super::ids::Ids;
use crate::platform::Platform;

/// PSTATE.M: EL0, and EL1 with either stack pointer.
const MODE: u64 = 0xf;
const EL0: u64 = 0;
const EL1T: u64 = 4;
const EL1H: u64 = 5;
/// PSTATE.nRW: AArch32 state.
pub(super) const AARCH32: u64 = 1 << 4;
const DAIF: u64 = 0xf << 6;
const SSBS: u64 = 1 << 12;
const ALLINT: u64 = 1 << 13;
const PAN: u64 = 1 << 22;
const DIT: u64 = 1 << 24;
const NZCV: u64 = 0xf << 28;

const SCTLR_SPAN: u64 = 1 << 23;
const SCTLR_DSSBS: u64 = 1 << 44;
const SCTLR_SPINTMASK: u64 = 1 << 62;
/// SCTLR2_EL1.EASE: external aborts take the vector of SErrors.
const SCTLR2_EASE: u64 = 1 << 5;

/// Offset of the SError vector from that of synchronous exceptions.
const VECTOR_SERROR: u64 = 0x180;

impl Context {
    /// Makes the realm take a synchronous external abort in place of the abort with syndrome `esr` at
    /// the virtual address `far`.
    pub fn inject_external_abort<P: Platform>(&mut self, platform: &P, esr: Esr, far: u64) {
        let from_el0 = self.pstate & MODE == EL0;
        let ease = self.el1.sctlr2_el1 & SCTLR2_EASE != 0;
        self.el1.far_el1 = far;
        self.take(platform, esr.as_external_abort(from_el0), ease);
    }

    /// Makes the realm take the exception of an undefined instruction.
    pub fn inject_undefined<P: Platform>(&mut self, platform: &P) {
        self.take(platform, Esr::undefined(), false);
    }

    /// Makes the realm take a synchronous exception to EL1.
    fn take<P: Platform>(&mut self, platform: &P, esr: Esr, as_serror: bool) {
        self.el1.esr_el1 = esr.raw();
        self.el1.elr_el1 = self.pc;
        self.el1.spsr_el1 = self.pstate;
        let serror = if as_serror { VECTOR_SERROR } else { 0 };
        let offset = match self.pstate & (MODE | AARCH32) {
            EL1T => serror,
            EL1H => 0x200 | serror,
            EL0 => 0x400 | serror,
            // EL0 in AArch32 state.
            _ => 0x600,
        };
        self.pc = self.el1.vbar_el1.wrapping_add(offset);
        self.pstate = self.exception_pstate(&Ids::new(platform));
    }

    /// PSTATE after an exception to EL1. A field of a feature that the CPU does not have, or that realms
    /// do not see, is 0.
    fn exception_pstate(&self, ids: &Ids<'_, impl Platform>) -> u64 {
        let sctlr = self.el1.sctlr_el1;
        let when = |condition: bool, bit| if condition { bit } else { 0 };
        EL1H | DAIF
            | self.pstate & (NZCV | DIT)
            | when(ids.has_ssbs() && sctlr & SCTLR_DSSBS != 0, SSBS)
            | when(ids.has_nmi() && sctlr & SCTLR_SPINTMASK == 0, ALLINT)
            | when(sctlr & SCTLR_SPAN == 0, PAN)
    }
}
