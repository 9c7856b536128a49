// SPDX-License-Identifier: GPL-2.0

//! The commands that make a realm, let it run, stop it and take it apart.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::dialect::REALM_AUX;
use super::op::give_back_start;
use super::realm_params::{RawParams, RealmParams};
use super::{Dialect, Failure, Reply, Rmm};
use crate::granule::{Aux, Delegated, Locked, Partial, Rd as RdGranule, Rtt, Undelegated};
use crate::platform::{GranuleData, Platform, GRANULE_WORDS};
use crate::rd::{Rd, State, INSTANCE_ID_BYTES};
use crate::rtt::{block_size, tables, Entry, Ripas, Stage2, Table, ENTRIES};
use crate::sro::{GiveBack, Next, Operation, Work};

/// First byte of an instance id: the rest is random.
const UEID_RAND: u8 = 1;

impl<P: Platform> Rmm<'_, P> {
    /// RMI_REALM_CREATE. x1: PA of a delegated granule, which becomes the RD. x2: PA of an
    /// `RmiRealmParams`, in a granule of the host's; the root tables that it names are delegated.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: the parameters are not in such a granule; the machine cannot do
    /// what they ask for. ERROR_GLOBAL: as many realms as VMIDs. In [`Dialect::V1`], where the host chooses
    /// the VMID, ERROR_INPUT: another realm has it, or none can. ERROR_INPUT: a root table is not
    /// delegated. BLOCKED or BUSY: there are too many operations. ERROR_INPUT: the RD is not delegated,
    /// or one of the root tables.
    ///
    /// In [`Dialect::Bet2`] begins an operation that asks for donations; in the others none, and there
    /// cannot be too many.
    pub(super) fn realm_create(&self, regs: &Regs) -> Result<Reply, Failure> {
        let mut data: GranuleData = [0; GRANULE_WORDS];
        let page = self
            .granules
            .lock::<Undelegated>(PhysAddr::new(regs.x(2)))
            .ok_or(Status::ErrorInput)?;
        self.platform.read(&page, 0, &mut data);
        drop(page);

        let v1 = self.is_v1();
        let mut params = RawParams::view(&data)
            .check(&self.platform, v1)
            .ok_or(Status::ErrorInput)?;
        let bits = self.vmid_bits();
        if !v1 {
            params.stage2.vmid = self.vmids.take(bits).ok_or(Status::ErrorGlobal)?;
        } else if !self.vmids.reserve(params.stage2.vmid, bits) {
            return Err(Status::ErrorInput.into());
        }
        let created = self.create(PhysAddr::new(regs.x(1)), &params);
        if created.is_err() {
            self.vmids.give(params.stage2.vmid);
        }
        created
    }

    /// Takes the root tables and the RD, and fills them.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT if one of them is not delegated, BLOCKED or BUSY; then all are as they were.
    fn create(&self, rd: PhysAddr, params: &RealmParams) -> Result<Reply, Failure> {
        // One by one, each let go again: the host may have named one granule twice, and the second
        // time it is found in use.
        let stage2 = params.stage2;
        for (done, pa) in (0..).zip(stage2.root_tables()) {
            let Some(table) = self.granules.lock::<Delegated>(pa) else {
                self.free_roots(stage2.root, done);
                return Err(Status::ErrorInput.into());
            };
            drop(table.change::<Rtt>());
        }
        let free = |status: Status| {
            self.free_roots(stage2.root, u64::from(stage2.roots));
            Failure::from(status)
        };
        let place = match self.dialect() {
            Dialect::Main | Dialect::V1 => None,
            Dialect::Bet2 => Some(self.operations.reserve().map_err(&free)?),
        };
        let rd = self.granules.lock::<Delegated>(rd);
        let mut rd = rd.ok_or_else(|| free(Status::ErrorInput))?;

        self.platform.scrub(&rd);
        let mut ipa = 0;
        for pa in stage2.root_tables() {
            let mut table = self.granules.own::<Rtt>(pa);
            ipa = self.platform.with(&mut table, |data| {
                fill_root(
                    &Table::view(data, stage2.start_level, stage2.lpa2),
                    &stage2,
                    ipa,
                )
            });
        }
        let instance_id = self.instance_id();
        self.platform.with(&mut rd, |data| {
            let rd = Rd::view(data);
            rd.set_state(State::New);
            rd.set_stage2(stage2);
            rd.set_algorithm(params.algorithm);
            rd.set_sve_vl(params.sve_vl);
            rd.set_pmu_counters(params.pmu_counters);
            rd.rpv = params.rpv;
            rd.instance_id = instance_id;
            rd.rim().start(&params.measured);
        });
        Ok(match place {
            // Nobody has heard of the realm yet, so that the order of the locks does not matter.
            None => {
                drop(rd.change::<RdGranule>());
                Reply::new(Status::Success)
            }
            Some(place) => {
                let work = Work::RealmCreate(rd.pa());
                drop(rd.change::<Partial>());
                let next = Next::Donate(REALM_AUX);
                Reply::incomplete(next, place.suspend(Operation { next, work }))
            }
        })
    }

    /// The last step of REALM_CREATE: everything that was asked for has been donated.
    pub(super) fn realm_create_finish(&self, rd: PhysAddr) -> Reply {
        let mut rd = self.granules.own::<Partial>(rd);
        let donated = self
            .platform
            .with(&mut rd, |data| Rd::view(data).donated.granules());
        for pa in donated {
            let mut granule = self.granules.own::<Aux>(pa);
            self.platform.with(&mut granule, |data| data.fill(0));
        }
        drop(rd.change::<RdGranule>());
        Reply::new(Status::Success)
    }

    /// RMI_REALM_ACTIVATE. x1: PA of the RD.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: not an RD. ERROR_REALM: the realm is not new.
    pub(super) fn realm_activate(&self, regs: &Regs) -> Result<Reply, Failure> {
        let mut rd = self.lock_rd(regs.x(1))?;
        self.with_rd(&mut rd, |rd| {
            if rd.state() != State::New {
                return Err(Status::ErrorRealm.into());
            }
            rd.set_state(State::Active);
            Ok(Reply::new(Status::Success))
        })
    }

    /// RMI_REALM_TERMINATE. x1: PA of the RD. From here on, no REC of the realm runs.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: not an RD. ERROR_REALM: a REC of the realm runs.
    pub(super) fn realm_terminate(&self, regs: &Regs) -> Result<Reply, Failure> {
        let mut rd = self.lock_rd(regs.x(1))?;
        self.with_rd(&mut rd, |rd| {
            if rd.running != 0 {
                return Err(Status::ErrorRealm.into());
            }
            rd.set_state(State::Terminated);
            Ok(Reply::new(Status::Success))
        })
    }

    /// RMI_REALM_DESTROY. x1: PA of the RD. The RD and the root tables are delegated afterwards.
    ///
    /// In [`Dialect::Bet2`] begins an operation that gives back what was donated.
    ///
    /// # Errors
    ///
    /// In this order. In [`Dialect::Bet2`], BLOCKED or BUSY: there are too many operations. ERROR_INPUT:
    /// not an RD. ERROR_REALM: the realm still has RECs, is not terminated (which is not asked for in
    /// [`Dialect::V1`]), or its root tables are in use.
    pub(super) fn realm_destroy(&self, regs: &Regs) -> Result<Reply, Failure> {
        let place = match self.dialect() {
            Dialect::Main | Dialect::V1 => None,
            Dialect::Bet2 => Some(self.operations.reserve()?),
        };
        let mut rd = self.lock_rd(regs.x(1))?;
        if rd.count() != 0 {
            return Err(Status::ErrorRealm.into());
        }
        let (state, stage2) = self.with_rd(&mut rd, |rd| (rd.state(), rd.stage2()));
        let in_use = |pa| self.granules.own::<Rtt>(pa).count() != 0;
        let stopped = self.is_v1() || state == State::Terminated;
        if !stopped || stage2.root_tables().any(in_use) {
            return Err(Status::ErrorRealm.into());
        }
        // The tables cannot come into use again: that takes the RD, which is held. What they had of
        // the host's memory may still be in a TLB.
        self.platform
            .invalidate_stage2(stage2.vmid, 0..stage2.ipa_size());
        self.free_stage2(&stage2);
        let Some(place) = place else {
            drop(rd.change::<Delegated>());
            return Ok(Reply::new(Status::Success));
        };
        let (reply, operation) = give_back_start(GiveBack {
            object: rd.pa(),
            status: Status::Success,
            unborn: false,
        });
        drop(rd.change::<Partial>());
        let handle = operation.map(|operation| place.suspend(operation));
        Ok(reply.results([handle.unwrap_or(0)]))
    }

    /// Takes the RD that the host names.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorInput`] if it is none.
    pub(crate) fn lock_rd(&self, pa: u64) -> Result<Locked<'_, RdGranule>, Failure> {
        let rd = self.granules.lock(PhysAddr::new(pa));
        rd.ok_or_else(|| Status::ErrorInput.into())
    }

    /// Runs `f` on the RD in a granule.
    pub(crate) fn with_rd<R>(
        &self,
        granule: &mut Locked<'_, RdGranule>,
        f: impl FnOnce(&mut Rd) -> R,
    ) -> R {
        self.platform.with(granule, |data| f(Rd::view(data)))
    }

    /// Lets go of what stage 2 of a realm is made of, apart from what is below the root tables.
    pub(super) fn free_stage2(&self, stage2: &Stage2) {
        self.free_roots(stage2.root, u64::from(stage2.roots));
        self.vmids.give(stage2.vmid);
    }

    /// Makes the first `count` root tables delegated again.
    fn free_roots(&self, root: PhysAddr, count: u64) {
        for pa in tables(root, count) {
            drop(self.granules.own::<Rtt>(pa).change::<Delegated>());
        }
    }

    fn instance_id(&self) -> [u8; INSTANCE_ID_BYTES] {
        let mut id = [UEID_RAND; INSTANCE_ID_BYTES];
        let (_, random) = id.split_at_mut(1);
        for chunk in random.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.platform.random().to_le_bytes());
        }
        id
    }

    /// Bits of a VMID: ID_AA64MMFR1_EL1.VMIDBits.
    fn vmid_bits(&self) -> u32 {
        match self.platform.id_register(7, 1) >> 4 & 0xf {
            2 => 16,
            _ => 8,
        }
    }
}

/// Fills a root table whose first entry is for `ipa`, and returns the IPA of the next one.
fn fill_root(table: &Table<'_>, stage2: &Stage2, mut ipa: u64) -> u64 {
    for index in 0..ENTRIES {
        let entry = if stage2.is_protected(ipa) {
            Entry::Unassigned(Ripas::Empty)
        } else {
            Entry::UnassignedNs
        };
        table.set(index, entry);
        ipa = ipa.saturating_add(block_size(table.level()));
    }
    ipa
}
