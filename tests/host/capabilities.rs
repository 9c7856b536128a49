// SPDX-License-Identifier: GPL-2.0

//! What management software reads of the RMM's features.

use core::fmt;
use kvm_arm_rmi::realm::status::print_capabilities;
use kvm_arm_rmi::rmi::Features;

struct Shown(Features);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_capabilities(&self.0, f)
    }
}

#[test]
fn capabilities_are_a_line_of_json() {
    let lpa2 = 1 << 8;
    let sve = 1 << 9 | 3 << 10;
    let debug = 5 << 14 | 3 << 20;
    let pmu = 1 << 26 | 6 << 27;
    for (regs, wanted) in [
        (
            [
                52 | lpa2 | sve | debug | pmu,
                1 << 3 | 1 << 4 | 1 << 5,
                0,
                0,
                0,
            ],
            r#"{"ipa_bits":52,"granule_size":4096,"hash_algorithms":["sha-256","sha-384","sha-512"],"sve_vector_bits":512,"breakpoints":6,"watchpoints":4,"pmu":true,"pmu_counters":6}"#,
        ),
        (
            [48, 1 << 5, 0, 0, 0],
            r#"{"ipa_bits":48,"granule_size":4096,"hash_algorithms":["sha-512"],"sve_vector_bits":0,"breakpoints":1,"watchpoints":1,"pmu":false,"pmu_counters":0}"#,
        ),
        // What is wider than 48 bits takes LPA2.
        (
            [52, 1 << 5, 0, 0, 0],
            r#"{"ipa_bits":48,"granule_size":4096,"hash_algorithms":["sha-512"],"sve_vector_bits":0,"breakpoints":1,"watchpoints":1,"pmu":false,"pmu_counters":0}"#,
        ),
        // Counters of no PMU are none.
        (
            [40 | 6 << 27, 0, 0, 0, 0],
            r#"{"ipa_bits":40,"granule_size":4096,"hash_algorithms":[],"sve_vector_bits":0,"breakpoints":1,"watchpoints":1,"pmu":false,"pmu_counters":0}"#,
        ),
    ] {
        assert_eq!(
            Shown(Features::new(regs)).to_string(),
            format!("{wanted}\n")
        );
    }
}
