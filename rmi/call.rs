// SPDX-License-Identifier: GPL-2.0

//! One call to the RMM: made, repeated where the specification says so, and counted.

use super::{Conduit, Counts, Error, Fid, Regs, Results, ReturnCode, Status};

/// How often a call is made while the RMM answers BUSY. Each repetition yields the CPU, so this is
/// a matter of seconds; an RMM that is busy for longer is taken for broken rather than waited for.
const BUSY_TRIES: u32 = 10_000;

/// The same where that was in vain before, see [`Conduit::is_patient`]: what another CPU does to the same
/// granule at the same time takes less.
const BUSY_TRIES_AGAIN: u32 = 100;

/// How often a call is made while the RMM answers BLOCKED: an operation has to end first that may be
/// another realm's, which this one can only wait for. At most that waits for memory, which takes the
/// host that runs it some milliseconds. [`Conduit::wait`] is called between two tries, so this
/// is a matter of a second.
pub const BLOCKED_TRIES: u32 = 1000;

/// How often in a row a ranged command may succeed without having done anything.
///
/// An RMM may look for a pending interrupt before each part of a range, the first one included, and
/// leave what is not done to the next call. The host takes that interrupt as soon as the call has
/// returned: calls are never made with interrupts masked, be it under a lock that spins. (What such a
/// lock keeps out is other tasks, for which nobody waits here.) So the next call finds another one
/// pending or gets somewhere; an RMM that never does is given up.
const IDLE_TRIES: u32 = 1000;

/// The host's end of the RMI: what makes calls, by a way to the RMM.
#[derive(Debug, Default)]
pub struct Rmi<C> {
    conduit: C,
}

impl<C: Conduit> Rmi<C> {
    /// Takes over a conduit. Nothing is called yet.
    pub fn new(conduit: C) -> Self {
        Self { conduit }
    }

    /// The way to the RMM.
    pub fn conduit(&self) -> &C {
        &self.conduit
    }

    /// True if the RMM speaks RMI 1.0, not 2.0.
    pub(super) fn is_v1(&self) -> bool {
        self.conduit.dialect().is_v1()
    }

    /// Notes something in every set of counters.
    pub(super) fn count(&self, note: impl Fn(&Counts)) {
        self.conduit.count(note);
    }

    /// Lets others run, between two parts of long work.
    pub fn pause(&self) {
        self.conduit.pause();
    }

    /// Notes an RMI_REC_ENTER that was made elsewhere and returned `x0`.
    pub fn entered(&self, x0: ReturnCode) {
        let failed = x0.status() != Status::Success;
        self.count(|counts| counts.call(Fid::REC_ENTER, failed));
    }

    /// The end of a realm, all of whose calls were counted in `counts`: whatever the RMM has not
    /// given back by now is leaked. There is no value for granules of tables and for data that is
    /// mapped, so that only this number tells of them.
    pub fn write_off(&self, counts: &Counts) {
        let lost = counts.delegated().saturating_sub(counts.leaked());
        self.count(|counts| counts.leak(lost));
    }

    /// Makes a call exactly once and returns whatever comes back.
    pub(super) fn once(&self, fid: Fid, args: &[u64]) -> (ReturnCode, Results) {
        let regs = Results::of(&self.conduit.smc(&Regs::new(fid.raw().into(), args)));
        let code = ReturnCode::new(regs.x(0));
        let failed = !matches!(code.status(), Status::Success | Status::Incomplete);
        self.count(|counts| counts.call(fid, failed));
        (code, regs)
    }

    /// Makes a call until the RMM has something to say about it: any status but BUSY and BLOCKED.
    ///
    /// # Errors
    ///
    /// The RMM was busy or blocked for too long, is not there, or must not be asked.
    pub(super) fn patiently(&self, fid: Fid, args: &[u64]) -> Result<(ReturnCode, Results), Error> {
        if !self.conduit.may_ask(fid, args) {
            return Err(Error::Withheld(fid));
        }
        let mut busy = 0u32;
        let mut blocked = 0u32;
        let patient = self.conduit.is_patient(fid);
        let busy_tries = match patient {
            true => BUSY_TRIES,
            false => BUSY_TRIES_AGAIN,
        };
        loop {
            let (code, regs) = self.once(fid, args);
            if code == ReturnCode::NOT_FORWARDED {
                return Err(Error::NotForwarded(fid));
            }
            match code.status() {
                Status::Busy => {
                    busy = busy.saturating_add(1);
                    if busy >= busy_tries {
                        self.conduit.set_patience(fid, false);
                        return Err(Error::StillBusy(fid));
                    }
                    self.conduit.pause();
                }
                Status::Blocked => {
                    if !patient || !self.conduit.may_wait() {
                        return Err(Error::Refused(fid, code));
                    }
                    blocked = blocked.saturating_add(1);
                    if blocked >= BLOCKED_TRIES {
                        self.conduit.set_patience(fid, false);
                        return Err(Error::Refused(fid, code));
                    }
                    self.conduit.wait();
                }
                _ => {
                    if !patient {
                        self.conduit.set_patience(fid, true);
                    }
                    return Ok((code, regs));
                }
            }
        }
    }

    /// Makes a call until the RMM has either begun or refused it.
    ///
    /// `Ok` means SUCCESS or INCOMPLETE; only then do the other registers hold results.
    ///
    /// # Errors
    ///
    /// The RMM refused, was busy or blocked for too long, is not there, or must not be asked.
    pub(super) fn begin(&self, fid: Fid, args: &[u64]) -> Result<(ReturnCode, Results), Error> {
        match self.patiently(fid, args)? {
            (code, regs) if matches!(code.status(), Status::Success | Status::Incomplete) => {
                Ok((code, regs))
            }
            (code, _) => Err(Error::Refused(fid, code)),
        }
    }

    /// Makes a call that cannot be stateful.
    ///
    /// # Errors
    ///
    /// Whatever the RMM says instead of SUCCESS.
    pub(super) fn plain(&self, fid: Fid, args: &[u64]) -> Result<Results, Error> {
        match self.begin(fid, args)? {
            (code, regs) if code.status() == Status::Success => Ok(regs),
            (code, _) => Err(Error::Broken(fid, super::Broken::Request(code))),
        }
    }

    /// Makes a call that does a part of a range at a time until it has done some.
    ///
    /// `is_idle` says of an answer that it means no progress: the same call is made again, after a
    /// pause.
    ///
    /// # Errors
    ///
    /// Whatever the RMM says instead of SUCCESS, or [`Error::Idle`].
    pub(super) fn ranged(
        &self,
        fid: Fid,
        args: &[u64],
        is_idle: impl Fn(&Results) -> bool,
    ) -> Result<Results, Error> {
        for _ in 0..IDLE_TRIES {
            let regs = self.stateful(fid, args)?;
            if !is_idle(&regs) {
                return Ok(regs);
            }
            self.pause();
        }
        Err(Error::Idle(fid))
    }
}
