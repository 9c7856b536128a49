// SPDX-License-Identifier: GPL-2.0

//! A realm with a PMU: what it is made with, and how user space chooses the number of counters.

use super::told::made;
use super::*;
use crate::firmware::PMU_COUNTERS;
use kvm_arm_rmi::sys::user::OneReg;

const PMCR: u64 = 0x6030_0000_0013_dce0;
const MOST: u64 = PMU_COUNTERS as u64;

/// A vCPU's PMCR_EL0 with so many counters.
fn pmcr(counters: u64) -> u64 {
    counters << 11 | 1 << 6
}

/// `KVM_SET_ONE_REG` of PMCR_EL0.
fn set(world: &World, value: u64) -> Result<bool, Error> {
    let words = [value, 0, 0, 0, 0, 0, 0, 0];
    world.vm.may_set_reg(0, &OneReg { id: PMCR, words })
}

/// Word 0 of what a realm is made with has the PMU in bit 2, and word 5 its counters.
#[test]
fn a_realm_has_the_counters_of_its_vcpus() {
    for counters in [1, 4, MOST] {
        alone(move |world| {
            world.vm.init_pmu(counters);
            let page = made(world);
            assert_eq!((page[0], page[5]), (1 << 2, counters));
            assert_eq!(world.run(0, private(0..1)), [true]);
        });
    }
}

#[test]
fn counters_that_a_realm_cannot_have() {
    alone(|world| {
        // As KVM_ARM_VCPU_PMU_V3_SET_NR_COUNTERS, and a KVM that knows nothing of the RMM's maximum.
        for counters in [0, MOST + 1, 31] {
            world.vm.init_pmu(counters);
            assert_eq!(world.begin(), Err(EINVAL));
            let result = world.vm.run(0, &mut Guest::new([]));
            assert_eq!(result, Err((EINVAL, Exit::None)));
        }
        // It is not too late.
        world.vm.init_pmu(MOST);
        assert_eq!(world.run(0, private(0..1)), [true]);
    });
}

/// What the realm was made with is its PMU as well.
#[test]
fn a_realm_that_was_made_with_other_counters() {
    for first in [None, Some(2)] {
        alone(move |world| {
            if let Some(counters) = first {
                world.vm.init_pmu(counters);
            }
            world.populate(0..1).unwrap();
            world.vm.init_pmu(3);
            let result = world.vm.run(0, &mut Guest::new([]));
            assert_eq!(result, Err((EINVAL, Exit::None)));
        });
    }
}

#[test]
fn user_space_chooses_the_number_of_counters() {
    alone(|world| {
        // KVM has no such register.
        assert_eq!(set(world, 0), Ok(false));
        assert_eq!(world.vm.listed_reg(0, 33), None);
        world.vm.init_pmu(MOST);
        assert_eq!(world.vm.listed_reg(0, 33), Some(PMCR));
        assert_eq!(world.vm.listed_reg(0, 34), None);
        world.vm.init_sve(0, 4);
        let last = [33, 34, 35].map(|n| world.vm.listed_reg(0, n));
        assert_eq!(last, [Some(PMCR), Some(0x6060_0000_0015_ffff), None]);
        world.vm.init_sve(0, 0);

        assert_eq!(set(world, pmcr(MOST)), Ok(true));
        for counters in 1..MOST {
            assert_eq!(set(world, pmcr(counters)), Ok(false));
        }
        for counters in [0, MOST + 1, 31] {
            assert_eq!(set(world, pmcr(counters)), Err(EINVAL));
        }
        // Nothing else of it: neither that the counters count, nor what the CPU is.
        for bit in [0, 5, 6, 7, 16, 24, 63] {
            assert_eq!(set(world, pmcr(2) ^ 1 << bit), Err(EINVAL), "{bit}");
            assert_eq!(set(world, pmcr(MOST) ^ 1 << bit), Err(EINVAL), "{bit}");
        }
        world.begin().unwrap();
        assert_eq!(set(world, pmcr(MOST)), Ok(true));
        assert_eq!(set(world, pmcr(2)), Err(EBUSY));
        assert_eq!(set(world, pmcr(31)), Err(EBUSY));
        assert!(world.run(0, []).is_empty());
        assert_eq!(set(world, pmcr(MOST)), Ok(true));
        assert_eq!(set(world, pmcr(2)), Err(EBUSY));
    });
}
