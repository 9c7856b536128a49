// SPDX-License-Identifier: GPL-2.0

//! Random sequences of commands, against a model of a few lines.

mod common;

use std::collections::BTreeSet;

use common::{pa, Machine, Pas, OWN, RAM};
use kvm_arm_rmi::rmi::{Fid, Status, GRANULE_SIZE};
use proptest::prelude::*;
use rmm::platform::GRANULE_WORDS;

/// Granules that the sequences are about. Some are the RMM's own.
const GRANULES: u64 = 24;

/// One thing that happens.
#[derive(Clone, Debug)]
enum Step {
    Activate,
    Delegate(u64, u64),
    Undelegate(u64, u64),
    ConfigGet(u64),
    ConfigSet(u64),
    Tracking(u64, u64),
    HostWrite(u64),
    Secure(u64),
    InterruptAfter(u64),
}

/// An address near the granules; most of them aligned.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        20 => (0..GRANULES + 1).prop_map(pa),
        1 => (0..GRANULES * GRANULE_SIZE).prop_map(|offset| RAM + offset),
        1 => any::<u64>(),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Activate),
        8 => (address(), address()).prop_map(|(base, top)| Step::Delegate(base, top)),
        8 => (address(), address()).prop_map(|(base, top)| Step::Undelegate(base, top)),
        1 => address().prop_map(Step::ConfigGet),
        1 => address().prop_map(Step::ConfigSet),
        1 => (address(), address()).prop_map(|(base, top)| Step::Tracking(base, top)),
        2 => (0..GRANULES).prop_map(|n| Step::HostWrite(pa(n))),
        1 => (0..GRANULES).prop_map(|n| Step::Secure(pa(n))),
        1 => (0..4u64).prop_map(Step::InterruptAfter),
    ]
}

/// What the RMM has to have done.
#[derive(Default)]
struct Model {
    active: bool,
    delegated: BTreeSet<u64>,
    secure: BTreeSet<u64>,
}

impl Model {
    /// Takes over what a call on a range has done, after checking that it may have.
    fn range(&mut self, machine: &Machine, fid: Fid, base: u64, top: u64) {
        let regs = machine.call(fid, &[base, top]);
        let (status, done) = (regs.x(0), regs.x(1));
        let range_ok = base < top && base % GRANULE_SIZE == 0 && top % GRANULE_SIZE == 0;

        if !self.active {
            assert_eq!((status, done), (u64::from(Status::ErrorGlobal.raw()), 0));
        } else if range_ok && self.movable(fid, base) {
            assert_eq!(status, 0);
            assert!(base < done && done <= top && done % GRANULE_SIZE == 0);
            for pa in (base..done).step_by(GRANULE_SIZE as usize) {
                assert!(self.movable(fid, pa), "{pa:#x}");
                if fid == Fid::GRANULE_RANGE_DELEGATE {
                    self.delegated.insert(pa);
                } else {
                    self.delegated.remove(&pa);
                    assert_eq!(machine.fake().data(pa), [0; GRANULE_WORDS]);
                }
            }
        } else {
            assert_eq!((status, done), (u64::from(Status::ErrorInput.raw()), base));
        }
    }

    /// True if the granule at `pa` can be delegated, or undelegated.
    fn movable(&self, fid: Fid, pa: u64) -> bool {
        let delegated = self.delegated.contains(&pa);
        if fid == Fid::GRANULE_RANGE_UNDELEGATE {
            return delegated;
        }
        let memory = pa % GRANULE_SIZE == 0 && (RAM..common::RAM_TOP).contains(&pa);
        memory && !delegated && !OWN.contains(&pa) && !self.secure.contains(&pa)
    }

    fn run(&mut self, machine: &Machine, step: Step) {
        match step {
            Step::Activate => {
                machine.call(Fid::RMM_ACTIVATE, &[]);
                self.active = true;
            }
            Step::Delegate(base, top) => {
                self.range(machine, Fid::GRANULE_RANGE_DELEGATE, base, top);
            }
            Step::Undelegate(base, top) => {
                self.range(machine, Fid::GRANULE_RANGE_UNDELEGATE, base, top);
            }
            // The machine panics if the RMM touches what it must not.
            Step::ConfigGet(pa) if !self.secure.contains(&pa) => {
                machine.call(Fid::RMM_CONFIG_GET, &[pa]);
            }
            Step::ConfigSet(pa) if !self.secure.contains(&pa) => {
                machine.call(Fid::RMM_CONFIG_SET, &[pa]);
            }
            Step::ConfigGet(_) | Step::ConfigSet(_) => {}
            Step::Tracking(base, top) => {
                machine.call(Fid::GRANULE_TRACKING_GET, &[base, top]);
            }
            Step::HostWrite(pa) => {
                if machine.fake().pas(pa) == Pas::NonSecure {
                    machine.fake().host_write(pa, &[pa; GRANULE_WORDS]);
                }
            }
            Step::Secure(pa) => {
                if machine.fake().pas(pa) == Pas::NonSecure {
                    machine.fake().set_pas(pa, Pas::Secure);
                    self.secure.insert(pa);
                }
            }
            Step::InterruptAfter(steps) => machine.fake().interrupt_after(steps),
        }
    }
}

proptest! {
    #[test]
    fn no_granule_is_lost(steps in prop::collection::vec(step(), 1..60)) {
        let machine = Machine::new();
        let mut model = Model::default();
        for step in steps {
            model.run(&machine, step);
            for pa in (0..GRANULES).map(pa).filter(|pa| !OWN.contains(pa)) {
                assert_eq!(machine.is_delegated(pa), model.delegated.contains(&pa));
            }
            assert_eq!(machine.fake().realm_granules(), model.delegated.len());
        }

        // The host can have everything back.
        machine.fake().interrupt_after(0);
        for pa in model.delegated {
            let top = pa + GRANULE_SIZE;
            machine.expect(Fid::GRANULE_RANGE_UNDELEGATE, [pa, top], Status::Success, [top]);
        }
        assert_eq!(machine.fake().realm_granules(), 0);
    }
}
