// SPDX-License-Identifier: GPL-2.0

//! Stateful request operations (SROs): commands that the RMM answers in several steps, and for some
//! of which it borrows memory (section "Stateful RMI operations").
//!
//! ```text
//!   command ──> INCOMPLETE, nothing  ──> OP_CONTINUE    ──┐
//!               INCOMPLETE, donate   ──> OP_MEM_DONATE  ──┤
//!               INCOMPLETE, reclaim  ──> OP_MEM_RECLAIM ──┴──> the same again, SUCCESS or an error
//! ```

use super::{
    Broken,
    Conduit,
    Error,
    Fid,
    Memory,
    MemoryRequest,
    Pages,
    Results,
    ReturnCode,
    Rmi,
    SharedPage,
    Status, //
};

/// How many steps an operation may take. A step covers at least one granule, and the host never
/// asks for more than 1 GiB at once.
const STEPS: u32 = 1 << 19;

/// How many offers of memory in a row the RMM may decline (it may, while it has enough from another
/// operation) before we take it that it will decline all of them.
const OFFERS: u32 = 1000;

/// OP_CONTINUE, second argument: go on.
const GO_ON: u64 = 0;

/// An operation that wants memory, or wants to give some back.
struct Step {
    code: ReturnCode,
    /// X2: what kind of memory it wants.
    request: u64,
    handle: u64,
}

impl<C: Conduit> Rmi<C> {
    /// Makes a call that may be stateful but has no use for memory, and sees it through to its end.
    ///
    /// # Errors
    ///
    /// Whatever the RMM says instead of SUCCESS. An operation that wants memory is cancelled if
    /// that is possible; in either case the error says that its effect is unknown.
    pub(super) fn stateful(&self, fid: Fid, args: &[u64]) -> Result<Results, Error> {
        self.drive(fid, args, |step| {
            if step.code.can_cancel() {
                // Its answer changes nothing for us: the operation has failed.
                let _ = self.begin(Fid::OP_CANCEL, &[step.handle]);
            }
            Err(match step.code.memory_request() {
                MemoryRequest::Unknown => Error::Broken(fid, Broken::Request(step.code)),
                _ => Error::WantsMemory(fid),
            })
        })
    }

    /// Makes a call for which the RMM may borrow memory, and sees it through to its end.
    ///
    /// # Errors
    ///
    /// Whatever the RMM says instead of SUCCESS. If memory runs out the operation is cancelled, or made
    /// to fail: [`Error::NoMemory`]. It keeps one of the RMM's few places for operations until it ends,
    /// which others wait for. If it does not end it stays half way, and what the command works on is
    /// lost with it: [`Broken::Stuck`].
    pub(super) fn with_memory<P: Pages, L: SharedPage>(
        &self,
        fid: Fid,
        args: &[u64],
        memory: &mut Memory<'_, P, L>,
    ) -> Result<Results, Error> {
        let mut out_of_memory = false;
        let mut declined = 0u32;
        let result = self.drive(fid, args, |step| match step.code.memory_request() {
            MemoryRequest::Reclaim => memory.reclaim(self, step.handle),
            // It was told to end, and goes on.
            MemoryRequest::Donate if out_of_memory => Err(Error::Broken(fid, Broken::Stuck)),
            MemoryRequest::Donate => {
                let donation = match declined {
                    OFFERS.. => None,
                    _ => memory.donate(self, step.handle, step.request),
                };
                match donation {
                    Some(donation) => {
                        declined = match donation.taken {
                            true => 0,
                            false => declined.saturating_add(1),
                        };
                        donation.answer
                    }
                    None if step.code.can_cancel() => {
                        out_of_memory = true;
                        self.begin(Fid::OP_CANCEL, &[step.handle])
                    }
                    None => {
                        out_of_memory = true;
                        let spoiled = memory.spoil(self, step.handle);
                        spoiled.map_err(|_| Error::Broken(fid, Broken::Stuck))
                    }
                }
            }
            _ => Err(Error::Broken(fid, Broken::Request(step.code))),
        });
        match result {
            // It may hang half way.
            Err(Error::Broken(..)) => result,
            // What was cancelled has failed, whatever its last word is.
            _ if out_of_memory => Err(Error::NoMemory(fid)),
            result => result,
        }
    }

    /// Makes a call and goes on until it is over; `on_memory` takes the steps about memory.
    ///
    /// # Errors
    ///
    /// Those of the command and of `on_memory`; [`Broken::Endless`] if it never is over.
    fn drive(
        &self,
        fid: Fid,
        args: &[u64],
        mut on_memory: impl FnMut(&Step) -> Result<(ReturnCode, Results), Error>,
    ) -> Result<Results, Error> {
        let (mut code, mut regs) = self.begin(fid, args)?;
        // The first answer alone carries the handle; later ones use X1 for results.
        let handle = regs.x(1);
        for _ in 0..STEPS {
            if code.status() == Status::Success {
                return Ok(regs);
            }
            self.pause();
            (code, regs) = match code.memory_request() {
                MemoryRequest::None => self.begin(Fid::OP_CONTINUE, &[handle, GO_ON]),
                _ => on_memory(&Step {
                    code,
                    request: regs.x(2),
                    handle,
                }),
            }
            .map_err(|error| blame(fid, error))?;
        }
        Err(Error::Broken(fid, Broken::Endless))
    }
}

/// The error of a later step, told of the command that began it.
///
/// A status given there is the command's own. The other errors say that a step was not made at all,
/// so that the operation hangs half way.
fn blame(fid: Fid, error: Error) -> Error {
    match error {
        Error::Refused(_, code) => Error::Refused(fid, code),
        Error::NotForwarded(_) | Error::StillBusy(_) | Error::Withheld(_) => {
            Error::Broken(fid, Broken::Stuck)
        }
        other => other,
    }
}
