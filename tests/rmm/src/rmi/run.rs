// SPDX-License-Identifier: GPL-2.0

//! REC_ENTER: runs a REC.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::{Failure, Reply, Rmm};
use crate::granule::{self, State as GranuleState, Undelegated};
use crate::platform::{Platform, LIST_REGISTERS};
use crate::rd::{Rd, State};
use crate::rec::exit::{Enter, Exit, ENTER_FLAGS_WORD, ENTER_GIC_WORD, ENTER_GPRS_WORD, EXIT_WORD};
use crate::rec::{Options, Realm, Rec, Running};

impl<P: Platform> Rmm<'_, P> {
    /// RMI_REC_ENTER. x1: PA of the REC. x2: PA of `RmiRecRun` in the host's memory.
    ///
    /// Runs the REC until it exits, and says why in the second half of the page. In this order:
    /// ERROR_INPUT if the page is not in the host's memory, or there is no REC; ERROR_REC if it runs
    /// already; ERROR_REALM if the realm is not active, in RMI 1.0 with index 1 if it was; ERROR_REC if the REC is not in the state for
    /// what the host wants. ERROR_INPUT as well if the host has taken the page away meanwhile; then
    /// nothing is said about the exit.
    pub(super) fn rec_enter(&self, regs: &Regs) -> Reply {
        let (pa, page) = (PhysAddr::new(regs.x(1)), PhysAddr::new(regs.x(2)));
        if self.granules.state(page) != Some(GranuleState::Undelegated) {
            return Reply::new(Status::ErrorInput);
        }
        let Some(mut granule) = self.granules.lock::<granule::Rec>(pa) else {
            return Reply::new(Status::ErrorInput);
        };
        let mut rec = self
            .platform
            .with(&mut granule, |data| Rec::view(data).clone());
        // From here on the REC is this CPU's, by the reference.
        let Ok(_claim) = granule.claim() else {
            return Reply::new(Status::ErrorRec);
        };
        let Some(enter) = self.read_enter(page) else {
            return Reply::new(Status::ErrorInput);
        };
        let realm = match self.realm_enter(rec.rd()) {
            Ok(realm) => realm,
            Err(failure) => return Reply::failed(failure),
        };

        let mut running = Running {
            rmm: self,
            realm,
            rec: &mut rec,
            exit: Exit::new(),
        };
        let entered = running.enter(&enter);
        let exit = running.exit;
        let mut granule = self.granules.own::<granule::Rec>(pa);
        self.platform
            .with(&mut granule, |data| *Rec::view(data) = rec.clone());
        drop(granule);

        let told = entered.and_then(|()| self.write_exit(page, &exit));
        self.realm_leave(rec.rd());
        Reply::new(told.err().unwrap_or(Status::Success))
    }

    /// Reads the host's half of the page. `None` if it is not in the host's memory.
    fn read_enter(&self, page: PhysAddr) -> Option<Enter> {
        let page = self.granules.lock::<Undelegated>(page)?;
        let mut flags = [0];
        let mut enter = Enter::default();
        self.platform.read(&page, ENTER_FLAGS_WORD, &mut flags);
        self.platform.read(&page, ENTER_GPRS_WORD, &mut enter.gprs);
        [enter.flags] = flags;
        if self.is_v1() {
            let mut gic = [0; 1 + LIST_REGISTERS];
            self.platform.read(&page, ENTER_GIC_WORD, &mut gic);
            let [hcr, lrs @ ..] = gic;
            (enter.gic_hcr, enter.gic_lrs) = (hcr, lrs);
        }
        Some(enter)
    }

    /// Writes the RMM's half of the page.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorInput`] if it is not in the host's memory.
    fn write_exit(&self, page: PhysAddr, exit: &Exit) -> Result<(), Status> {
        let page = self
            .granules
            .lock::<Undelegated>(page)
            .ok_or(Status::ErrorInput)?;
        self.platform.write(&page, EXIT_WORD, exit.words());
        Ok(())
    }

    /// Counts a REC that runs.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorRealm`] if the realm is not active.
    fn realm_enter(&self, rd: PhysAddr) -> Result<Realm, Failure> {
        let v1 = self.is_v1();
        let mut granule = self.granules.own::<granule::Rd>(rd);
        self.platform.with(&mut granule, |data| {
            let rd = Rd::view(data);
            if rd.state() != State::Active {
                return Err(Failure {
                    status: Status::ErrorRealm,
                    index: u8::from(v1 && rd.state() == State::SystemOff),
                });
            }
            rd.running = rd.running.saturating_add(1);
            Ok(Realm {
                stage2: rd.stage2(),
                options: Options {
                    sve: rd.sve_vl().is_some(),
                    pmu: rd.pmu_counters().is_some(),
                },
            })
        })
    }

    /// The opposite of [`Self::realm_enter`].
    fn realm_leave(&self, rd: PhysAddr) {
        let mut granule = self.granules.own::<granule::Rd>(rd);
        self.platform.with(&mut granule, |data| {
            let rd = Rd::view(data);
            rd.running = rd.running.saturating_sub(1);
        });
    }
}
