// SPDX-License-Identifier: GPL-2.0

//! The commands about the RMM as a whole.

use core::sync::atomic::Ordering;

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status};

use super::{Reply, Rmm, State};
use crate::features::{feature_register, v1_feature_register};
use crate::granule::{Locked, Undelegated};
use crate::platform::{GranuleData, Platform, GRANULE_WORDS};

/// `RmiRmmConfig`: position of the tracking region size, in words.
const CONFIG_TRACKING_REGION_SIZE: usize = 0;
/// `RmiRmmConfig`: position of the granule size, in words.
const CONFIG_GRANULE_SIZE: usize = 1;
/// Words of `RmiRmmConfig` that mean something. The rest of its granule is 0.
const CONFIG_WORDS: usize = 2;

/// The only configuration there is: regions of 1 GiB (encoded 0), granules of 4 KiB (encoded 0).
const CONFIG: [u64; CONFIG_WORDS] = {
    let mut config = [0; CONFIG_WORDS];
    config[CONFIG_TRACKING_REGION_SIZE] = 0;
    config[CONFIG_GRANULE_SIZE] = 0;
    config
};

impl<P: Platform> Rmm<'_, P> {
    /// RMI_VERSION. x1: the version that the host wants.
    ///
    /// Returns the lower and the higher version that the RMM supports. ERROR_INPUT: the wanted one
    /// is not among them.
    pub(super) fn version(&self, regs: &Regs) -> Reply {
        let only = self.dialect().version();
        let status = if regs.x(1) == only {
            Status::Success
        } else {
            Status::ErrorInput
        };
        Reply::with(status, [only, only])
    }

    /// RMI_FEATURES. x1: number of the feature register.
    ///
    /// Returns its value; registers that do not exist are 0.
    pub(super) fn features(&self, regs: &Regs) -> Reply {
        let cpu = self.platform.cpu_id();
        let value = match self.is_v1() {
            true => v1_feature_register(&cpu, self.platform.gic_vtr(), regs.x(1)),
            false => feature_register(&cpu, regs.x(1)),
        };
        Reply::with(Status::Success, [value])
    }

    /// RMI_RMM_CONFIG_SET. x1: PA of an `RmiRmmConfig`, in a granule of the host's.
    ///
    /// ERROR_INPUT: the address is 0 or not that of such a granule, or the RMM cannot be configured
    /// that way.
    pub(super) fn config_set(&self, regs: &Regs) -> Reply {
        let Some(granule) = self.config_granule(regs.x(1)) else {
            return Reply::new(Status::ErrorInput);
        };
        let mut wanted = [0; CONFIG_WORDS];
        self.platform.read(&granule, 0, &mut wanted);
        drop(granule);

        if wanted == CONFIG {
            Reply::new(Status::Success)
        } else {
            Reply::new(Status::ErrorInput)
        }
    }

    /// RMI_RMM_CONFIG_GET. x1: PA of a granule of the host's, to be filled with an `RmiRmmConfig`.
    ///
    /// ERROR_INPUT: the address is 0 or not that of such a granule.
    pub(super) fn config_get(&self, regs: &Regs) -> Reply {
        let Some(granule) = self.config_granule(regs.x(1)) else {
            return Reply::new(Status::ErrorInput);
        };
        let mut data: GranuleData = [0; GRANULE_WORDS];
        for (word, value) in data.iter_mut().zip(CONFIG) {
            *word = value;
        }
        self.platform.write(&granule, 0, &data);
        Reply::new(Status::Success)
    }

    /// RMI_RMM_ACTIVATE.
    ///
    /// ERROR_GLOBAL: the RMM is active already.
    pub(super) fn activate(&self, _: &Regs) -> Reply {
        // ORDERING: AcqRel, so that of two CPUs one activates and the other sees that it did.
        let activated = self.state.compare_exchange(
            State::Init as u8,
            State::Active as u8,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match activated {
            Ok(_) => Reply::new(Status::Success),
            Err(_) => Reply::new(Status::ErrorGlobal),
        }
    }

    /// The granule of the host's that `raw` is the address of. It stays the host's while it is held.
    fn config_granule(&self, raw: u64) -> Option<Locked<'_, Undelegated>> {
        if raw == 0 {
            return None;
        }
        self.granules.lock(PhysAddr::new(raw))
    }
}
