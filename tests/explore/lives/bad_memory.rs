// SPDX-License-Identifier: GPL-2.0

//! The host is told that memory is bad which the RMM has: whose realm ends, and whose does not.

use super::*;
use crate::injection;
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

/// Calls `test` for granules of each kind that a realm is made of: it gets a pair of VMs, of one of which that is,
/// and has both end, with memory that may be bad then. Nobody may have looked at that.
fn each_kind(test: impl Fn(&Host, Pair, (u64, State), &str) + Copy + Send + 'static) {
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
                test(host, pair, (pa, state), &what);
                assert_eq!(rmm_machine().fake().looked_at(), [], "{what}");
                let (delegated, leaked) = host.counts();
                assert_eq!(delegated, leaked, "{what}");
                host.outcome(Ok(())).assert_accounted(&what);
            });
        }
        assert!(kinds.contains(&State::Rd), "{kinds:?}");
        assert!(kinds.contains(&State::Rec), "{kinds:?}");
        assert!(kinds.contains(&State::Rtt), "{kinds:?}");
    }
}

/// The same where the granule goes bad first, then `then` happens: the RMM keeps as much as that granule holds.
fn each_kind_bad(then: impl Fn(&Pair, u64, &str) + Copy + Send + 'static) {
    each_kind(move |host, pair, (pa, state), what| {
        let all = pair.its.len() as u64;
        poison(pa);
        then(&pair, pa, what);
        pair.end();
        let (_, leaked) = host.counts();
        let kept = kept(rmm_machine().rmm.dialect(), state, all);
        assert!(kept.contains(&leaked), "{what}: {leaked} of {kept:?}");
    });
}

/// Memory without which a realm cannot go on, whatever it is of: the vCPU that runs next tells user space,
/// the log says why, and no vCPU runs again. Another realm goes on. The RMM is not asked to look at that memory,
/// and everything else comes back. What one REC was lent is for its own vCPU to find.
#[test]
fn what_holds_a_realm_together_is_its_end() {
    each_kind_bad(|pair, pa, what| {
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
    each_kind_bad(|_, _, _| {});
}

/// Nor by anything else that leads there before a vCPU runs again: a hole in the file, a conversion, memory
/// that is asked for ahead, shared memory that moves, and the end of the file before that of the VM.
#[test]
fn what_is_bad_when_memory_comes_or_goes() {
    let events: [fn(&World); 5] = [
        |world| world.gmem.punch(0..1),
        |world| world.convert(4..5, false),
        |world| {
            let _ = world.vm.pre_fault(0, 8 * GRANULE_SIZE..9 * GRANULE_SIZE);
        },
        |world| world.mm.discard(hvas(SHARED..SHARED + 1)),
        |world| world.gmem.close(),
    ];
    for event in events {
        each_kind(move |_, pair, (pa, _), what| {
            run(&pair.world, 0, shared(SHARED..SHARED + 1)).unwrap();
            poison(pa);
            event(&pair.world);
            assert_eq!(rmm_machine().fake().looked_at(), [], "{what}");
            pair.end();
        });
    }
}

/// Nor by what the exit asks for before which memory has gone bad.
#[test]
fn what_goes_bad_while_the_realm_runs() {
    each_kind(move |_, pair, (pa, _), what| {
        replace_some(Fid::REC_ENTER, (0, 1), move |args, rmm| {
            let left = rmm(args);
            poison(pa);
            left
        });
        let ends = run(&pair.world, 0, private(8..9));
        assert!(ends.is_err(), "{what}");
        pair.end();
    });
}

/// Nor by the end of the VM, when its process has gone before and others have kept it.
#[test]
fn what_goes_bad_when_the_end_has_begun() {
    each_kind(move |_, pair, (pa, _), _| {
        pair.world.vm.flush();
        poison(pa);
        pair.end();
    });
    // And when only tables are left.
    each_kind(move |_, pair, (pa, _), _| {
        replace_some(Fid::RTT_DESTROY, (0, 1), move |args, rmm| {
            let destroyed = rmm(args);
            poison(pa);
            destroyed
        });
        pair.end();
    });
}

/// A first run that failed has set memory aside, of which none that has gone bad becomes a REC.
#[test]
fn what_was_set_aside_is_bad() {
    on_host(Dialect::Main, |host| {
        let world = host.bystander();
        refuse_some(Fid::GRANULE_RANGE_DELEGATE, (1, 1), Status::ErrorInput);
        assert_eq!(run(&world, 0, vec![]), Err(EIO.into()));
        injection::end();
        let aside = granules().into_iter();
        let aside = aside.filter(|(_, state)| *state == State::Delegated);
        let aside: Vec<_> = aside.map(|(pa, _)| pa).collect();
        assert_eq!(aside.len(), 1);
        poison(aside[0]);
        assert_eq!(run(&world, 0, private(0..1)), Ok(()));
        assert!(!used().contains_key(&aside[0]));
        world.end();
        assert_eq!(rmm_machine().fake().looked_at(), []);
        assert_eq!(host.counts(), (0, 0));
    });
}

/// Nor is that missed of which something is made at this moment, whoever looks meanwhile.
#[test]
fn what_goes_bad_while_it_is_made() {
    crate::explore(|| {
        machine::on(Embedded::new(), |_| {
            let all = start();
            let world = World::new(&[0, 1], &all, IPA_BITS).unwrap();
            run(&world, 0, vec![Op::TurnOn(1)]).unwrap();
            replace_some(Fid::RTT_CREATE, (0, 1), |args, rmm| {
                let made = rmm(args);
                machine().poison(args.x(2));
                made
            });
            let parts = [private(0..1), shared(SHARED..SHARED + 1)];
            let vcpus = parts.into_iter().enumerate().map(|(n, ops)| {
                let world = world.clone();
                shuttle::thread::spawn(move || run(&world, n, ops).is_ok())
            });
            let vcpus: Vec<_> = vcpus.collect();
            vcpus.into_iter().for_each(|vcpu| {
                let _ = vcpu.join().unwrap();
            });
            assert_eq!(machine().told("is dead: the RMM has memory at"), 1);
            world.end();
        });
    });
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
