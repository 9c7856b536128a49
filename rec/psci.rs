// SPDX-License-Identifier: GPL-2.0

//! Ending a PSCI call about another REC.
//!
//! The RMM knows which RECs are on, and decides. It asks the host because only the host can start
//! to run the other one, and the REC that calls cannot be entered before the host has answered:
//!
//! 1. The host answers CPU_ON with SUCCESS, and with DENIED if it has no such vCPU, or does not
//!    want it to run. AFFINITY_INFO it answers with SUCCESS: it has no say in that.
//! 2. The RMM may already have the other REC on. Then the realm is told so whatever the host says,
//!    and where that was DENIED the RMM answers ERROR_INPUT. The call is over all the same.
//! 3. Only then the other vCPU is woken: before, the RMM would not enter it. It is woken even if it
//!    may have been on before, which the RMM does not say.

use super::owed::Owed;
use super::vcpu::Vcpu;
use crate::exit::Question;
use crate::rmi::cmd::rec::{psci_complete, RecName, Verdict};
use crate::rmi::{Conduit, Error, Rmi, Status};

/// Who has to run after a PSCI call has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the vCPU that was turned on has to be woken"]
pub enum Wake {
    /// The vCPU that the call is about, too.
    Target,
    /// Nobody but the caller.
    Nobody,
}

impl Vcpu {
    /// Ends the PSCI call that the REC `calling` waits with. Without one it does nothing.
    ///
    /// `target` is the REC that the call is about, see [`crate::exit::PsciCall::target`]; `None` if
    /// the host has none. `verdict` is what the host says to CPU_ON of a REC that it has.
    ///
    /// # Errors
    ///
    /// The RMM refuses: the call is still owed, and the REC can never be entered again. That is so
    /// with an RMM that has a REC which the host does not have, and wants to be told which.
    pub fn complete_psci<C: Conduit>(
        &mut self,
        rmi: &Rmi<C>,
        calling: RecName,
        target: Option<RecName>,
        verdict: Verdict,
    ) -> Result<Wake, Error> {
        let Owed::Psci(call) = *self.owed() else {
            return Ok(Wake::Nobody);
        };
        let verdict = match (call.question, target) {
            (Question::TurnOn, Some(_)) => verdict,
            (Question::TurnOn, None) => Verdict::Denied,
            (Question::State, _) => Verdict::Success,
        };
        // Without a target only an RMM can be answered that does not want to be told.
        let result = psci_complete(rmi, calling, target.unwrap_or(calling), verdict);
        match result {
            Ok(()) => {}
            Err(error) if is_on_already(&error, target, verdict) => {}
            Err(error) => return Err(error),
        }
        self.psci_is_done();
        Ok(match (call.question, verdict) {
            (Question::TurnOn, Verdict::Success) => Wake::Target,
            _ => Wake::Nobody,
        })
    }
}

/// True if a verdict was refused because it came too late, see rule 2.
fn is_on_already(error: &Error, target: Option<RecName>, verdict: Verdict) -> bool {
    target.is_some() && verdict == Verdict::Denied && error.status() == Some(Status::ErrorInput)
}
