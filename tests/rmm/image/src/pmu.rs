// SPDX-License-Identifier: GPL-2.0

//! The PMU, which the host and the realms share: EL3 does not switch it.
//!
//! A realm with a PMU gets the whole of it, and the host's state waits in memory. Beside a realm without,
//! the host's counters stand still. Nothing counts at Realm EL2 itself: MDCR_EL2.HPMD and HCCD.

use rmm::rec::context::Pmu;

use crate::arch::{self, mrs, msr};
use crate::cpu::{self, Features};

/// PMCR_EL0: the counters count (E).
const PMCR_E: u64 = 1;
/// All counters, the cycle counter and the instruction counter: a bit each.
const ALL: u64 = (1 << 33) - 1;

/// What is the host's while a REC runs: everything if the realm has a PMU ([`Pmu::present`]), and
/// PMCR_EL0 otherwise. It has no values to spare, by which "none" would be anything but zeroes: those take no
/// room in the image.
pub(crate) struct Host(Pmu);

impl Host {
    /// Saves what is the host's, and loads `realm` if that is a PMU.
    pub(crate) fn take_over(features: &Features, realm: &Pmu) -> Self {
        let mut host = Pmu::default();
        if !features.pmu {
            return Self(host);
        }
        host.pmcr_el0 = mrs!("pmcr_el0");
        if realm.present == 0 {
            msr!("pmcr_el0", host.pmcr_el0 & !PMCR_E);
            return Self(host);
        }
        host.present = 1;
        host.counters = cpu::counters(host.pmcr_el0);
        save(&mut host);
        load(realm);
        msr!("mdcr_el2", cpu::mdcr_with_pmu(realm.counters));
        arch::isb();
        Self(host)
    }

    /// Saves `realm` if it was loaded, and loads what is the host's.
    pub(crate) fn give_back(&self, features: &Features, realm: &mut Pmu) {
        let Self(host) = self;
        if !features.pmu {
            return;
        }
        if host.present == 0 {
            msr!("pmcr_el0", host.pmcr_el0);
            return;
        }
        msr!("mdcr_el2", features.mdcr());
        save(realm);
        load(host);
    }
}

/// Saves the PMU, with as many event counters as `to` has.
fn save(to: &mut Pmu) {
    to.pmcr_el0 = mrs!("pmcr_el0");
    to.pmcntenset_el0 = mrs!("pmcntenset_el0");
    to.pmintenset_el1 = mrs!("pmintenset_el1");
    to.pmovsset_el0 = mrs!("pmovsset_el0");
    to.pmselr_el0 = mrs!("pmselr_el0");
    to.pmuserenr_el0 = mrs!("pmuserenr_el0");
    to.pmccntr_el0 = mrs!("pmccntr_el0");
    to.pmccfiltr_el0 = mrs!("pmccfiltr_el0");
    let counters = to.pmevcntr_el0.iter_mut().zip(&mut to.pmevtyper_el0);
    for (n, (counter, event)) in (0..to.counters).zip(counters) {
        select(n);
        *counter = mrs!("pmxevcntr_el0");
        *event = mrs!("pmxevtyper_el0");
    }
}

/// Loads what [`save`] saved. Until all of it is there nothing counts or interrupts.
fn load(from: &Pmu) {
    msr!("pmintenclr_el1", ALL);
    msr!("pmcntenclr_el0", ALL);
    let counters = from.pmevcntr_el0.iter().zip(&from.pmevtyper_el0);
    for (n, (counter, event)) in (0..from.counters).zip(counters) {
        select(n);
        msr!("pmxevtyper_el0", *event);
        msr!("pmxevcntr_el0", *counter);
    }
    msr!("pmccfiltr_el0", from.pmccfiltr_el0);
    msr!("pmccntr_el0", from.pmccntr_el0);
    msr!("pmuserenr_el0", from.pmuserenr_el0);
    msr!("pmselr_el0", from.pmselr_el0);
    msr!("pmcr_el0", from.pmcr_el0);
    msr!("pmovsclr_el0", ALL);
    msr!("pmovsset_el0", from.pmovsset_el0);
    msr!("pmcntenset_el0", from.pmcntenset_el0);
    msr!("pmintenset_el1", from.pmintenset_el1);
    arch::isb();
}

/// Chooses the counter that the registers with an X are of.
fn select(n: u64) {
    msr!("pmselr_el0", n);
    arch::isb();
}
