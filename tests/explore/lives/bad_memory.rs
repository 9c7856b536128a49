// SPDX-License-Identifier: GPL-2.0

//! The host is told that memory is bad which the RMM has: whose realm ends, and whose does not.

use super::*;
use kvm_arm_rmi::sys::machine::machine;

/// The granules that the RMM has in some use now, and which.
fn used() -> BTreeMap<u64, State> {
    let is_used = |state: &State| !matches!(state, State::Undelegated | State::Delegated);
    let all = granules().into_iter();
    all.filter(|(_, state)| is_used(state)).collect()
}

/// A VM that runs beside another; those granules are its.
struct Pair {
    bystander: World,
    world: World,
    its: BTreeMap<u64, State>,
}

impl Pair {
    fn new(host: &Host) -> Self {
        let bystander = host.vm().unwrap();
        run(&bystander, 0, private(0..2)).unwrap();
        let others = used();
        let world = host.vm().unwrap();
        run(&world, 0, vec![Op::Private(0), Op::TurnOn(1)]).unwrap();
        run(&world, 1, private(4..6)).unwrap();
        let mut its = used();
        its.retain(|pa, _| !others.contains_key(pa));
        Self {
            bystander,
            world,
            its,
        }
    }

    /// Both VMs end, the first of them having lived on.
    fn end(self) {
        run(&self.bystander, 0, private(0..3)).unwrap();
        self.world.end();
        self.bystander.end();
    }
}

/// Memory without which a realm cannot go on, whatever it is of: the vCPU that runs next tells user space,
/// the log says why, and no vCPU runs again. Another realm goes on, and everything comes back. What one REC
/// was lent is for its own vCPU to find.
#[test]
fn what_holds_a_realm_together_is_its_end() {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        let mut kinds = Vec::new();
        let pages = on_host(dialect, |host| {
            let pair = Pair::new(host);
            let its = pair.its.clone();
            pair.end();
            its
        });
        for (nth, (_, state)) in pages.into_iter().enumerate() {
            if state == State::Data || kinds.iter().filter(|kind| **kind == state).count() > 2 {
                continue;
            }
            kinds.push(state);
            on_host(dialect, move |host| {
                let what = format!("{dialect:?}, granule {nth}, {state:?}");
                let pair = Pair::new(host);
                let pa = *pair.its.keys().nth(nth).unwrap();
                machine().poison(pa);
                let outcomes = [0, 1].map(|n| run(&pair.world, n, private(8..9)));
                let told = machine().told(&format!("is dead: the RMM has memory at {pa:#x}"));
                assert_eq!(told, 1, "{what}: {outcomes:?}");
                let ends = outcomes.map(|outcome| outcome.unwrap_err());
                assert!(ends.contains(&Why::InternalError), "{what}: {ends:?}");
                assert_eq!(run(&pair.world, 0, vec![]), Err(EIO.into()), "{what}");
                pair.end();
                host.outcome(Ok(())).assert_idle(&what);
            });
        }
        assert!(kinds.contains(&State::Rd), "{kinds:?}");
        assert!(kinds.contains(&State::Rec), "{kinds:?}");
        assert!(kinds.contains(&State::Rtt), "{kinds:?}");
    }
}
