// SPDX-License-Identifier: GPL-2.0

//! Fault injection: an RMM that answers wrongly, on purpose, so that a host can be tested with it.
//!
//! A [`Fault`] says for which command, from which call on and how often the RMM misbehaves, and how.
//! Host tests put faults in with [`Faults::add`]; the host of an image that is built for it does so with
//! a call of its own, [`FID`]. Everything here is compiled only with the feature `fault-injection`.

use core::sync::atomic::{AtomicU64, Ordering};

use kvm_arm_rmi::rmi::{AddrRange, Fid, PhysAddr, Regs, Status, GRANULE_SIZE};
use spin::Mutex;

use crate::donated::Donated;
use crate::granule::{Aux, Partial, Reserved, State, Undelegated};
use crate::platform::Platform;
use crate::rmi::{Rmm, Undelegated as Form};
use crate::sro::{Next, Operation, Work};

/// The function of the call that adds a fault or removes all of them, the last one that EL3 hands to the
/// RMM.
///
/// x1: function identifier of the command, or 0 to remove all faults and to choose a form of descriptors:
/// x2 is a [`Form`] then. Otherwise x2: number of the [`Effect`], in
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

/// Register `n` of a call, 0 if there is none.
fn register(regs: &Regs, n: u64) -> u64 {
    let n = usize::try_from(n).unwrap_or(usize::MAX);
    regs.0.get(n).copied().unwrap_or(0)
}

/// Replaces registers from number `first` on.
fn replace(regs: &mut Regs, first: usize, values: &[u64]) {
    for (register, value) in regs.0.iter_mut().skip(first).zip(values) {
        *register = *value;
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// Carries out a call of command `fid`, or something else.
    pub(crate) fn execute_with_faults(&self, fid: Fid, regs: &mut Regs) {
        if fid == FID {
            return self.add_fault(regs);
        }
        let Some(effect) = self.faults.take(fid) else {
            return self.execute(regs);
        };
        let call = *regs;
        match effect {
            Effect::Answer(values) => replace(regs, 0, &values),
            Effect::Code(code) => {
                self.execute(regs);
                replace(regs, 0, &[code]);
            }
            Effect::Results(values) => {
                self.execute(regs);
                if register(regs, 0) == u64::from(Status::Success.raw()) {
                    replace(regs, 1, &values);
                }
            }
            Effect::Partial { top, granules } => {
                let base = register(&call, top.wrapping_sub(1));
                let limit = base.saturating_add(granules.saturating_mul(GRANULE_SIZE));
                let limit = register(&call, top).min(limit);
                replace(regs, usize::try_from(top).unwrap_or(usize::MAX), &[limit]);
                self.execute(regs);
            }
            Effect::Yield => self.put_off(regs),
            Effect::Idle { base } => {
                let success = u64::from(Status::Success.raw());
                replace(regs, 0, &[success, register(&call, base), 0, 0]);
            }
            Effect::Skip => self.delegate_rest(regs),
            Effect::Keep { granules, instead } => {
                self.keep(register(&call, 1), granules, instead);
                self.execute(regs);
            }
            Effect::Write {
                register: n,
                offset,
                value,
            } => {
                self.execute(regs);
                self.write_word(register(&call, n).wrapping_add(offset), value);
            }
        }
    }

    /// The call that adds a fault.
    fn add_fault(&self, regs: &mut Regs) {
        let values = core::array::from_fn(|n| regs.x(n.saturating_add(5)));
        let number = u32::try_from(regs.x(1)).unwrap_or(0);
        let added = if number == 0 {
            self.faults.clear();
            self.want_undelegated(match regs.x(2) {
                1 => Form::Bit,
                2 => Form::Field,
                _ => Form::Any,
            });
            true
        } else {
            Effect::from_raw(regs.x(2), values).is_some_and(|effect| {
                self.faults.add(Fault {
                    fid: Fid::from_raw(number),
                    skip: regs.x(3),
                    times: regs.x(4),
                    effect,
                })
            })
        };
        let status = if added {
            Status::Success
        } else {
            Status::ErrorInput
        };
        replace(regs, 0, &[u64::from(status.raw()), 0, 0, 0]);
    }

    /// RANGE_DELEGATE without the granules at the base that are not the host's.
    fn delegate_rest(&self, regs: &mut Regs) {
        let call = *regs;
        let [base, top] = [1, 2].map(|n| PhysAddr::new(call.x(n)));
        let is_delegated = |pa| {
            let state = self.granules().state(pa);
            state.is_some_and(|state| !matches!(state, State::Undelegated | State::Reserved))
        };
        let mut at = base;
        while AddrRange::new(at, top).is_some() && is_delegated(at) {
            at = PhysAddr::new(at.raw().saturating_add(GRANULE_SIZE));
            self.faults.skipped.fetch_add(1, Ordering::Relaxed);
        }
        if at != top || at == base {
            replace(regs, 1, &[at.raw()]);
            self.execute(regs);
        }
        let done = register(regs, 0) == u64::from(Status::Success.raw());
        if at != base && (at == top || !done) {
            let success = u64::from(Status::Success.raw());
            replace(regs, 0, &[success, at.raw(), 0, 0]);
        }
    }

    /// Keeps the next granules that the operation with this handle would give back.
    fn keep(&self, handle: u64, granules: u64, instead: u64) {
        let Some((place, operation)) = self.operations.resume(handle) else {
            return;
        };
        if let Work::GiveBack(end) = operation.work {
            let mut object = self.granules().own::<Partial>(end.object);
            for n in 0..granules {
                let next = |data: &mut _| Donated::view(data).next();
                let Some(pa) = self.platform().with(&mut object, next) else {
                    break;
                };
                drop(self.granules().own::<Aux>(pa).change::<Reserved>());
                let named = instead.saturating_add(n.saturating_mul(GRANULE_SIZE));
                self.platform().with(&mut object, |data| {
                    let donated = Donated::view(data);
                    donated.keep();
                    if instead != 0 {
                        donated.name(PhysAddr::new(named));
                    }
                });
            }
        }
        place.suspend(operation);
    }

    /// Makes an operation of a call.
    fn put_off(&self, regs: &mut Regs) {
        let Ok(place) = self.operations.reserve() else {
            return self.execute(regs);
        };
        let next = Next::Continue;
        let work = Work::PutOff(core::array::from_fn(|n| regs.x(n)));
        let handle = place.suspend(Operation { next, work });
        replace(regs, 0, &[next.code().raw(), handle, 0, 0]);
    }

    /// Writes a word of the host's memory, unless it is not the host's.
    fn write_word(&self, pa: u64, value: u64) {
        let offset = pa & GRANULE_SIZE.wrapping_sub(1);
        let page = PhysAddr::new(pa.wrapping_sub(offset));
        let word = usize::try_from(offset / 8).unwrap_or(0);
        if let Some(page) = self.granules().lock::<Undelegated>(page) {
            self.platform().write(&page, word, &[value]);
        }
    }
}
