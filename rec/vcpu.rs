// SPDX-License-Identifier: GPL-2.0

//! What the host owes a REC between an exit and the next entry.

use super::entry::{self, Input, Unready};
use super::owed::{Access, Owed};
use super::ripas::RipasWork;
use crate::exit::{self, decode, Exit, Half, Psci, Refused, Sync};
use crate::rmi::{IpaSpace, ReturnCode, SharedPage};

/// A vCPU that is a REC.
#[derive(Debug)]
pub struct Vcpu {
    owed: Owed,
    /// The last exit was a CPU_OFF.
    turned_off: bool,
}

impl Vcpu {
    /// A vCPU that has not run yet.
    pub const fn new() -> Self {
        Self {
            owed: Owed::Nothing,
            turned_off: false,
        }
    }

    /// What is owed. It stays so until an entry is carried out.
    pub fn owed(&self) -> &Owed {
        &self.owed
    }

    pub(super) fn psci_is_done(&mut self) {
        if let Owed::Psci(_) = self.owed {
            self.owed = Owed::Nothing;
        }
    }

    /// The RIPAS change that is owed, if one is.
    pub fn ripas(&mut self) -> Option<&mut RipasWork> {
        match &mut self.owed {
            Owed::Ripas(work) => Some(work),
            _ => None,
        }
    }

    /// Writes the host's half of the run page, for an entry that pays what is owed. Changes nothing
    /// else, and may be repeated.
    ///
    /// # Errors
    ///
    /// Something has to be done first.
    pub fn prepare(&self, input: &Input<'_>, page: &mut impl SharedPage) -> Result<(), Unready> {
        entry::prepare(&self.owed, input, page)
    }

    /// Takes note of an entry that came back with `x0`, and says what the RMM has reported about the
    /// exit in the run page.
    ///
    /// # Errors
    ///
    /// The RMM has not entered the REC: what was owed still is.
    pub fn exited(
        &mut self,
        x0: ReturnCode,
        page: &impl SharedPage,
        space: IpaSpace,
    ) -> Result<Exit, Refused> {
        let exit = match decode(x0, page, space) {
            Ok(exit) => exit,
            Err(Refused::NotReady) if self.turned_off => return Err(Refused::TurnedOff),
            Err(refused) => return Err(refused),
        };
        self.turned_off = matches!(exit, Exit::Psci(Psci::Off));
        self.owed = owed(&exit);
        Ok(exit)
    }
}

impl Default for Vcpu {
    fn default() -> Self {
        Self::new()
    }
}

/// What the host owes for an exit.
fn owed(exit: &Exit) -> Owed {
    match exit {
        Exit::Sync(Sync::Fault(fault)) if fault.half == Half::Unprotected => {
            Owed::Access(match fault.access {
                exit::Access::Read | exit::Access::Write(_) => Access::Emulatable,
                exit::Access::Opaque | exit::Access::Execute => Access::Opaque,
            })
        }
        Exit::Sync(Sync::Sysreg(trap)) if trap.written.is_none() => Owed::SysregRead,
        Exit::Psci(Psci::Ask(call)) => Owed::Psci(*call),
        Exit::Ripas(change) => Owed::Ripas(RipasWork::new(*change)),
        Exit::HostCall(_) => Owed::HostCall,
        Exit::Malformed(_) | Exit::Unknown { .. } => Owed::Unknown,
        _ => Owed::Nothing,
    }
}
