// SPDX-License-Identifier: GPL-2.0

//! What the RMM looks up in the tables on behalf of the realm itself.

use core::ops::Range;

use super::{block_size, Entry, Ripas, Stage2, ENTRIES, LAST_LEVEL};
use crate::granule::Data;
use crate::platform::{GranuleData, Platform};
use crate::rmi::Rmm;
use kvm_arm_rmi::rmi::{PhysAddr, GRANULE_SIZE};

/// Why there is no memory at an IPA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Absent {
    /// The level at which the walk has ended.
    pub level: i8,
    /// What the realm may expect there.
    pub ripas: Ripas,
}

impl<P: Platform> Rmm<'_, P> {
    /// Runs `f` on the contents of the granule at `ipa`, which is protected. The host cannot take the
    /// granule away meanwhile.
    ///
    /// # Errors
    ///
    /// [`Absent`] if there is no granule, or if the IPA is not RAM.
    pub(crate) fn with_realm_granule<R>(
        &self,
        stage2: &Stage2,
        ipa: u64,
        f: impl FnOnce(&mut GranuleData) -> R,
    ) -> Result<R, Absent> {
        let root = self.lock_root(stage2, ipa);
        let mut walk = self.walk(stage2, root, ipa, LAST_LEVEL);
        match self.entry(&mut walk) {
            Entry::Assigned(Ripas::Ram, pa) => {
                let in_block = block_size(walk.level).saturating_sub(GRANULE_SIZE);
                let pa = PhysAddr::new(pa.raw() | ipa & in_block);
                let mut granule = self.granules().own::<Data>(pa);
                Ok(self.platform().with(&mut granule, f))
            }
            entry => Err(Absent {
                level: walk.level,
                ripas: entry.ripas().unwrap_or(Ripas::Empty),
            }),
        }
    }

    /// The RIPAS at the start of `ipas`, which are protected, and the end of those that are known to
    /// have the same: as far as one table tells.
    pub(crate) fn ripas(&self, stage2: &Stage2, ipas: Range<u64>) -> (Ripas, u64) {
        let root = self.lock_root(stage2, ipas.start);
        let mut walk = self.walk(stage2, root, ipas.start, LAST_LEVEL);
        let (first, size) = (walk.index, block_size(walk.level));
        let mut end = ipas.start & !size.wrapping_sub(1);
        self.with_table(&mut walk, |table| {
            let ripas = table.get(first).ripas();
            for index in first..ENTRIES {
                if end >= ipas.end || table.get(index).ripas() != ripas {
                    break;
                }
                end = end.saturating_add(size);
            }
            (ripas.unwrap_or(Ripas::Empty), end.min(ipas.end))
        })
    }
}
