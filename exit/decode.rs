// SPDX-License-Identifier: GPL-2.0

//! From the result of REC_ENTER and the RMM's half of the run page to a decision.

use super::exception::Malformed;
use super::{HostCall, Psci, RipasChange, Sync, NOT_SUPPORTED};
use crate::rmi::run;
use crate::rmi::{IpaSpace, ReturnCode, SharedPage, Status};

/// Exit reasons, `RmiRecExitReason`.
pub mod reason {
    /// An exception with a syndrome.
    pub const SYNC: u8 = 0;
    /// An interrupt of the host's.
    pub const IRQ: u8 = 1;
    /// A fast interrupt of the host's.
    pub const FIQ: u8 = 2;
    pub(super) const PSCI: u8 = 3;
    pub(super) const RIPAS_CHANGE: u8 = 4;
    pub(super) const HOST_CALL: u8 = 5;
    /// An SError.
    pub const SERROR: u8 = 6;
}

/// Why a REC was not entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// The realm has turned itself off, or is not active for another reason: no REC of it runs.
    RealmOff,
    /// The REC is not in the state to run now, and may be later: it is off, or waits for something.
    NotReady,
    /// The same after the REC has turned itself off; see [`crate::rec`] on how to stop its vCPU.
    TurnedOff,
    /// Something that must not happen. The code is for people to read.
    Failed(ReturnCode),
}

/// Why a REC has exited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// An instruction that the host has to deal with.
    Sync(Sync),
    /// An interrupt of the host's, or a timer of the realm's has changed its output.
    Irq,
    /// A fast interrupt.
    Fiq,
    /// An SError, with its syndrome.
    SError {
        /// In the form of ESR_EL2.
        esr: u64,
        /// It harms the realm at most, which the RMM has told if it has to know.
        contained: bool,
    },
    /// A PSCI call.
    Psci(Psci),
    /// The realm wants the RIPAS of a range changed.
    Ripas(RipasChange),
    /// The realm calls the host.
    HostCall(HostCall),
    /// A reason that we do not know.
    Unknown {
        /// The number of the reason.
        reason: u8,
    },
    /// Something that no RMM may report.
    Malformed(Malformed),
}

impl Exit {
    /// Puts registers of the REC into those of the vCPU, where KVM looks for what the realm tells
    /// it: all for a host call, the arguments of a PSCI call, and in x0 the value of a write. If the
    /// host refuses the call, these are the results.
    ///
    /// `page` is the run page that the exit was decoded from.
    pub fn take_gprs(&self, page: &impl SharedPage, gprs: &mut [u64; run::GPRS]) {
        let report = run::Exit::of(page);
        match self {
            Self::HostCall(call) => {
                report.copy_gprs(gprs);
                if call.is_psci {
                    for (to, from) in gprs.iter_mut().zip(NOT_SUPPORTED) {
                        *to = from;
                    }
                }
            }
            Self::Psci(_) => {
                let [x0, x1, x2, x3, ..] = gprs;
                for (n, to) in [x0, x1, x2, x3].into_iter().enumerate() {
                    *to = report.gpr(n);
                }
            }
            Self::Sync(sync) => {
                if let Some(value) = sync.written() {
                    let [x0, ..] = gprs;
                    *x0 = value;
                }
            }
            _ => {}
        }
    }
}

/// Decides what an entry that came back with `x0` means. `page` is the run page, `space` the realm's.
///
/// # Errors
///
/// The REC was not entered.
pub fn decode(x0: ReturnCode, page: &impl SharedPage, space: IpaSpace) -> Result<Exit, Refused> {
    match x0.status() {
        Status::Success => {}
        Status::ErrorRealm => return Err(Refused::RealmOff),
        Status::ErrorRec => return Err(Refused::NotReady),
        _ => return Err(Refused::Failed(x0)),
    }
    let report = run::Exit::of(page);
    let exit = match report.reason() {
        reason::SYNC => Sync::decode(&report, space).map(Exit::Sync),
        reason::IRQ => Ok(Exit::Irq),
        reason::FIQ => Ok(Exit::Fiq),
        reason::PSCI => Ok(Exit::Psci(Psci::decode(&report))),
        reason::RIPAS_CHANGE => RipasChange::decode(&report, space).map(Exit::Ripas),
        reason::HOST_CALL => Ok(Exit::HostCall(HostCall::decode(&report))),
        reason::SERROR => Ok(serror(report.esr())),
        reason => Ok(Exit::Unknown { reason }),
    };
    Ok(exit.unwrap_or_else(Exit::Malformed))
}

/// ESR_EL2 of an SError: its form is the implementation's own.
const SERROR_IDS: u64 = 1 << 24;
/// ESR_EL2 of an SError: what kind it is, and the kind that AET tells more of.
const SERROR_DFSC: u64 = 0x3f;
const SERROR_DFSC_ASYNC: u64 = 0x11;
/// ESR_EL2.AET: how bad it is, with FEAT_RAS.
const SERROR_AET: u64 = 7 << 10;

fn serror(esr: u64) -> Exit {
    let described = esr & (SERROR_IDS | SERROR_DFSC) == SERROR_DFSC_ASYNC;
    // Unrecoverable (1), restartable (2), recoverable (3) and corrected (6): not uncontainable (0).
    let contained = described && matches!((esr & SERROR_AET) >> 10, 1 | 2 | 3 | 6);
    Exit::SError { esr, contained }
}
