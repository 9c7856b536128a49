// SPDX-License-Identifier: GPL-2.0

//! The PMU of a REC.
//!
//! A realm that has one has the CPU's: what counts there is nobody else's while the realm runs. The
//! interrupt of the CPU's PMU is the host's, which is told at each exit whether the realm's counters
//! ask for one, and gives the realm a virtual interrupt.

use super::context::{Pmu, PMU_COUNTERS};

/// PMCR_EL0.E: what is enabled counts.
const PMCR_E: u64 = 1 << 0;
/// PMCR_EL0.DP: the cycle counter stands still where counting events is prohibited.
const PMCR_DP: u64 = 1 << 5;
/// PMCR_EL0.LC: the cycle counter overflows after 64 bits.
const PMCR_LC: u64 = 1 << 6;

impl Pmu {
    /// A PMU with this many event counters, or none, on a CPU that starts.
    pub(super) fn at_reset(counters: Option<u8>) -> Self {
        Self {
            present: u64::from(counters.is_some()),
            counters: u64::from(counters.unwrap_or(0)).min(PMU_COUNTERS as u64),
            pmcr_el0: PMCR_LC | PMCR_DP,
            ..Self::default()
        }
    }

    /// `RmiPmuOverflowStatus`: 1 if a counter that counts has run over, and is to interrupt.
    pub(super) fn overflow_status(&self) -> u64 {
        let counters = self.pmovsset_el0 & self.pmintenset_el1 & self.pmcntenset_el0;
        let counting = self.present != 0 && self.pmcr_el0 & PMCR_E != 0;
        u64::from(counting && counters != 0)
    }
}
