// SPDX-License-Identifier: GPL-2.0

//! Delegation: whatever the RMM says, every granule is accounted for.

use crate::fake::{not_forwarded, rmm, status, success};
use kvm_arm_rmi::rmi::{
    AddrRange,
    Broken,
    Error,
    Fid,
    GranuleRange,
    GranuleState,
    PhysAddr,
    Regs,
    Status,
    Undelegated,
    GRANULE_SIZE, //
};
use proptest::prelude::*;

const BASE: u64 = 0x8800_0000;

fn memory(granules: u64) -> GranuleRange<Undelegated> {
    let top = PhysAddr::new(BASE + granules * GRANULE_SIZE);
    let range = AddrRange::new(PhysAddr::new(BASE), top).unwrap();
    // SAFETY: No such memory exists here, and nothing ever looks at it.
    unsafe { GranuleRange::new(range) }
}

fn count<S: GranuleState>(granules: &Option<GranuleRange<S>>) -> u64 {
    granules
        .as_ref()
        .map_or(0, |granules| granules.range().granules())
}

/// Takes or gives `step` granules a call.
fn stepwise(step: u64) -> impl FnMut(Fid, &Regs) -> Regs {
    move |_, args| {
        let top = args.x(2).min(args.x(1) + step * GRANULE_SIZE);
        success(&[top])
    }
}

#[test]
fn a_range_goes_there_and_back_whatever_the_rmm_does_at_once() {
    for (step, calls) in [(1, 7), (3, 3), (7, 1), (512, 1)] {
        let rmi = rmm(stepwise(step));
        let there = memory(7).delegate(&rmi);
        assert_eq!(
            (count(&there.done), count(&there.rest), there.error),
            (7, 0, None)
        );
        assert_eq!(rmi.conduit().counts().delegated(), 7);
        let back = there.done.unwrap().undelegate(&rmi);
        assert_eq!(
            (count(&back.done), count(&back.rest), back.error),
            (7, 0, None)
        );
        assert_eq!(
            (
                rmi.conduit().counts().delegated(),
                rmi.conduit().counts().leaked()
            ),
            (0, 0)
        );
        assert_eq!(rmi.conduit().counts().delegated_peak(), 7);
        let commands: Vec<_> = rmi.conduit().counts().commands().collect();
        assert_eq!(
            commands,
            [
                (Fid::GRANULE_RANGE_DELEGATE, calls, 0),
                (Fid::GRANULE_RANGE_UNDELEGATE, calls, 0)
            ]
        );
    }
}

#[test]
fn a_refusal_half_way_gives_both_parts_back() {
    let rmi = rmm(|_, args| match args.x(1) {
        base if base == BASE + 2 * GRANULE_SIZE => status(Status::ErrorInput),
        base => success(&[base + GRANULE_SIZE]),
    });
    let moved = memory(5).delegate(&rmi);
    assert_eq!((count(&moved.done), count(&moved.rest)), (2, 3));
    assert_eq!(moved.error.unwrap().status(), Some(Status::ErrorInput));
    assert_eq!(
        (
            rmi.conduit().counts().delegated(),
            rmi.conduit().counts().leaked()
        ),
        (2, 0)
    );
    moved.rest.unwrap().into_range();
}

#[test]
fn what_is_not_forwarded_changes_nothing() {
    let rmi = rmm(|_, _| not_forwarded());
    let moved = memory(4).delegate(&rmi);
    assert_eq!((count(&moved.done), count(&moved.rest)), (0, 4));
    assert_eq!(
        moved.error,
        Some(Error::NotForwarded(Fid::GRANULE_RANGE_DELEGATE))
    );
    assert_eq!(rmi.conduit().counts().delegated(), 0);
}

#[test]
fn impossible_progress_leaks_what_is_unclear_and_nothing_else() {
    let impossible = [
        0,
        BASE - GRANULE_SIZE,
        BASE + GRANULE_SIZE + 1,
        BASE + 5 * GRANULE_SIZE,
        u64::MAX,
    ];
    for top in impossible {
        let rmi = rmm(move |_, args| match args.x(1) {
            BASE => success(&[BASE + GRANULE_SIZE]),
            _ => success(&[top]),
        });
        let moved = memory(4).delegate(&rmi);
        assert_eq!((count(&moved.done), count(&moved.rest)), (1, 0), "{top:#x}");
        let broken = Error::Broken(Fid::GRANULE_RANGE_DELEGATE, Broken::Range { top });
        assert_eq!(moved.error, Some(broken));
        // The RMM may hold the three of which nobody knows.
        assert_eq!(
            (
                rmi.conduit().counts().delegated(),
                rmi.conduit().counts().leaked()
            ),
            (4, 3)
        );
    }
}

/// The second call of every range gets nowhere for a while, or for ever.
#[test]
fn no_progress_is_tried_again() {
    for idle in [1, 999, u64::MAX] {
        let mut left = idle;
        let rmi = rmm(move |_, args| match args.x(1) {
            BASE => success(&[BASE + GRANULE_SIZE]),
            base if left != 0 => {
                left -= 1;
                success(&[base])
            }
            _ => success(&[args.x(2)]),
        });
        let moved = memory(4).delegate(&rmi);
        let (done, rest, error) = match idle {
            u64::MAX => (1, 3, Some(Error::Idle(Fid::GRANULE_RANGE_DELEGATE))),
            _ => (4, 0, None),
        };
        assert_eq!((count(&moved.done), count(&moved.rest)), (done, rest));
        assert_eq!(moved.error, error);
        assert_eq!(rmi.conduit().counts().delegated(), done);
        assert_eq!(rmi.conduit().counts().leaked(), 0);
        // Between two tries others may run.
        assert!(rmi.conduit().pauses() >= idle.min(1000));
    }
}

#[test]
fn a_granule_that_does_not_come_back_stays_delegated() {
    let rmi = rmm(|fid, args| match fid {
        Fid::GRANULE_RANGE_DELEGATE => success(&[args.x(2)]),
        _ => status(Status::ErrorInput),
    });
    let there = memory(3).delegate(&rmi);
    let back = there.done.unwrap().undelegate(&rmi);
    assert_eq!((count(&back.done), count(&back.rest)), (0, 3));
    assert_eq!(
        (
            rmi.conduit().counts().delegated(),
            rmi.conduit().counts().leaked()
        ),
        (3, 0)
    );
    back.rest.unwrap().leak(&rmi);
    assert_eq!(
        (
            rmi.conduit().counts().delegated(),
            rmi.conduit().counts().leaked()
        ),
        (3, 3)
    );
}

/// One answer of an RMM that may be good or bad.
fn answer() -> impl Strategy<Value = Regs> {
    let register = prop_oneof![
        (0..9u64).prop_map(|n| BASE + n * GRANULE_SIZE),
        any::<u64>(),
        Just(0),
        Just(u64::MAX),
    ];
    let x0 = prop_oneof![4 => Just(0), 1 => any::<u64>(), 1 => 0..0x800u64];
    (x0, register).prop_map(|(x0, x1)| Regs::new(x0, &[x1]))
}

proptest! {
    #[test]
    fn no_answer_loses_or_doubles_a_granule(
        answers in proptest::collection::vec(answer(), 1..12),
    ) {
        let mut script = answers.into_iter();
        let last = status(Status::ErrorGlobal);
        let rmi = rmm(move |_, _| script.next().unwrap_or(last));
        let there = memory(8).delegate(&rmi);
        let unclear = rmi.conduit().counts().leaked();
        prop_assert_eq!(count(&there.done) + count(&there.rest) + unclear, 8);
        prop_assert_eq!(rmi.conduit().counts().delegated(), count(&there.done) + unclear);
        prop_assert_eq!(there.error.is_none(), count(&there.done) == 8);

        let Some(delegated) = there.done else { return Ok(()) };
        let sent = delegated.range().granules();
        let back = delegated.undelegate(&rmi);
        let lost = rmi.conduit().counts().leaked() - unclear;
        prop_assert_eq!(count(&back.done) + count(&back.rest) + lost, sent);
        prop_assert_eq!(rmi.conduit().counts().delegated(), unclear + lost + count(&back.rest));
    }
}
