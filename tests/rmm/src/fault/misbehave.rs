// SPDX-License-Identifier: GPL-2.0

//! What becomes of a call that a fault is there for.

use core::sync::atomic::Ordering;

use kvm_arm_rmi::rmi::{AddrRange, Fid, PhysAddr, Regs, Status, GRANULE_SIZE};

use super::{Effect, Fault, FID};
use crate::donated::Donated;
use crate::granule::{Aux, Partial, Reserved, State, Undelegated};
use crate::platform::Platform;
use crate::rmi::{Rmm, Undelegated as Form};
use crate::sro::{Next, Operation, Work};

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
