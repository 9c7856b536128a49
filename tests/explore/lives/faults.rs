// SPDX-License-Identifier: GPL-2.0

//! An RMM that refuses, for once or from then on, or stops to answer at all.

use super::*;
use proptest::prelude::*;
use std::cell::Cell;
use std::rc::Rc;

/// X0: each status, some that nobody knows, what EL3 says, and each kind of INCOMPLETE.
fn codes() -> Vec<u64> {
    let mut codes: Vec<u64> = (1..=18).collect();
    codes.extend([0x77, 0xff, u64::MAX]);
    // What ERROR_RTT says of the level.
    codes.extend((0..=4).map(|level| level << 8 | 4));
    codes.extend((0..8).map(|request| request << 8 | 0xd));
    codes
}

/// One of each kind, for calls that are not the first of their command.
pub(super) fn kinds() -> Vec<u64> {
    const UNKNOWN: u64 = 0x77;
    let (statuses, rtt) = ([1, 2, 3, 10, 14], [4, 0x104, 0x204]);
    let incomplete = [0xd, 0x10d, 0x20d, 0x50d];
    [&statuses[..], &rtt, &incomplete, &[UNKNOWN, u64::MAX]].concat()
}

/// The commands of a good life, and how often each is called.
pub(super) fn commands(dialect: Dialect) -> Vec<(Fid, u64)> {
    let calls = good_life(dialect).calls.into_iter();
    calls
        .map(|(fid, (calls, _))| (Fid::from_raw(fid), calls))
        .collect()
}

/// The commands that are not what they are in the other dialect, and the steps of their operations.
const DIFFERENT: [Fid; 6] = [
    Fid::REALM_CREATE,
    Fid::REALM_DESTROY,
    Fid::PSCI_COMPLETE,
    Fid::OP_CONTINUE,
    Fid::OP_MEM_DONATE,
    Fid::OP_MEM_RECLAIM,
];

pub(super) fn refused_once(dialect: Dialect, commands: Vec<(Fid, u64)>, codes: &[u64]) {
    let kinds = kinds();
    for (fid, calls) in commands {
        for place in places(calls) {
            for code in if place == 0 { codes } else { &kinds } {
                let (code, what) = (*code, format!("{fid} {place}: {code:#x}"));
                let life = with_fault(dialect, fid, (place, 1), move |_, _| Regs::new(code, &[]));
                life.assert_accounted(&what);
                // Once BUSY or BLOCKED is nothing to fail for.
                if matches!(code, 10 | 14) && fid != Fid::REC_ENTER {
                    assert_eq!((life.result, life.counts), (Ok(()), (0, 0)), "{what}");
                }
            }
        }
    }
}

#[test]
fn any_refusal_at_any_command() {
    refused_once(Dialect::Main, commands(Dialect::Main), &codes());
}

#[test]
fn any_refusal_where_the_dialect_differs() {
    let mut commands = commands(Dialect::Bet2);
    commands.retain(|(fid, _)| DIFFERENT.contains(fid));
    assert_eq!(commands.len(), DIFFERENT.len());
    refused_once(Dialect::Bet2, commands, &kinds());
}

pub(super) fn refused_for_ever(dialect: Dialect, commands: Vec<(Fid, u64)>) {
    for (fid, calls) in commands {
        for place in places(calls) {
            for code in [
                1,
                4,
                0x104,
                0x204,
                10,
                14,
                0xd,
                0x10d,
                0x20d,
                0x50d,
                u64::MAX,
            ] {
                let forever = (place, u64::MAX);
                let life = with_fault(dialect, fid, forever, move |_, _| Regs::new(code, &[]));
                life.assert_accounted(&format!("{fid} from {place}: {code:#x}"));
            }
        }
    }
}

#[test]
fn refusals_that_last() {
    refused_for_ever(Dialect::Main, commands(Dialect::Main));
}

#[test]
fn refusals_that_last_where_the_dialect_differs() {
    let mut commands = commands(Dialect::Bet2);
    commands.retain(|(fid, _)| DIFFERENT.contains(fid));
    refused_for_ever(Dialect::Bet2, commands);
}

#[test]
fn an_rmm_that_stops_answering() {
    let all: u64 = commands(Dialect::Main).iter().map(|(_, calls)| calls).sum();
    for from in (0..all).step_by(3) {
        for code in [1, 14, u64::MAX] {
            let what = format!("{code:#x} from call {from} on");
            let life = on_host(Dialect::Main, move |host| {
                let mut number = 0;
                replace(move |args, rmm| {
                    number += 1;
                    match number <= from {
                        true => rmm(args),
                        false => Regs::new(code, &[]),
                    }
                });
                host.outcome(host.life())
            });
            assert!(life.result.is_err() || from > all / 3, "{what}");
            life.assert_accounted(&what);
        }
    }
}

/// An operation that goes on for ever, at the last call of each command.
#[test]
fn operations_without_end() {
    for (fid, calls) in commands(Dialect::Main) {
        let (life, steps) = on_host(Dialect::Main, move |host| {
            let steps = Rc::new(Cell::new(0u64));
            let (mut number, mut endless) = (0, false);
            let seen = steps.clone();
            replace(move |args, rmm| {
                if args.x(0) == u64::from(fid.raw()) {
                    number += 1;
                    endless = number == calls;
                }
                endless &= [fid, Fid::OP_CONTINUE]
                    .map(|fid| u64::from(fid.raw()))
                    .contains(&args.x(0));
                if !endless {
                    return rmm(args);
                }
                seen.set(seen.get() + 1);
                Regs::new(0xd, &[5])
            });
            let outcome = host.outcome(host.life());
            (outcome, steps.get())
        });
        assert!(steps > 0, "{fid}");
        life.assert_accounted(fid.name());
    }
}

/// The RMM says once that a table is there, which nobody has made, and is not.
#[test]
fn a_table_that_is_not_there() {
    for level in [2u64, 3] {
        let life = on_host(Dialect::Main, move |host| {
            let mut lied = false;
            replace(move |args, rmm| {
                let create = args.x(0) == u64::from(Fid::RTT_CREATE.raw());
                match create && args.x(4) == level && !std::mem::replace(&mut lied, create) {
                    true => Regs::new((level - 1) << 8 | 4, &[]),
                    false => rmm(args),
                }
            });
            let world = host.vm().unwrap();
            assert_eq!(world.populate(0x10..0x11), Err(EIO), "level {level}");
            // It is not taken for there, and so it can be made.
            let result = world.populate(0x10..0x11);
            world.end();
            host.outcome(result.map_err(Why::Errno))
        });
        assert_eq!(life.result, Ok(()));
        assert_eq!(life.failed(), [(Fid::RTT_CREATE, 1)]);
        life.assert_idle("a table that is not there");
    }
}

/// A table that the RMM keeps is no reason to leave it the others.
#[test]
fn tables_come_back_one_by_one() {
    let refused = |_: &Regs, _: &dyn Fn(&Regs) -> Regs| Regs::new(1, &[]);
    let life = with_fault(Dialect::Main, Fid::RTT_DESTROY, (0, 1), refused);
    assert_eq!(life.result, Ok(()));
    // The table, the one above it, the realm's starting table and its descriptor.
    assert_eq!(life.counts, (4, 4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Several wrong answers in a life.
    #[test]
    fn answers_at_random(
        faults in prop::collection::vec(
            (0u64..200, prop::sample::select(codes()), prop::array::uniform3(any::<u64>())),
            1..6,
        ),
    ) {
        let script = faults.clone();
        let life = on_host(Dialect::Main, move |host| {
            let mut number = 0;
            replace(move |args, rmm| {
                number += 1;
                match script.iter().find(|(at, ..)| *at == number) {
                    Some((_, code, results)) => Regs::new(*code, results),
                    None => rmm(args),
                }
            });
            host.outcome(host.life())
        });
        life.assert_accounted(&format!("{faults:x?}"));
    }
}
