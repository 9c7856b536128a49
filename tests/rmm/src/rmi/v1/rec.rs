// SPDX-License-Identifier: GPL-2.0

//! The commands that make a REC and take it down. The host provides all memory for it at once, and has it
//! back at once.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::super::{Failure, Reply, Rmm};
use crate::donated::Donated;
use crate::granule::{self, Aux, Delegated, Partial, Undelegated};
use crate::platform::Platform;
use crate::rec::{Rec, AUX_GRANULES};
use crate::sro::RecCreate;

/// `RmiRecParams`: word with the number of auxiliary granules. Their PAs follow.
const AUX_WORD: usize = 0x800 / 8;

impl<P: Platform> Rmm<'_, P> {
    /// RMI_REC_AUX_COUNT. x1: PA of the RD.
    ///
    /// Returns how many granules a REC of the realm takes besides its own.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: there is no RD.
    pub(super) fn rec_aux_count(&self, regs: &Regs) -> Result<Reply, Failure> {
        self.lock_rd(regs.x(1))?;
        Ok(Reply::with(Status::Success, [AUX_GRANULES as u64]))
    }

    /// RMI_REC_CREATE. x1: PA of the RD. x2: PA of a delegated granule for the REC. x3: PA of
    /// `RmiRecParams` in the host's memory; the auxiliary granules that it names are delegated.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: the parameters are not in the host's memory; they name more auxiliary
    /// granules than there can be; one of those is not delegated; the granule is not, or there is no RD.
    /// ERROR_REALM: the realm has too many RECs, or is not new. ERROR_INPUT: the MPIDR is not that of the
    /// next REC; there are too few auxiliary granules. Then all granules are as they were.
    pub(super) fn v1_rec_create(&self, regs: &Regs) -> Result<Reply, Failure> {
        let [rd, rec, params] = [1, 2, 3].map(|n| PhysAddr::new(regs.x(n)));
        let page = self.granules.lock::<Undelegated>(params);
        let page = page.ok_or(Status::ErrorInput)?;
        let mut aux = [0; 1 + AUX_GRANULES];
        self.platform.read(&page, AUX_WORD, &mut aux);
        let values = self.read_rec_params(&page);
        drop(page);

        let [count, aux @ ..] = aux;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let aux = aux.map(PhysAddr::new);
        let aux = aux.get(..count).ok_or(Status::ErrorInput)?;
        // One by one, each let go again: the host may have named one granule twice, and the second time it is
        // found in use.
        for (done, pa) in aux.iter().enumerate() {
            let Some(granule) = self.granules.lock::<Delegated>(*pa) else {
                self.free_aux(aux.get(..done).unwrap_or_default());
                return Err(Status::ErrorInput.into());
            };
            drop(granule.change::<Aux>());
        }
        let Some(granule) = self.granules.lock::<Delegated>(rec) else {
            self.free_aux(aux);
            return Err(Status::ErrorInput.into());
        };
        let mut object = granule.change::<Partial>();
        self.platform
            .with(&mut object, |data| Donated::view(data).set(aux));
        drop(object);

        if let Err(status) = self.rec_make(RecCreate { rd, rec, params }, &values) {
            drop(self.granules.own::<Partial>(rec).change::<Delegated>());
            self.free_aux(aux);
            return Err(status.into());
        }
        Ok(Reply::new(Status::Success))
    }

    /// RMI_REC_DESTROY. x1: PA of the REC, which is delegated afterwards, as its auxiliary granules are.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT: there is no REC. ERROR_REC: it runs.
    pub(super) fn v1_rec_destroy(&self, regs: &Regs) -> Result<Reply, Failure> {
        let rec = self.granules.lock::<granule::Rec>(PhysAddr::new(regs.x(1)));
        let mut rec = rec.ok_or(Status::ErrorInput)?;
        if rec.count() != 0 {
            return Err(Status::ErrorRec.into());
        }
        let (rd, aux) = self.platform.with(&mut rec, |data| {
            let rec = Rec::view(data);
            (rec.rd(), rec.aux())
        });
        self.free_aux(&aux);
        drop(rec.change::<Delegated>());
        self.granules.put(rd);
        Ok(Reply::new(Status::Success))
    }

    /// Makes auxiliary granules delegated again.
    fn free_aux(&self, aux: &[PhysAddr]) {
        for pa in aux {
            drop(self.granules.own::<Aux>(*pa).change::<Delegated>());
        }
    }
}
