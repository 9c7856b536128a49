// SPDX-License-Identifier: GPL-2.0

//! The machine under the state machine: Realm EL2 with EL3 above it.

use rmm::features::CpuId;
use rmm::granule::{Delegated, Locked, Undelegated};
use rmm::platform::{GptRefused, GranuleData, Platform};

use crate::memory::Windows;
use crate::{arch, el3};

/// Realm EL2.
pub(crate) struct RealmEl2 {
    windows: Windows,
}

impl RealmEl2 {
    /// The machine, with its memory in `windows`.
    pub(crate) const fn new(windows: Windows) -> Self {
        Self { windows }
    }
}

impl Platform for RealmEl2 {
    fn cpu_id(&self) -> CpuId {
        CpuId {
            dfr0: arch::id_aa64dfr0(),
            dfr1: arch::id_aa64dfr1(),
            mmfr0: arch::id_aa64mmfr0(),
        }
    }

    fn gpt_delegate(&self, granule: &Locked<'_, Undelegated>) -> Result<(), GptRefused> {
        el3::delegate(granule)
    }

    fn gpt_undelegate(&self, granule: &Locked<'_, Delegated>) -> Result<(), GptRefused> {
        el3::undelegate(granule)
    }

    fn scrub(&self, granule: &Locked<'_, Delegated>) {
        self.windows.scrub(granule);
    }

    fn read(&self, granule: &Locked<'_, Undelegated>, words: &mut [u64]) {
        self.windows.read(granule, words);
    }

    fn write(&self, granule: &Locked<'_, Undelegated>, data: &GranuleData) {
        self.windows.write(granule, data);
    }

    fn interrupt_pending(&self) -> bool {
        arch::isr() != 0
    }
}
