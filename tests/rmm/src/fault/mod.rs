// SPDX-License-Identifier: GPL-2.0

//! Fault injection: an RMM that answers wrongly, on purpose, so that a host can be tested with it.
//!
//! A [`Fault`] says for which command, from which call on and how often the RMM misbehaves, and how.
//! Host tests put faults in with [`Faults::add`]; the host of an image that is built for it does so with
//! a call of its own, [`FID`]. Everything here is compiled only with the feature `fault-injection`.

mod misbehave;

use core::sync::atomic::{AtomicU64, Ordering};

use kvm_arm_rmi::rmi::Fid;
use spin::Mutex;

/// The function of the call that adds a fault or removes all of them, the last one that EL3 hands to the
/// RMM.
///
/// x1: function identifier of the command, or 0 to remove all faults and to choose a form of descriptors:
/// x2 is an [`Undelegated`](crate::rmi::Undelegated) then. Otherwise x2: number of the [`Effect`], in
/// the order of declaration, counted from 0. x3: [`Fault::skip`]. x4: [`Fault::times`]. x5 and up: what
/// the effect consists of, in the order of declaration. Returns SUCCESS, or ERROR_INPUT if there is no
/// such effect or no room.
pub const FID: Fid = Fid::from_raw(0xc400_02cf);

/// Most faults at a time.
pub const MAX: usize = 16;

/// Results that an [`Effect`] can replace: x1 to x4.
const RESULTS: usize = 4;

/// What the RMM does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Returns these in x0 to x4, and does nothing.
    Answer([u64; RESULTS + 1]),
    /// Does what it should, and returns this in x0.
    Code(u64),
    /// Does what it should, and returns these in x1 to x4, if the call succeeds.
    Results([u64; RESULTS]),
    /// Takes a register for the top of a range, and the one before it for its base, and deals with no
    /// more than `granules` of it.
    Partial {
        /// Number of the register.
        top: u64,
        /// Granules that it deals with.
        granules: u64,
    },
    /// Answers INCOMPLETE, and does what it should when OP_CONTINUE is called. Not for commands that
    /// begin an operation of their own, which would then have two handles.
    Yield,
    /// Does what it should, and then writes a word into the host's memory, into a page or a list that
    /// the host has named.
    Write {
        /// Number of the register with the PA.
        register: u64,
        /// Offset from there, a multiple of 8.
        offset: u64,
        /// What is written.
        value: u64,
    },
    /// Does nothing, and says SUCCESS and that it came as far as where the range begins, as an RMM does
    /// that finds an interrupt pending before the first part of a range. After a [`Self::Partial`] that
    /// is any part.
    Idle {
        /// Number of the register with the base of the range.
        base: u64,
    },
    /// For RANGE_DELEGATE: takes it that granules from the base on that are delegated already, in use or
    /// not, are what the host wants, and passes over them.
    Skip,
    /// For OP_MEM_RECLAIM: keeps so many of the granules that are to be given back, for ever.
    Keep {
        /// How many.
        granules: u64,
        /// PA of the first of as many granules that the host is told of in their place, whatever they
        /// are; 0 for none.
        instead: u64,
    },
}

impl Effect {
    /// The effect with number `kind` that consists of `values`.
    fn from_raw(kind: u64, values: [u64; RESULTS + 1]) -> Option<Self> {
        let [a, b, c, d, _] = values;
        Some(match kind {
            0 => Self::Answer(values),
            1 => Self::Code(a),
            2 => Self::Results([a, b, c, d]),
            3 => Self::Partial {
                top: a,
                granules: b,
            },
            4 => Self::Yield,
            5 => Self::Write {
                register: a,
                offset: b,
                value: c,
            },
            6 => Self::Idle { base: a },
            7 => Self::Skip,
            8 => Self::Keep {
                granules: a,
                instead: b,
            },
            _ => return None,
        })
    }
}

/// Something that goes wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// The command.
    pub fid: Fid,
    /// How many calls go well before.
    pub skip: u64,
    /// How many calls go wrong then.
    pub times: u64,
    /// How.
    pub effect: Effect,
}

/// The faults that are to come, in the order in which they were added.
pub struct Faults {
    faults: Mutex<[Option<Fault>; MAX]>,
    skipped: AtomicU64,
}

impl Faults {
    /// None.
    pub const fn new() -> Self {
        Self {
            faults: Mutex::new([None; MAX]),
            skipped: AtomicU64::new(0),
        }
    }

    /// Adds a fault. If several are for the same command, the first applies until it is over. False if
    /// there is no room.
    pub fn add(&self, fault: Fault) -> bool {
        let mut faults = self.faults.lock();
        let free = faults.iter_mut().find(|place| place.is_none());
        free.is_some_and(|place| {
            *place = Some(fault);
            true
        })
    }

    /// How many granules [`Effect::Skip`] has passed over.
    pub fn skipped(&self) -> u64 {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Removes all faults.
    pub fn clear(&self) {
        self.faults.lock().fill(None);
    }

    /// What is to go wrong with this call of a command.
    fn take(&self, fid: Fid) -> Option<Effect> {
        let mut faults = self.faults.lock();
        let place = faults
            .iter_mut()
            .find(|place| place.is_some_and(|fault| fault.fid == fid))?;
        let fault = place.as_mut()?;
        if let Some(left) = fault.skip.checked_sub(1) {
            fault.skip = left;
            return None;
        }
        let left = fault.times.checked_sub(1);
        let effect = left.map(|_| fault.effect);
        fault.times = left.unwrap_or(0);
        if fault.times == 0 {
            *place = None;
        }
        effect
    }
}

impl Default for Faults {
    fn default() -> Self {
        Self::new()
    }
}
