// SPDX-License-Identifier: GPL-2.0

//! The commands that make, complete and take down a REC.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::op::{give_back_start, Step};
use super::{Dialect, Reply, Rmm};
use crate::donated::{self, Donated};
use crate::granule::{self, Aux, Delegated, Locked, Partial, Undelegated, MAX_COUNT};
use crate::platform::{GranuleData, Platform, GRANULE_WORDS};
use crate::psci;
use crate::rd::State;
use crate::rec::{Context, Rec, AUX_GRANULES};
use crate::sro::{GiveBack, Next, Operation, RecCreate, Work};

/// `RmiRecParams`: words of the flags, the MPIDR, the PC and x0 to x7.
const FLAGS_WORD: usize = 0;
const MPIDR_WORD: usize = 0x100 / 8;
const PC_WORD: usize = 0x200 / 8;
const GPRS_WORD: usize = 0x300 / 8;
/// Registers that a REC starts with.
const GPRS: usize = 8;
/// `RmiRecFlags`: the REC is on from the beginning.
const RUNNABLE: u64 = 1;

/// Bits of an `RmiRecMpidr`: Aff3 to Aff1 of 8 bits each, and Aff0 of 4.
const MPIDR: u64 = 0xffff_ff0f;

/// What of `RmiRecParams` the RMM uses.
pub(super) struct Params {
    flags: u64,
    mpidr: u64,
    pc: u64,
    gprs: [u64; GPRS],
}

impl Params {
    /// The number of the REC in its realm that the MPIDR stands for, if it is one.
    fn index(&self) -> Option<u64> {
        let mpidr = Some(self.mpidr).filter(|mpidr| mpidr & !MPIDR == 0)?;
        Some(mpidr & 0xf | mpidr >> 4 & 0xfff_fff0)
    }

    /// What of the parameters is measured, where it stands in them.
    fn measured(&self) -> GranuleData {
        let mut data = [0; GRANULE_WORDS];
        let (before_pc, from_pc) = data.split_at_mut(PC_WORD);
        if let [flags, ..] = before_pc {
            *flags = self.flags;
        }
        if let [pc, ..] = from_pc {
            *pc = self.pc;
        }
        let registers = from_pc.iter_mut().skip(GPRS_WORD.saturating_sub(PC_WORD));
        for (to, from) in registers.zip(self.gprs) {
            *to = from;
        }
        data
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// RMI_REC_CREATE. x1: PA of the RD. x2: PA of a delegated granule for the REC. x3: PA of
    /// `RmiRecParams` in the host's memory.
    ///
    /// Begins an operation that asks for donations. At once: ERROR_INPUT if the granule is not
    /// delegated; BLOCKED or BUSY if there are too many operations. In the end: ERROR_INPUT if the
    /// parameters are not in the host's memory, or there is no RD; ERROR_REALM if the realm has too
    /// many RECs or is not new; ERROR_INPUT if the MPIDR is not that of the next REC, or, in
    /// [`Dialect::Bet2`], none or that of another REC.
    pub(super) fn rec_create(&self, regs: &Regs) -> Reply {
        let [rd, rec, params] = [1, 2, 3].map(|n| PhysAddr::new(regs.x(n)));
        let Some(granule) = self.granules.lock::<Delegated>(rec) else {
            return Reply::new(Status::ErrorInput);
        };
        let place = match self.operations.reserve() {
            Ok(place) => place,
            Err(status) => return Reply::new(status),
        };
        let mut object = granule.change::<Partial>();
        self.platform
            .with(&mut object, |data| Donated::view(data).set(&[]));
        drop(object);

        let next = Next::Donate(donated::MAX as u64);
        let work = Work::RecCreate(RecCreate { rd, rec, params });
        let handle = place.suspend(Operation { next, work });
        Reply::incomplete(next, handle)
    }

    /// The last step of REC_CREATE: everything that was asked for has been donated.
    pub(super) fn rec_create_finish(&self, create: RecCreate) -> Step {
        let done = self
            .rec_params(create.params)
            .ok_or(Status::ErrorInput)
            .and_then(|params| self.rec_make(create, &params));
        match done {
            Ok(()) => (Reply::new(Status::Success), None),
            Err(status) => give_back_start(GiveBack {
                object: create.rec,
                status,
                unborn: false,
            }),
        }
    }

    /// Reads the parameters of a REC. `None` if they are not in the host's memory.
    fn rec_params(&self, pa: PhysAddr) -> Option<Params> {
        let page = self.granules.lock::<Undelegated>(pa)?;
        Some(self.read_rec_params(&page))
    }

    /// Reads the parameters of a REC in a page of the host's.
    pub(super) fn read_rec_params(&self, page: &Locked<'_, Undelegated>) -> Params {
        let mut gprs = [0; GPRS];
        self.platform.read(page, GPRS_WORD, &mut gprs);
        let word = |n| {
            let mut word = [0];
            self.platform.read(page, n, &mut word);
            let [word] = word;
            word
        };
        Params {
            flags: word(FLAGS_WORD),
            mpidr: word(MPIDR_WORD),
            pc: word(PC_WORD),
            gprs,
        }
    }

    /// Makes a REC of a granule with the granules that are listed in it.
    ///
    /// # Errors
    ///
    /// As REC_CREATE in the end. Nothing has changed then.
    pub(super) fn rec_make(&self, create: RecCreate, params: &Params) -> Result<(), Status> {
        let mut rd = self
            .granules
            .lock::<granule::Rd>(create.rd)
            .ok_or(Status::ErrorInput)?;
        let mut object = self.granules.own::<Partial>(create.rec);
        if rd.count() >= MAX_COUNT {
            return Err(Status::ErrorRealm);
        }
        let (state, next) = self.with_rd(&mut rd, |rd| (rd.state(), rd.recs));
        if state != State::New {
            return Err(Status::ErrorRealm);
        }
        let index = params.index().ok_or(Status::ErrorInput)?;
        let fits = match self.dialect() {
            Dialect::Main | Dialect::V1 => index == next,
            Dialect::Bet2 => self.find_rec(&mut rd, index).is_none(),
        };
        let given = self
            .platform
            .with(&mut object, |data| Donated::view(data).count());
        // RMI 2.0 has seen to the number of granules before.
        if !fits || given != donated::MAX as u64 {
            return Err(Status::ErrorInput);
        }
        let (stage2, sve_vl, pmu_counters) = self.with_rd(&mut rd, |rd| {
            rd.recs = next.saturating_add(1);
            if params.flags & RUNNABLE != 0 {
                rd.rim().add_rec(&params.measured());
            }
            (rd.stage2(), rd.sve_vl(), rd.pmu_counters())
        });
        rd.get(1);
        if self.dialect() == Dialect::Bet2 {
            self.add_rec(&mut rd, index, create.rec);
        }

        let aux = self
            .platform
            .with(&mut object, |data| Donated::view(data).all());
        for pa in aux {
            let mut granule = self.granules.own::<Aux>(pa);
            self.platform.with(&mut granule, |data| data.fill(0));
        }
        let Params {
            mpidr, pc, gprs, ..
        } = *params;
        let mut context = Context::at_reset(mpidr, pc, gprs, &stage2, pmu_counters);
        for (to, from) in context.simd.granules.iter_mut().zip(aux) {
            *to = from.raw();
        }
        context.simd.sve = u64::from(sve_vl.is_some());
        context.simd.sve_len = u64::from(sve_vl.unwrap_or(0));
        let mut rec = Rec::new(create.rd, index, aux, context);
        rec.set_runnable(params.flags & RUNNABLE != 0);
        self.platform.with(&mut object, |data| {
            data.fill(0);
            *Rec::view(data) = rec;
        });
        drop(object.change::<granule::Rec>());
        Ok(())
    }

    /// RMI_REC_DESTROY. x1: PA of the REC.
    ///
    /// Begins an operation that gives its granules back. BLOCKED or BUSY: there are too many operations.
    /// ERROR_INPUT: there is no REC. ERROR_REC: it runs.
    pub(super) fn rec_destroy(&self, regs: &Regs) -> Reply {
        let pa = PhysAddr::new(regs.x(1));
        let place = match self.operations.reserve() {
            Ok(place) => place,
            Err(status) => return Reply::new(status),
        };
        let Some(mut granule) = self.granules.lock::<granule::Rec>(pa) else {
            return Reply::new(Status::ErrorInput);
        };
        if granule.count() != 0 {
            return Reply::new(Status::ErrorRec);
        }
        let (rd, index) = self.platform.with(&mut granule, |data| {
            let rec = Rec::view(data);
            let (rd, index, aux) = (rec.rd(), rec.index(), rec.aux());
            Donated::view(data).set(&aux);
            (rd, index)
        });
        drop(granule.change::<Partial>());
        if self.dialect() == Dialect::Bet2 {
            // The reference of the REC that was keeps the RD, and its number taken.
            let mut rd = self.granules.own::<granule::Rd>(rd);
            self.remove_rec(&mut rd, index);
        }
        self.granules.put(rd);

        let (reply, operation) = give_back_start(GiveBack {
            object: pa,
            status: Status::Success,
            unborn: false,
        });
        match operation {
            Some(operation) => reply.results([place.suspend(operation)]),
            None => reply,
        }
    }

    /// RMI_PSCI_COMPLETE. x1: PA of the REC that has made a PSCI call. x2: PA of the REC that the call is
    /// about. x3: how the host lets it end, a PSCI code: SUCCESS or, for CPU_ON, DENIED. In
    /// [`Dialect::Bet2`] that is x2, and the REC that the call is about is known.
    ///
    /// ERROR_INPUT, in this order: one of them is not a REC, or they are the same; the first runs, or
    /// does not wait for this; they are not of one realm; the call is about another REC; it cannot end
    /// so; it is a CPU_ON that the host denies although the other REC is on already, in which case the call
    /// ends nevertheless.
    pub(super) fn psci_complete(&self, regs: &Regs) -> Reply {
        let calling = PhysAddr::new(regs.x(1));
        let (target, verdict) = match self.dialect() {
            Dialect::Main | Dialect::V1 => (Some(PhysAddr::new(regs.x(2))), regs.x(3)),
            Dialect::Bet2 => (self.psci_target(calling), regs.x(2)),
        };
        let locked = target.and_then(|target| self.lock_two_recs(calling, target));
        let Some((mut calling, mut target)) = locked else {
            return Reply::new(Status::ErrorInput);
        };
        if calling.count() != 0 {
            return Reply::new(Status::ErrorInput);
        }
        let runs = target.count() != 0;
        let status = self.platform.with(&mut calling, |data| {
            let caller = Rec::view(data);
            self.platform.with(&mut target, |data| {
                psci_end(caller, Rec::view(data), runs, verdict)
            })
        });
        Reply::new(status)
    }

    /// The REC that the last PSCI call of the REC at `pa` was about. What it may be by the time that both
    /// are held is checked then.
    fn psci_target(&self, pa: PhysAddr) -> Option<PhysAddr> {
        let mut rec = self.granules.lock::<granule::Rec>(pa)?;
        let target = |data: &mut GranuleData| Rec::view(data).psci_target();
        Some(self.platform.with(&mut rec, target))
    }

    /// Takes two different RECs, in the order of their addresses.
    #[allow(clippy::type_complexity, reason = "it is a pair of tokens")]
    fn lock_two_recs(
        &self,
        a: PhysAddr,
        b: PhysAddr,
    ) -> Option<(Locked<'_, granule::Rec>, Locked<'_, granule::Rec>)> {
        let lock = |pa| self.granules.lock::<granule::Rec>(pa);
        if a < b {
            let first = lock(a)?;
            Some((first, lock(b)?))
        } else if b < a {
            let first = lock(b)?;
            Some((lock(a)?, first))
        } else {
            None
        }
    }
}
const _: () = assert!(AUX_GRANULES == donated::MAX);

/// PSCI_COMPLETE with both RECs at hand. If `runs`, the target is what it was when it was entered.
fn psci_end(caller: &mut Rec, target: &mut Rec, runs: bool, status: u64) -> Status {
    let pending = caller.is_psci_pending();
    let related = caller.rd() == target.rd() && psci::is_about(caller, target.index());
    if !pending || !related {
        return Status::ErrorInput;
    }
    let [_, _, entry, context_id, ..] = caller.context.gprs;
    match psci::complete(caller, runs || target.is_runnable(), status) {
        Ok(completion) => {
            if completion.start {
                let sctlr = caller.context.el1.sctlr_el1;
                target.context.restart(entry, context_id, sctlr);
                target.set_runnable(true);
            }
            completion.status
        }
        Err(status) => status,
    }
}
