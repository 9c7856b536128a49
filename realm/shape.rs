// SPDX-License-Identifier: GPL-2.0

//! What a realm is made with: what it has in common with its vCPUs, and what its VMM has chosen.

use crate::{
    rmi::{cmd::realm::HashAlgorithm, Features},
    sys::{
        kvm::{Kvm, DFR0_BRPS, DFR0_WRPS},
        prelude::*, //
    }, //
};

/// What a realm is made with that its vCPUs have: it cannot be changed afterwards, though vCPUs may
/// still be initialised then.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// The SVE vector length in quadwords.
    pub sve_vq: Option<u64>,
    /// Breakpoints.
    pub breakpoints: u64,
    /// Watchpoints.
    pub watchpoints: u64,
    /// Event counters of the PMU, if there is one.
    pub pmu_counters: Option<u64>,
}

impl Shape {
    /// What the vCPUs that there are have, as far as the RMM has it; of SVE vectors what vCPU 0 has.
    ///
    /// # Errors
    ///
    /// `EINVAL` for longer vectors or more counters than the RMM has, and for a PMU without counters.
    pub fn of(kvm: &Kvm, features: &Features) -> Result<Self> {
        let sve_vq = kvm.vcpu(0).and_then(|vcpu| vcpu.sve_vq());
        let dfr0 = kvm.id_aa64dfr0();
        // Until a vCPU is initialised the VM has no ID registers, and wants no less than there is.
        let field = |low: u32| match dfr0 {
            0 => u64::MAX,
            dfr0 => ((dfr0 >> low) & 0xf) + 1,
        };
        if sve_vq.is_some_and(|vq| !features.sve() || vq > features.sve_vq()) {
            return Err(EINVAL);
        }
        let pmu_counters = kvm.pmu_counters();
        if pmu_counters.is_some_and(|n| !pmu_can_have(features, n)) {
            return Err(EINVAL);
        }
        Ok(Self {
            sve_vq,
            breakpoints: field(DFR0_BRPS).min(features.breakpoints()),
            watchpoints: field(DFR0_WRPS).min(features.watchpoints()),
            pmu_counters,
        })
    }
}

/// Whether the PMU of a realm can have so many event counters.
pub fn pmu_can_have(features: &Features, counters: u64) -> bool {
    features.pmu() && (1..=features.pmu_counters()).contains(&counters)
}

/// What a realm is made with that is its VMM's choice.
#[derive(Clone, Copy)]
pub struct Choice {
    /// How it is measured; `None` if the RMM measures in no way that we know.
    pub hash: Option<HashAlgorithm>,
    /// The realm personalisation value, as it lies in memory.
    pub rpv: [u64; 8],
}

impl Choice {
    /// What is chosen for a VMM that does not: the first hash algorithm that the RMM has, and zeroes.
    pub fn new(features: &Features) -> Self {
        Self {
            hash: hashes(features).next(),
            rpv: [0; 8],
        }
    }
}

/// The hash algorithms that the RMM has, those that are taken first at the front.
pub(super) fn hashes(features: &Features) -> impl Iterator<Item = HashAlgorithm> + '_ {
    let has = move |hash: &HashAlgorithm| match hash {
        HashAlgorithm::Sha256 => features.sha256(),
        HashAlgorithm::Sha384 => features.sha384(),
        HashAlgorithm::Sha512 => features.sha512(),
    };
    HashAlgorithm::ALL.into_iter().filter(has)
}
