// SPDX-License-Identifier: GPL-2.0

//! The Realm Services Interface: what a realm may ask of the RMM by SMC.
//!
//! `Running::smc` finds the function in x0 and carries it out; PSCI is in a module of its own. This is
//! RSI 1.1, and RSI 1.0 for realms that the host has made by RMI 1.0. What belongs to planes and to devices is answered as unknown functions are.

mod config;
mod host_call;
mod ipa_state;
mod measurement;
mod token;

use kvm_arm_rmi::rmi::PhysAddr;

use crate::granule::{Locked, Rd};
use crate::platform::Platform;
use crate::rec::{Flow, Miss, Running};
use crate::rmi::Dialect;
use crate::{psci, rd};

/// The highest version of the interface: major number in bits 30:16, minor number in bits 15:0.
pub const RSI_VERSION: u64 = 1 << 16 | 1;
/// That of realms that the host has made in this dialect of RMI.
pub const fn highest_version(dialect: Dialect) -> u64 {
    match dialect {
        Dialect::V1 => RSI_VERSION_LOWEST,
        Dialect::Main | Dialect::Bet2 => RSI_VERSION,
    }
}
/// The lowest version of the interface.
pub const RSI_VERSION_LOWEST: u64 = 1 << 16;

/// `RsiCommandReturnCode`: the call did what it says.
const SUCCESS: u64 = 0;
/// `RsiCommandReturnCode`: an input is invalid.
const ERROR_INPUT: u64 = 1;
/// `RsiCommandReturnCode`: the REC is not in the state that the call needs.
const ERROR_STATE: u64 = 2;
/// `RsiCommandReturnCode`: the call has to be repeated.
const INCOMPLETE: u64 = 3;
/// `RsiCommandReturnCode`: something else went wrong.
const ERROR_UNKNOWN: u64 = 4;

/// SMCCC NOT_SUPPORTED.
const UNKNOWN: u64 = u64::MAX;
/// SMCCC 1.2, as SMCCC_VERSION reports it.
const SMCCC_VERSION_1_2: u64 = 1 << 16 | 2;
/// The bit of a function identifier by which SMCCC 1.3 callers say that SVE state may be lost.
const SVE_HINT: u64 = 1 << 16;

/// Function identifiers.
mod fid {
    pub(super) const SMCCC_VERSION: u64 = 0x8000_0000;
    pub(super) const VERSION: u64 = 0xc400_0190;
    pub(super) const FEATURES: u64 = 0xc400_0191;
    pub(super) const MEASUREMENT_READ: u64 = 0xc400_0192;
    pub(super) const MEASUREMENT_EXTEND: u64 = 0xc400_0193;
    pub(super) const ATTEST_TOKEN_INIT: u64 = 0xc400_0194;
    pub(super) const ATTEST_TOKEN_CONTINUE: u64 = 0xc400_0195;
    pub(super) const REALM_CONFIG: u64 = 0xc400_0196;
    pub(super) const IPA_STATE_SET: u64 = 0xc400_0197;
    pub(super) const IPA_STATE_GET: u64 = 0xc400_0198;
    pub(super) const HOST_CALL: u64 = 0xc400_0199;
}

/// What becomes of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// It returns these in x0 to x3.
    Return([u64; 4]),
    /// It returns these in x0 to x3, and the REC exits.
    ReturnAndExit([u64; 4]),
    /// The REC exits, and the call returns later.
    Exit,
    /// The REC exits because there is no memory at the IPA in x1, and calls again.
    Fault(i8),
}

impl Answer {
    /// The call returns `x0`, and 0 in x1 to x3.
    pub(crate) fn code(x0: u64) -> Self {
        Self::Return([x0, 0, 0, 0])
    }
}

impl From<Miss> for Answer {
    fn from(miss: Miss) -> Self {
        match miss {
            Miss::Empty => Self::code(ERROR_INPUT),
            Miss::Fault(level) => Self::Fault(level),
        }
    }
}

impl<P: Platform> Running<'_, '_, P> {
    /// An SMC.
    pub(crate) fn smc(&mut self) -> Flow {
        let answer = match self.gpr(0) & 0xffff_ffff & !SVE_HINT {
            fid::SMCCC_VERSION => Answer::code(SMCCC_VERSION_1_2),
            number if psci::is_function(number) => self.psci(),
            fid::VERSION => self.version(),
            // Feature register 0 says that the realm has no devices; the others do not exist.
            fid::FEATURES => Answer::code(SUCCESS),
            fid::MEASUREMENT_READ => self.measurement_read(),
            fid::MEASUREMENT_EXTEND => self.measurement_extend(),
            fid::ATTEST_TOKEN_INIT => self.attest_token_init(),
            fid::ATTEST_TOKEN_CONTINUE => self.attest_token_continue(),
            fid::REALM_CONFIG => self.realm_config(),
            fid::IPA_STATE_SET => self.ipa_state_set(),
            fid::IPA_STATE_GET => self.ipa_state_get(),
            fid::HOST_CALL => self.host_call(),
            _ => Answer::code(UNKNOWN),
        };

        let (values, flow) = match answer {
            Answer::Return(values) => (values, Flow::Resume),
            Answer::ReturnAndExit(values) => (values, Flow::Exit),
            Answer::Exit => {
                self.advance();
                return Flow::Exit;
            }
            Answer::Fault(level) => {
                self.exit_for_memory(self.gpr(1), level);
                return Flow::Exit;
            }
        };
        self.advance();
        for (register, value) in self.rec.context.gprs.iter_mut().zip(values) {
            *register = value;
        }
        flow
    }

    /// RSI_VERSION. x1: the version that the realm wants.
    ///
    /// Returns the version to use and the highest one. ERROR_INPUT: the RMM does not have it; then
    /// both are the highest.
    fn version(&self) -> Answer {
        let wanted = self.gpr(1);
        let highest = highest_version(self.rmm.dialect());
        if (RSI_VERSION_LOWEST..=highest).contains(&wanted) {
            Answer::Return([SUCCESS, wanted, highest, 0])
        } else {
            Answer::Return([ERROR_INPUT, highest, highest, 0])
        }
    }

    /// Runs `f` on the descriptor of the realm.
    pub(crate) fn with_rd<R>(&self, f: impl FnOnce(&mut rd::Rd) -> R) -> R {
        let rmm = self.rmm;
        let pa: PhysAddr = self.rec.rd();
        let mut granule: Locked<'_, Rd> = rmm.granules().own(pa);
        rmm.platform()
            .with(&mut granule, |data| f(rd::Rd::view(data)))
    }
}
