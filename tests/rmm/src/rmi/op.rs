// SPDX-License-Identifier: GPL-2.0

//! The commands that go on with a stateful operation.
//!
//! Each names an operation by its handle. ERROR_INPUT: no operation waits under the handle, or it
//! waits for another step; it goes on waiting then. No operation of this RMM can be cancelled.

#[cfg(feature = "fault-injection")]
use kvm_arm_rmi::rmi::ReturnCode;
use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status, GRANULE_SIZE};

use super::{Answer, Reply, Rmm};
use crate::desc::{RangeDesc, PER_GRANULE};
use crate::donated::Donated;
use crate::granule::{Aux, Delegated, Locked, Partial, Undelegated};
use crate::platform::{Platform, GRANULE_WORDS};
use crate::rd::Rd;
use crate::sro::{GiveBack, Next, Operation, Work};

/// A step of an operation: the answer, and how the operation waits for the next step, unless this was
/// the last.
pub(super) type Step = (Reply, Option<Operation>);

/// A list of descriptors in the host's memory.
#[derive(Clone, Copy)]
struct List {
    page: PhysAddr,
    first: usize,
    count: usize,
}

impl List {
    /// `count` descriptors from `address` on, or as many as there are up to the end of the granule.
    /// `None` if the address is not aligned to a descriptor.
    fn new(address: u64, count: u64) -> Option<Self> {
        let offset = address & GRANULE_SIZE.wrapping_sub(1);
        if offset % 8 != 0 {
            return None;
        }
        let first = offset / 8;
        let count = count.min(PER_GRANULE.saturating_sub(first));
        Some(Self {
            page: PhysAddr::new(address.wrapping_sub(offset)),
            first: usize::try_from(first).ok()?,
            count: usize::try_from(count).ok()?,
        })
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// RMI_OP_CONTINUE. x1: handle.
    ///
    /// Returns what the command that began the operation returns, or what the next step is.
    pub(super) fn op_continue(&self, regs: &Regs) -> Reply {
        self.step(regs, Next::Continue, |operation| match operation.work {
            Work::RealmCreate(rd) => (self.realm_create_finish(rd), None),
            Work::RecCreate(create) => self.rec_create_finish(create),
            Work::GiveBack(end) => (self.give_back_finish(end), None),
            Work::DataMap(mut map) => match self.data_map_continue(&mut map) {
                Some(result) => (result.reply(), None),
                None => again(Work::DataMap(map)),
            },
            Work::DataUnmap(mut unmap) => match self.data_unmap_continue(&mut unmap) {
                Some(reply) => (reply, None),
                None => again(Work::DataUnmap(unmap)),
            },
            #[cfg(feature = "fault-injection")]
            Work::PutOff([x0, args @ ..]) => {
                let mut call = Regs::new(x0, &args);
                self.execute(&mut call);
                let [x0, out @ .., _] = [0, 1, 2, 3, 4, 5].map(|n| call.x(n));
                let code = ReturnCode::new(x0);
                (Reply { code, out }, None)
            }
        })
    }

    /// RMI_OP_MEM_DONATE. x1: handle. x2: PA of a list of descriptors. x3: their number; the list ends
    /// at the end of a granule at the latest.
    ///
    /// Returns how many granules were taken, the first of the list, and what is still wanted.
    /// ERROR_INPUT: the list is not aligned, or not in the host's memory; a descriptor in it is not
    /// aligned or not of delegated memory; or all together are more than was asked for. If the
    /// first granule is not delegated the operation fails with ERROR_INPUT in the end, after giving back
    /// what it has.
    pub(super) fn op_mem_donate(&self, regs: &Regs) -> Reply {
        let list = List::new(regs.x(2), regs.x(3));
        self.step(regs, Next::Donate(0), |operation| {
            let Next::Donate(wanted) = operation.next else {
                return (Reply::new(Status::ErrorInput), Some(operation));
            };
            let mut buffer = [0; GRANULE_WORDS];
            match list.and_then(|list| self.read_list(list, &mut buffer)) {
                Some(ranges) if is_donation(ranges, wanted) => {
                    self.donate(operation.work, wanted, ranges)
                }
                _ => (Reply::new(Status::ErrorInput), Some(operation)),
            }
        })
    }

    /// RMI_OP_MEM_RECLAIM. x1: handle. x2: PA of a list of descriptors. x3: how many it has room for; the
    /// list ends at the end of a granule at the latest.
    ///
    /// Returns how many descriptors were written: delegated granules that the host has back.
    /// ERROR_INPUT: the list is not aligned, or not in the host's memory.
    pub(super) fn op_mem_reclaim(&self, regs: &Regs) -> Reply {
        let list = List::new(regs.x(2), regs.x(3));
        self.step(regs, Next::Reclaim, |operation| {
            let (Work::GiveBack(end), Some(list)) = (operation.work, list) else {
                return (Reply::new(Status::ErrorInput), Some(operation));
            };
            self.give_back(end, list)
        })
    }

    /// RMI_OP_CANCEL. x1: handle.
    ///
    /// ERROR_INPUT: always, since no operation can be cancelled.
    pub(super) fn op_cancel(&self, regs: &Regs) -> Reply {
        self.step(regs, Next::Continue, |operation| {
            (Reply::new(Status::ErrorInput), Some(operation))
        })
    }

    /// Takes the operation in x1 a `step` further, if the step due is of the kind of `next`.
    fn step(&self, regs: &Regs, next: Next, step: impl FnOnce(Operation) -> Step) -> Reply {
        let Some((place, operation)) = self.operations.resume(regs.x(1)) else {
            return Reply::new(Status::ErrorInput);
        };
        let due = operation.next.code() == next.code();
        let (reply, rest) = if due {
            step(operation)
        } else {
            (Reply::new(Status::ErrorInput), Some(operation))
        };
        if let Some(operation) = rest {
            place.suspend(operation);
        }
        reply
    }

    /// Reads a list of the host's into `buffer`. `None` if it is not in the host's memory.
    fn read_list<'b>(&self, list: List, buffer: &'b mut [u64]) -> Option<&'b [u64]> {
        let page = self.granules.lock::<Undelegated>(list.page)?;
        let ranges = buffer.get_mut(..list.count)?;
        self.platform.read(&page, list.first, ranges);
        Some(ranges)
    }

    /// Takes the granules in `ranges` for an object, until one is not delegated.
    fn donate(&self, work: Work, wanted: u64, ranges: &[u64]) -> Step {
        let Some(recipient) = work.recipient() else {
            return (Reply::new(Status::ErrorInput), None);
        };
        let mut object = self.granules.own::<Partial>(recipient);
        let mut taken = 0u64;
        for pa in ranges.iter().flat_map(|raw| granules(RangeDesc::new(*raw))) {
            let Some(granule) = self.granules.lock::<Delegated>(pa) else {
                if taken == 0 {
                    return give_back_start(GiveBack {
                        object: recipient,
                        status: Status::ErrorInput,
                        unborn: matches!(work, Work::RealmCreate(_)),
                    });
                }
                break;
            };
            drop(granule.change::<Aux>());
            self.platform
                .with(&mut object, |data| Donated::view(data).push(pa));
            taken = taken.saturating_add(1);
        }

        let next = match wanted.saturating_sub(taken) {
            0 => Next::Continue,
            more => Next::Donate(more),
        };
        let operation = Operation { next, work };
        (Reply::incomplete(next, taken), Some(operation))
    }

    /// Gives granules back as far as the list has room, and writes down which.
    fn give_back(&self, end: GiveBack, list: List) -> Step {
        let mut object = self.granules.own::<Partial>(end.object);
        let told = self.tell(&mut object, list);
        let left = self.platform.with(&mut object, |data| {
            let donated = Donated::view(data);
            donated.next().is_some() || !donated.untold().is_empty()
        });
        // A list without room never ends it, even if nothing is left.
        let next = if left || list.count == 0 {
            Next::Reclaim
        } else {
            Next::Continue
        };
        let operation = Operation {
            next,
            work: Work::GiveBack(end),
        };
        match told {
            Some(count) => (Reply::incomplete(next, count), Some(operation)),
            None => (Reply::new(Status::ErrorInput), Some(operation)),
        }
    }

    /// Writes descriptors of granules that the host has back into its list. Returns their number;
    /// `None` if the list is not in the host's memory.
    fn tell(&self, object: &mut Locked<'_, Partial>, list: List) -> Option<u64> {
        if list.count == 0 {
            return Some(0);
        }
        // What an earlier list could not be told comes first, and alone.
        if self
            .platform
            .with(object, |data| Donated::view(data).untold().is_empty())
        {
            for _ in 0..list.count {
                let Some(pa) = self
                    .platform
                    .with(object, |data| Donated::view(data).next())
                else {
                    break;
                };
                let granule = self.granules.own::<Aux>(pa).change::<Delegated>();
                self.platform.scrub(&granule);
                drop(granule);
                self.platform
                    .with(object, |data| Donated::view(data).give_back());
            }
        }
        self.platform.with(object, |data| {
            let donated = Donated::view(data);
            let count = donated.untold().len().min(list.count);
            if count != 0 {
                let page = self.granules.lock::<Undelegated>(list.page)?;
                let ranges = donated.untold().get(..count)?;
                self.platform.write(&page, list.first, ranges);
                donated.told(count);
            }
            u64::try_from(count).ok()
        })
    }

    /// The object is gone.
    fn give_back_finish(&self, end: GiveBack) -> Reply {
        let mut object = self.granules.own::<Partial>(end.object);
        if end.unborn {
            let stage2 = self
                .platform
                .with(&mut object, |data| Rd::view(data).stage2());
            self.free_stage2(&stage2);
        }
        let granule = object.change::<Delegated>();
        self.platform.scrub(&granule);
        Reply::new(end.status)
    }
}

/// Begins to give back the granules that are listed in an object.
pub(super) fn give_back_start(end: GiveBack) -> Step {
    let next = Next::Reclaim;
    let work = Work::GiveBack(end);
    (Reply::incomplete(next, 0), Some(Operation { next, work }))
}

/// An interrupt came first: the same step once more.
fn again(work: Work) -> Step {
    let next = Next::Continue;
    (Reply::incomplete(next, 0), Some(Operation { next, work }))
}

/// True if the host may donate `ranges` where `wanted` granules are asked for. Descriptors without
/// blocks do not count.
fn is_donation(ranges: &[u64], wanted: u64) -> bool {
    let ranges = ranges.iter().map(|raw| RangeDesc::new(*raw));
    let mut bytes = 0u64;
    for range in ranges.filter(|range| range.blocks() != 0) {
        if !range.is_aligned() || !range.is_delegated() {
            return false;
        }
        bytes = bytes.saturating_add(range.size());
    }
    bytes <= wanted.saturating_mul(GRANULE_SIZE)
}

/// The granules of a range.
fn granules(range: RangeDesc) -> impl Iterator<Item = PhysAddr> {
    let count = range.size() / GRANULE_SIZE;
    crate::rtt::tables(range.base(), count)
}
