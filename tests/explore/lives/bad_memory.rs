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

/// The descriptor of the only realm.
fn rd() -> u64 {
    let mut used = used().into_iter();
    used.find(|(_, state)| *state == State::Rd).unwrap().0
}

/// The host is told that it is bad, and it is.
fn poison(pa: u64) {
    machine().poison(pa);
    rmm_machine().fake().poison(pa);
}

/// How many granules the RMM keeps of a realm, one of whose granules is bad: of a table what that maps and those
/// above it, of a REC what it was lent, and of each of these the descriptor and the table that the realm starts
/// with; of the descriptor, or what was lent for it, everything.
fn kept(dialect: Dialect, state: State, all: u64) -> Vec<u64> {
    let lent = match dialect {
        Dialect::Bet2 => 9,
        _ => 0,
    };
    let (rec, table) = (1 + 16 + 2 + lent, 3 + 8 + 1 + lent);
    match state {
        State::Rec => vec![rec],
        State::Rtt => vec![table],
        State::Aux => vec![rec, all],
        _ => vec![all],
    }
}

/// Calls `test` for granules of each kind that a realm is made of: it gets the pair, and the granule and its state.
fn each_kind(test: impl Fn(&Pair, u64, &str) + Copy + Send + 'static) {
    for dialect in [Dialect::Main, Dialect::Bet2] {
        let mut kinds = Vec::new();
        let pages = on_host(dialect, |host| {
            let pair = Pair::new(host);
            let its = pair.its.clone();
            pair.end();
            its
        });
        let all = pages.len() as u64;
        for (nth, (_, state)) in pages.into_iter().enumerate() {
            if state == State::Data || kinds.iter().filter(|kind| **kind == state).count() > 2 {
                continue;
            }
            kinds.push(state);
            on_host(dialect, move |host| {
                let what = format!("{dialect:?}, granule {nth}, {state:?}");
                let pair = Pair::new(host);
                let pa = *pair.its.keys().nth(nth).unwrap();
                poison(pa);
                test(&pair, pa, &what);
                pair.end();
                assert_eq!(rmm_machine().fake().looked_at(), [], "{what}");
                let (delegated, leaked) = host.counts();
                let kept = kept(dialect, state, all);
                assert!(kept.contains(&leaked), "{what}: {leaked} of {kept:?}");
                assert_eq!(delegated, leaked, "{what}");
                host.outcome(Ok(())).assert_accounted(&what);
            });
        }
        assert!(kinds.contains(&State::Rd), "{kinds:?}");
        assert!(kinds.contains(&State::Rec), "{kinds:?}");
        assert!(kinds.contains(&State::Rtt), "{kinds:?}");
    }
}

/// Memory without which a realm cannot go on, whatever it is of: the vCPU that runs next tells user space,
/// the log says why, and no vCPU runs again. Another realm goes on. The RMM is not asked to look at that memory,
/// and everything else comes back. What one REC was lent is for its own vCPU to find.
#[test]
fn what_holds_a_realm_together_is_its_end() {
    each_kind(|pair, pa, what| {
        let outcomes = [0, 1].map(|n| run(&pair.world, n, private(8..9)));
        let told = machine().told(&format!("is dead: the RMM has memory at {pa:#x}"));
        assert_eq!(told, 1, "{what}: {outcomes:?}");
        let ends = outcomes.map(|outcome| outcome.unwrap_err());
        assert!(ends.contains(&Why::InternalError), "{what}: {ends:?}");
        assert_eq!(run(&pair.world, 0, vec![]), Err(EIO.into()), "{what}");
    });
}

/// The same where the VMM goes before a vCPU runs again: the RMM is not asked to look there either.
#[test]
fn what_is_bad_when_the_end_begins() {
    each_kind(|_, _, _| {});
}

/// The same before there is a vCPU that runs: what the realm begins with is not put in any more.
#[test]
fn what_is_bad_before_the_first_run() {
    on_host(Dialect::Main, |host| {
        let world = host.bystander();
        world.populate(0..1).unwrap();
        poison(rd());
        assert_eq!(world.populate(1..2), Err(EIO));
        assert_eq!(run(&world, 0, vec![]), Err(EIO.into()));
        assert_eq!(machine().told("is dead: the RMM has memory at"), 1);
        world.end();
        assert_eq!(rmm_machine().fake().looked_at(), []);
        host.outcome(Ok(())).assert_accounted("populated");
    });
    on_host(Dialect::Main, |host| {
        let world = host.bystander();
        poison(rd());
        assert_eq!(run(&world, 0, vec![]), Err(EIO.into()));
        world.end();
        assert_eq!(rmm_machine().fake().looked_at(), []);
        host.outcome(Ok(())).assert_accounted("run");
    });
}
