// SPDX-License-Identifier: GPL-2.0

//! An RMM that misbehaves as it is told. Built with the feature `fault-injection` only.

mod common;

use common::guest::Host;
use common::{pa, Machine};
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use rmm::fault::{Effect, Fault, FID, MAX};

const DELEGATE: Fid = Fid::GRANULE_RANGE_DELEGATE;
const BUSY: u64 = 10;

/// The next call of `fid` goes wrong.
fn once(machine: &Machine, fid: Fid, effect: Effect) {
    let fault = Fault {
        fid,
        skip: 0,
        times: 1,
        effect,
    };
    assert!(machine.rmm.faults().add(fault));
}

fn results(regs: &Regs) -> [u64; 3] {
    [0, 1, 2].map(|n| regs.x(n))
}

#[test]
fn any_answer_in_place_of_the_command() {
    let machine = Machine::active();
    let call = [pa(0), pa(1)];
    for code in [BUSY, 14, 0x20d, 0x3ff, u64::MAX] {
        once(&machine, DELEGATE, Effect::Answer([code, 7, 8, 0, 0]));
        assert_eq!(results(&machine.call(DELEGATE, &call)), [code, 7, 8]);
        assert!(!machine.is_delegated(pa(0)));
    }
    machine.expect(DELEGATE, call, Status::Success, [pa(1)]);
}

#[test]
fn skip_and_times() {
    let machine = Machine::active();
    let effect = Effect::Answer([BUSY, 0, 0, 0, 0]);
    let fault = Fault {
        fid: Fid::FEATURES,
        skip: 2,
        times: 3,
        effect,
    };
    assert!(machine.rmm.faults().add(fault));
    // The next one waits until the first is over.
    once(&machine, Fid::FEATURES, Effect::Code(4));
    let codes = [(); 8].map(|()| machine.call(Fid::FEATURES, &[0]).x(0));
    assert_eq!(codes, [0, 0, BUSY, BUSY, BUSY, 4, 0, 0]);
}

#[test]
fn lies_about_what_was_done() {
    let machine = Machine::active();
    once(&machine, DELEGATE, Effect::Code(1));
    assert_eq!(machine.call(DELEGATE, &[pa(0), pa(1)]).x(0), 1);
    assert!(machine.is_delegated(pa(0)));
    // Beyond the range, and not made of granules.
    for top in [pa(100), pa(1) + 8, 0, u64::MAX] {
        once(
            &machine,
            Fid::GRANULE_RANGE_UNDELEGATE,
            Effect::Results([top, 1, 2, 3]),
        );
        let regs = machine.call(Fid::GRANULE_RANGE_UNDELEGATE, &[pa(0), pa(1)]);
        assert_eq!(results(&regs), [0, top, 1]);
        machine.expect(DELEGATE, [pa(0), pa(1)], Status::Success, [pa(1)]);
    }
    // A failure has no results to lie about.
    once(&machine, DELEGATE, Effect::Results([1, 1, 1, 1]));
    machine.expect(DELEGATE, [pa(0), pa(1)], Status::ErrorInput, [pa(0)]);
}

#[test]
fn partial_progress() {
    let machine = Machine::active();
    once(
        &machine,
        DELEGATE,
        Effect::Partial {
            top: 2,
            granules: 3,
        },
    );
    machine.expect(DELEGATE, [pa(0), pa(8)], Status::Success, [pa(3)]);
    assert!(machine.is_delegated(pa(2)) && !machine.is_delegated(pa(3)));
    // No more than the call asks for.
    once(
        &machine,
        DELEGATE,
        Effect::Partial {
            top: 2,
            granules: 9,
        },
    );
    machine.expect(DELEGATE, [pa(3), pa(4)], Status::Success, [pa(4)]);
}

#[test]
fn any_command_can_be_put_off() {
    let machine = Machine::active();
    once(&machine, DELEGATE, Effect::Yield);
    let regs = machine.call(DELEGATE, &[pa(0), pa(2)]);
    assert_eq!(results(&regs), [0xd, 0, 0]);
    assert!(!machine.is_delegated(pa(0)));
    let regs = machine.call(Fid::OP_CONTINUE, &[0, 0]);
    assert_eq!(results(&regs), [0, pa(2), 0]);
    assert!(machine.is_delegated(pa(1)));
    machine.expect(Fid::OP_CONTINUE, [0, 0], Status::ErrorInput, []);
}

#[test]
fn delegating_what_is_delegated() {
    let machine = Machine::active();
    let skip = || once(&machine, DELEGATE, Effect::Skip);
    machine.expect(DELEGATE, [pa(1), pa(3)], Status::Success, [pa(3)]);
    // From the base on; what comes later ends the call as ever.
    skip();
    machine.expect(DELEGATE, [pa(0), pa(4)], Status::Success, [pa(1)]);
    assert_eq!(machine.rmm.faults().skipped(), 0);
    skip();
    machine.expect(DELEGATE, [pa(1), pa(4)], Status::Success, [pa(4)]);
    assert_eq!(machine.rmm.faults().skipped(), 2);
    skip();
    machine.expect(DELEGATE, [pa(1), pa(4)], Status::Success, [pa(4)]);
    assert_eq!(machine.rmm.faults().skipped(), 5);
    // The RMM's own is nobody's to have.
    machine.expect(DELEGATE, [pa(7), pa(8)], Status::Success, [pa(8)]);
    skip();
    machine.expect(DELEGATE, [pa(7), pa(9)], Status::Success, [pa(8)]);
    skip();
    machine.expect(DELEGATE, [pa(8), pa(9)], Status::ErrorInput, [pa(8)]);
    skip();
    machine.expect(DELEGATE, [pa(4), pa(4)], Status::ErrorInput, [pa(4)]);
    assert_eq!(machine.rmm.faults().skipped(), 6);
}

#[test]
fn granules_that_are_kept() {
    for instead in [0, pa(0)] {
        let host = Host::new();
        host.rec_params(0, true);
        let (rec, handle) = host.rec_begin();
        let base = host.delegated(16);
        assert_eq!(host.donate(handle, &[base | 16 << 2]), [0xd, 16, 0]);
        host.ok(Fid::OP_CONTINUE, &[handle, 0]);
        let effect = Effect::Keep {
            granules: 3,
            instead,
        };
        once(&host, Fid::OP_MEM_RECLAIM, effect);
        let page = |n: u64| base + n * 0x1000;
        let mut ranges = host.rec_destroy(rec);
        if instead != 0 {
            let named: Vec<u64> = ranges.drain(..3).collect();
            assert_eq!(named, [0, 1, 2].map(|n| pa(n) | 1 << 2));
        }
        assert_eq!(ranges, [page(3) | 13 << 2]);
        let back = |n| host.status(Fid::GRANULE_RANGE_UNDELEGATE, &[page(n), page(n + 1)]);
        assert_eq!([back(0), back(2), back(3)], [1, 1, 0]);
    }
}

#[test]
fn an_exit_can_say_anything() {
    let (host, rec) = Host::running();
    let effect = Effect::Write {
        register: 2,
        offset: 0x800,
        value: 0xee,
    };
    once(&host, Fid::REC_ENTER, effect);
    assert_eq!(host.enter(rec), 0xee);
    assert_eq!(host.enter(rec), 1);
}

#[test]
fn the_host_can_ask_for_it() {
    let machine = Machine::active();
    let call = |args: &[u64]| machine.call(FID, args).x(0);
    let features = u64::from(Fid::FEATURES.raw());
    assert_eq!(call(&[features, 0, 0, 1, BUSY, 9]), 0);
    assert_eq!(results(&machine.call(Fid::FEATURES, &[0])), [BUSY, 9, 0]);
    assert_eq!(machine.call(Fid::FEATURES, &[0]).x(0), 0);
    assert_eq!(call(&[features, 99, 0, 1]), 1);
    for _ in 0..MAX {
        assert_eq!(call(&[features, 1, 0, 1, BUSY]), 0);
    }
    assert_eq!(call(&[features, 1, 0, 1, BUSY]), 1);
    assert_eq!(call(&[0]), 0);
    assert_eq!(machine.call(Fid::FEATURES, &[0]).x(0), 0);
    // Each effect by its number.
    assert_eq!(call(&[u64::from(DELEGATE.raw()), 3, 0, 1, 2, 1]), 0);
    machine.expect(DELEGATE, [pa(0), pa(4)], Status::Success, [pa(1)]);
    assert_eq!(call(&[u64::from(DELEGATE.raw()), 6, 0, 2, 1]), 0);
    for _ in 0..2 {
        machine.expect(DELEGATE, [pa(1), pa(4)], Status::Success, [pa(1)]);
    }
    machine.expect(DELEGATE, [pa(1), pa(4)], Status::Success, [pa(4)]);
    assert_eq!(call(&[features, 2, 0, 1, 5]), 0);
    assert_eq!(machine.call(Fid::FEATURES, &[0]).x(1), 5);
    assert_eq!(call(&[features, 4, 0, 1]), 0);
    assert_eq!(machine.call(Fid::FEATURES, &[0]).x(0), 0xd);
}
