// SPDX-License-Identifier: GPL-2.0

//! Stateful request operations: commands that the RMM answers in several steps (section "Stateful
//! RMI operations").
//!
//! A command that may not ask for memory runs here. What lends memory to an operation comes with
//! the first command that needs it.

use super::{Broken, Conduit, Error, Fid, MemoryRequest, Regs, ReturnCode, Rmi, Status};

/// How many steps an operation may take. A step covers at least one granule, and the host never
/// asks for more than 1 GiB at once.
const STEPS: u32 = 1 << 19;

/// OP_CONTINUE, second argument: go on.
const GO_ON: u64 = 0;

impl<C: Conduit> Rmi<C> {
    /// Makes a call that may be stateful but has no use for memory, and sees it through to its end.
    ///
    /// # Errors
    ///
    /// Whatever the RMM says instead of SUCCESS. An operation that wants memory is cancelled if
    /// that is possible; in either case the error says that its effect is unknown.
    pub(super) fn stateful(&self, fid: Fid, args: &[u64]) -> Result<Regs, Error> {
        let (mut code, mut regs) = self.begin(fid, args)?;
        // The first answer alone carries the handle; later ones use x1 for results.
        let handle = regs.x(1);
        for _ in 0..STEPS {
            match (code.status(), code.memory_request()) {
                (Status::Success, _) => return Ok(regs),
                (Status::Incomplete, MemoryRequest::None) => {}
                (Status::Incomplete, _) => return Err(self.abandon(fid, handle, code)),
                _ => return Err(Error::Broken(fid, Broken::Request(code))),
            }
            self.pause();
            (code, regs) = self
                .begin(Fid::OP_CONTINUE, &[handle, GO_ON])
                .map_err(|e| blame(fid, e))?;
        }
        Err(Error::Broken(fid, Broken::Endless))
    }

    /// Ends an operation that asks for what it cannot have.
    fn abandon(&self, fid: Fid, handle: u64, code: ReturnCode) -> Error {
        if code.can_cancel() {
            // Its answer changes nothing for us: the operation failed, and how far it came is
            // unknown either way.
            let _ = self.begin(Fid::OP_CANCEL, &[handle]);
        }
        match code.memory_request() {
            MemoryRequest::Donate | MemoryRequest::Reclaim => Error::WantsMemory(fid),
            _ => Error::Broken(fid, Broken::Request(code)),
        }
    }
}

/// The error of a later step, told of the command that began it.
///
/// A status given there is the command's own. The other errors say that a step was not made at all,
/// so that the operation hangs half way.
fn blame(fid: Fid, error: Error) -> Error {
    match error {
        Error::Refused(_, code) => Error::Refused(fid, code),
        Error::NotForwarded(_) | Error::StillBusy(_) => Error::Broken(fid, Broken::Endless),
        other => other,
    }
}
