// SPDX-License-Identifier: GPL-2.0

//! What goes wrong between a host and the RMM of the test that runs: answers that are not the RMM's, an
//! operation of somebody else's, a VMM that loses its patience. What the RMM itself does wrong it is told
//! by its own fault injection ([`rmm::fault`]).

use kvm_arm_rmi::rmi::{Fid, Regs, ReturnCode, Status};
use kvm_arm_rmi::sys::machine;
use shuttle::rand::RngCore as _;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

/// What is done instead of a call, with its registers and with what the RMM would do about it.
type Instead = Box<dyn FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs>;

/// Calls of a command: how many, and how many failed.
pub(crate) type Calls = BTreeMap<u32, (u64, u64)>;

thread_local! {
    static BLOCKED: Cell<u64> = const { Cell::new(0) };
    static INTERRUPTED: Cell<bool> = const { Cell::new(false) };
    static INSTEAD: Cell<Option<Instead>> = const { Cell::new(None) };
    static CALLS: RefCell<Calls> = const { RefCell::new(BTreeMap::new()) };
    static PATIENCE: Cell<u64> = const { Cell::new(u64::MAX) };
}

/// Nothing goes wrong.
pub(crate) fn reset() {
    BLOCKED.set(0);
    INTERRUPTED.set(false);
    INSTEAD.set(None);
    CALLS.take();
    PATIENCE.set(u64::MAX);
}

/// From now on operations of other realms keep this one's tables as they are when one of so many commands
/// comes, at random; 0 for none. The RMM answers BLOCKED.
pub(crate) fn block(one_of: u64) {
    BLOCKED.set(one_of);
}

fn is_blocked() -> bool {
    let one_of = BLOCKED.get();
    one_of != 0 && shuttle::rand::thread_rng().next_u64() % one_of == 0
}

/// From now on something else wants the CPU now and then, for which the RMM stops in the middle of a range.
pub(crate) fn interrupt() {
    INTERRUPTED.set(true);
}

/// After how many entries it does; 0 for never.
pub(crate) fn interrupted_after() -> u64 {
    let mut random = shuttle::rand::thread_rng();
    match random.next_u64() % 8 {
        _ if !INTERRUPTED.get() => 0,
        0 => 1 + random.next_u64() % 8,
        1 | 2 => 1 + random.next_u64() % 512,
        _ => 0,
    }
}

/// What it answers so.
const BLOCKED_COMMANDS: [Fid; 5] = [
    Fid::RTT_CREATE,
    Fid::RTT_DATA_MAP,
    Fid::RTT_DATA_MAP_INIT,
    Fid::RTT_UNPROT_MAP,
    Fid::RTT_UNPROT_UNMAP,
];

/// From now on calls are made by `instead`.
pub(crate) fn replace(instead: impl FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs + 'static) {
    INSTEAD.set(Some(Box::new(instead)));
}

/// From now on some calls of a command are made by `wrong`: `times` of them, after `from` that are not.
pub(crate) fn replace_some(
    fid: Fid,
    (from, times): (u64, u64),
    mut wrong: impl FnMut(&Regs, &dyn Fn(&Regs) -> Regs) -> Regs + 'static,
) {
    let mut number = 0;
    replace(move |args, rmm| {
        if args.x(0) != u64::from(fid.raw()) {
            return rmm(args);
        }
        number += 1;
        match (from + 1..=from.saturating_add(times)).contains(&number) {
            true => wrong(args, rmm),
            false => rmm(args),
        }
    });
}

/// From now on the RMM answers so many calls of a command with a status, and does nothing about them.
pub(crate) fn refuse_some(fid: Fid, calls: (u64, u64), status: Status) {
    replace_some(fid, calls, move |_, _| Regs::new(status.raw().into(), &[]));
}

/// From now on the calls are made by the RMM again.
pub(crate) fn end() {
    INSTEAD.set(None);
}

/// The calls are counted from here on. After so many the task that makes the next one gets a signal.
pub(crate) fn signal_after(calls: u64) {
    CALLS.take();
    PATIENCE.set(calls);
}

/// The calls so far.
pub(crate) fn calls() -> Calls {
    CALLS.with_borrow(Clone::clone)
}

/// A call, which `rmm` would deal with.
pub(crate) fn call(args: &Regs, rmm: &dyn Fn(&Regs) -> Regs) -> Regs {
    let fid = Fid::from_raw(args.x(0) as u32);
    let mut instead = INSTEAD.take();
    let regs = match &mut instead {
        _ if BLOCKED_COMMANDS.contains(&fid) && is_blocked() => {
            Regs::new(Status::Blocked.raw().into(), &[])
        }
        Some(instead) => instead(args, rmm),
        None => rmm(args),
    };
    INSTEAD.set(instead);
    let status = ReturnCode::new(regs.x(0)).status();
    let failed = !matches!(status, Status::Success | Status::Incomplete);
    let all = CALLS.with_borrow_mut(|calls| {
        let (all, bad) = calls.entry(fid.raw()).or_default();
        (*all, *bad) = (*all + 1, *bad + u64::from(failed));
        calls.values().map(|(all, _)| all).sum::<u64>()
    });
    if all > PATIENCE.get() {
        machine::machine().signal(shuttle::thread::current().id());
    }
    regs
}
