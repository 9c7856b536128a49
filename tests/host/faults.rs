// SPDX-License-Identifier: GPL-2.0

//! Whole lives of realms on an RMM that goes wrong at one place: every granule comes back or is
//! known to be leaked, and the end is reached.

use crate::machine::Host;
use crate::vmm::{Vmm, Why};
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Everything that a host does with a realm.
fn live(vmm: &mut Vmm<'_>) -> Result<(), Why> {
    vmm.create()?;
    vmm.populate(0x10)?;
    vmm.populate(0x11)?;
    vmm.init_ripas(0..0x410)?;
    vmm.add_rec()?;
    vmm.add_rec()?;
    vmm.activate()?;
    vmm.fault(0x40..0x50)?;
    vmm.fault(0x400..0x401)?;
    vmm.fold(0x800)?;
    vmm.unmap(0x48..0x50)?;
    vmm.turn_on()?;
    vmm.change_ripas(0x40..0x44, 0)?;
    vmm.unmap(0x40..0x44)?;
    vmm.change_ripas(0x3f0..0x404, 1)?;
    vmm.fault(0x40..0x44)
}

/// A life with memory that is shared for a while. Returns how it went.
pub(crate) fn life(host: &Host) -> Result<(), Why> {
    let mut vmm = Vmm::new(host)?;
    let shared = match host.try_page() {
        Some(page) => page,
        None => {
            vmm.end();
            return Err(Why::NoMemory);
        }
    };
    let result = live(&mut vmm).and_then(|()| {
        vmm.share(0x80, &shared)?;
        vmm.unshare()?;
        vmm.share(0x80, &shared)
    });
    vmm.end();
    host.put(shared);
    result
}

/// What a host counts: granules that are delegated, and leaked.
pub(crate) fn counts(host: &Host) -> (u64, u64) {
    let counts = host.rmi.conduit().counts();
    (counts.delegated(), counts.leaked())
}

/// What the RMM has is what is counted, and nobody waits for any of it.
#[track_caller]
pub(crate) fn assert_accounted(host: &Host, what: &str) {
    let (delegated, leaked) = counts(host);
    assert_eq!(delegated, leaked, "{what}: delegated and leaked");
    assert_eq!(host.allocated() as u64, leaked, "{what}: allocated");
    let held = host.machine.fake().realm_granules() as u64;
    assert!(held <= leaked, "{what}: the RMM has {held} of {leaked}");
}

/// How often each command is called in a good life.
pub(crate) fn calls() -> BTreeMap<u32, u64> {
    let host = Host::new();
    assert_eq!(life(&host), Ok(()));
    host.assert_idle();
    assert_eq!(host.failed(), []);
    calls_of(&host)
}

/// How often each command was called on a host.
pub(crate) fn calls_of(host: &Host) -> BTreeMap<u32, u64> {
    let commands = host.rmi.conduit().counts().commands();
    commands.map(|(fid, calls, _)| (fid.raw(), calls)).collect()
}

/// The first, the second, one in the middle and the last.
pub(crate) fn places(calls: u64) -> Vec<u64> {
    let mut places = vec![0, 1, calls / 2, calls - 1];
    places.retain(|n| *n < calls);
    places.sort_unstable();
    places.dedup();
    places
}

/// A host on which the calls `from..from + times` of command `fid` are made by `wrong`, and how its
/// realm's life went.
pub(crate) fn with_fault(
    fid: u32,
    from: u64,
    times: u64,
    wrong: impl FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs + 'static,
) -> (Host, Result<(), Why>) {
    let host = Host::new();
    let result = life_with_fault(&host, fid, from, times, wrong);
    (host, result)
}

/// The same on a host that is there.
pub(crate) fn life_with_fault(
    host: &Host,
    fid: u32,
    from: u64,
    times: u64,
    mut wrong: impl FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs + 'static,
) -> Result<(), Why> {
    let mut number = 0;
    host.rmi.conduit().replace(move |args, rmm| {
        if args.x(0) != u64::from(fid) {
            return rmm(args);
        }
        number += 1;
        match (from + 1..=from.saturating_add(times)).contains(&number) {
            true => wrong(args, rmm),
            false => rmm(args),
        }
    });
    life(host)
}

pub(crate) fn name(fid: u32) -> &'static str {
    Fid::from_raw(fid).name()
}

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
pub(crate) fn kinds() -> Vec<u64> {
    const UNKNOWN: u64 = 0x77;
    let (statuses, rtt) = ([1, 2, 3, 10, 14], [4, 0x104, 0x204]);
    let incomplete = [0xd, 0x10d, 0x20d, 0x50d];
    [&statuses[..], &rtt, &incomplete, &[UNKNOWN, u64::MAX]].concat()
}

#[test]
fn any_refusal_at_any_command() {
    for (fid, calls) in calls() {
        for place in places(calls) {
            for code in if place == 0 { codes() } else { kinds() } {
                let what = format!("{} {place}: {code:#x}", name(fid));
                let (host, result) = with_fault(fid, place, 1, move |_, _| Regs::new(code, &[]));
                assert_accounted(&host, &what);
                // Once BUSY or BLOCKED is nothing to fail for.
                if matches!(code, 10 | 14) && fid != Fid::REC_ENTER.raw() {
                    assert_eq!((result, counts(&host)), (Ok(()), (0, 0)), "{what}");
                }
            }
        }
    }
}

#[test]
fn refusals_that_last() {
    for (fid, calls) in calls() {
        for place in places(calls) {
            for code in [1, 4, 0x104, 0x204, 10, 14, 0xd, 0x10d, 0x50d, u64::MAX] {
                let what = format!("{} from {place}: {code:#x}", name(fid));
                let forever = u64::MAX;
                let (host, _) = with_fault(fid, place, forever, move |_, _| Regs::new(code, &[]));
                assert_accounted(&host, &what);
            }
        }
    }
}

#[test]
fn an_rmm_that_stops_answering() {
    let all: u64 = calls().values().sum();
    for from in (0..all).step_by(3) {
        for code in [1, 14, u64::MAX] {
            let host = Host::new();
            let mut number = 0;
            host.rmi.conduit().replace(move |args, rmm| {
                number += 1;
                match number <= from {
                    true => rmm(args),
                    false => Regs::new(code, &[]),
                }
            });
            let failed = life(&host).is_err();
            assert!(failed || from > all / 3, "{code:#x} from call {from} on");
            assert_accounted(&host, &format!("{code:#x} from call {from} on"));
        }
    }
}

/// An operation that goes on for ever, at the last call of each command.
#[test]
fn operations_without_end() {
    for (fid, calls) in calls() {
        let steps = Rc::new(Cell::new(0u64));
        let host = Host::new();
        let (mut number, mut endless) = (0, false);
        let seen = steps.clone();
        host.rmi.conduit().replace(move |args, rmm| {
            if args.x(0) == u64::from(fid) {
                number += 1;
                endless = number == calls;
            }
            endless &= [fid, Fid::OP_CONTINUE.raw()]
                .map(u64::from)
                .contains(&args.x(0));
            if !endless {
                return rmm(args);
            }
            seen.set(seen.get() + 1);
            Regs::new(0xd, &[5])
        });
        let _ = life(&host);
        assert!(steps.get() > 0, "{}", name(fid));
        assert_accounted(&host, name(fid));
    }
}

/// The RMM says once that a table is there, which is not.
#[test]
fn a_table_that_is_not_there() {
    for level in [2u64, 3] {
        let host = Host::new();
        let mut lied = false;
        host.rmi.conduit().replace(move |args, rmm| {
            let create = args.x(0) == u64::from(Fid::RTT_CREATE.raw());
            match create && args.x(4) == level && !std::mem::replace(&mut lied, create) {
                true => Regs::new((level - 1) << 8 | 4, &[]),
                false => rmm(args),
            }
        });
        let mut vmm = Vmm::new(&host).unwrap();
        vmm.create().unwrap();
        let Err(Why::Rmm(error)) = vmm.populate(0x10) else {
            panic!("level {level}");
        };
        assert_eq!(error.status(), Some(Status::ErrorRtt));
        // It is not taken for there, and so it can be made.
        assert_eq!(vmm.populate(0x10), Ok(()));
        vmm.end();
        host.assert_idle();
    }
}

/// A table that the RMM keeps is no reason to leave it the others.
#[test]
fn tables_come_back_one_by_one() {
    let refused = |_: &Regs, _: &dyn Fn(&Regs) -> Regs| Regs::new(1, &[]);
    let (host, result) = with_fault(Fid::RTT_DESTROY.raw(), 0, 1, refused);
    assert_eq!(result, Ok(()));
    // The table, the one above it, the realm's starting table and its descriptor.
    assert_eq!(counts(&host), (4, 4));
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
        let host = Host::new();
        let mut number = 0;
        let script = faults.clone();
        host.rmi.conduit().replace(move |args, rmm| {
            number += 1;
            match script.iter().find(|(at, ..)| *at == number) {
                Some((_, code, results)) => Regs::new(*code, results),
                None => rmm(args),
            }
        });
        let _ = life(&host);
        assert_accounted(&host, &format!("{faults:x?}"));
    }
}
