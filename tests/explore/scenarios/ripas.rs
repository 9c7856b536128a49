// SPDX-License-Identifier: GPL-2.0

//! RIPAS changes, and what they do to tables.

use super::*;

#[test]
fn ripas_changes_of_two() {
    explore(|| {
        let parts = vec![
            runs(0, vec![ripas(0..8, false, true), ripas(0..8, true, true)]),
            runs(1, vec![ripas(8..16, false, true), ripas(8..16, true, true)]),
        ];
        scenario(&[0, 1], start_second, parts);
    });
}

/// A change to EMPTY of a whole table folds it, while the VMM converts it back and the other vCPU faults
/// there: at worst it is EMPTY for that one.
#[test]
fn a_fold_and_a_fault() {
    explore(|| {
        let table = FAR..FAR + 512;
        let all = table.clone();
        let first = move |world: &World| {
            let file = kvm_arm_rmi::sys::gmem::Gmem::new();
            world
                .vm
                .add_slot(all.clone(), HVA_FAR, Some((&file, 0)))
                .unwrap();
            world.vm.set_private(all.clone(), true).unwrap();
            start_second(world);
            after(private(FAR..FAR + 1))(world);
            world.vm.set_private(all, false).unwrap();
        };
        let parts = vec![
            runs(0, vec![ripas(table.clone(), false, true)]),
            // What was there may have been taken away.
            tries(1, [FAR + 3, FAR + 300].map(Op::Private).to_vec()),
            converts(table, true),
        ];
        scenario(&[0, 1], first, parts);
    });
}

/// Tables that the next two scenarios fold.
const TABLES: u64 = 8;

/// Changes these granules of each of the tables to EMPTY.
fn empties_in_each(gfns: Range<u64>) -> Vec<Op> {
    let all = (0..TABLES).map(|table| FAR + table * 512);
    let change = |at: u64| ripas(at + gfns.start..at + gfns.end, false, true);
    all.map(change).collect()
}

/// They are there, with nothing mapped, and both vCPUs run.
fn has_tables(world: &World) {
    let all = FAR..FAR + TABLES * 512;
    let file = Some((&world.gmem, FAR));
    world.vm.add_slot(all, HVA_FAR, file).unwrap();
    start_second(world);
    after(empties_in_each(1..2))(world);
}

fn folds() -> Part {
    runs(0, vec![ripas(FAR..FAR + TABLES * 512, false, true)])
}

/// A change to EMPTY folds the tables that it covers, in each of which the other vCPU has something to
/// change as well.
#[test]
fn folds_and_another_change() {
    explore(|| {
        let parts = vec![folds(), runs(1, empties_in_each(8..16))];
        scenario(&[0, 1], has_tables, parts);
    });
}

/// The same, while the other vCPU has the VMM convert what it stores to, and the file gives that up.
#[test]
fn folds_and_faults() {
    explore(|| {
        let stores = [3, 5, 2, 6].map(|table| Op::Private(FAR + table * 512 + 3));
        let parts = vec![
            folds(),
            tries(1, stores.to_vec()),
            // Something else is unmapped all the time, so that a fault is tried again and again.
            part(|world| (0..30).for_each(|_| world.mm.discard(hvas(SHARED..SHARED + 1)))),
        ];
        scenario(&[0, 1], has_tables, parts);
    });
}

#[test]
fn a_ripas_change_and_a_punch() {
    explore(|| {
        let parts = vec![
            part(|world| {
                // The one that must not lose what was destroyed may be refused.
                let _ = world.run(0, [ripas(0..16, true, false)]);
                assert_eq!(world.run(0, [ripas(0..16, true, true)]), [true]);
            }),
            punches(4..12),
        ];
        scenario(&[0], after(private(0..12)), parts);
    });
}

/// An RSI that does not allow for the loss of what was destroyed is refused there, not stuck.
#[test]
fn a_destroyed_granule_is_told() {
    explore(|| {
        let first = |world: &World| {
            after(private(0..4))(world);
            world.gmem.punch(2..3);
        };
        let parts = vec![part(|world| {
            assert_eq!(world.run(0, [ripas(0..4, true, false)]), [false]);
            assert_eq!(world.run(0, [ripas(0..4, true, true)]), [true]);
            assert_eq!(world.run(0, private(0..4)), [true; 4]);
        })];
        scenario(&[0], first, parts);
    });
}

/// Each allocation fails once in a VM's life, while two vCPUs are at work: what fails may be tried again.
#[test]
fn no_memory() {
    explore(|| {
        let number = 1 + shuttle::rand::thread_rng().next_u64() % 60;
        let first = move |world: &World| {
            let file = kvm_arm_rmi::sys::gmem::Gmem::new();
            let top = FAR + 1024;
            world
                .vm
                .add_slot(FAR..top, HVA_FAR, Some((&file, 0)))
                .unwrap();
            world.vm.set_private(FAR + 500..FAR + 524, true).unwrap();
            kvm_arm_rmi::sys::machine::machine().fail_allocation(number);
        };
        let goes_on = |n: usize, ops: Vec<Op>| {
            part(move |world| {
                let wanted = ops.len();
                let mut guest = Guest::new(ops);
                while let Err((error, exit)) = world.go_on(n, &mut guest) {
                    assert_eq!(error, ENOMEM, "{exit:?}");
                }
                assert_eq!(guest.results, vec![true; wanted], "{guest:?}");
            })
        };
        let far = [
            private(0..2),
            shared(SHARED..SHARED + 2),
            // The second table does not exist before.
            vec![
                Op::Private(FAR + 500),
                ripas(FAR + 504..FAR + 520, false, true),
                ripas(FAR + 504..FAR + 520, true, true),
            ],
            private(8..10),
        ];
        let parts = vec![goes_on(0, far.concat()), discards(SHARED..SHARED + 2)];
        scenario(&[0], first, parts);
    });
}

/// A signal comes in the middle of a change: what is done by then stays so, and the rest is for later.
#[test]
fn a_change_and_a_signal() {
    explore(|| a_change_with_a_signal(shuttle::rand::thread_rng().next_u64() % 24));
}

/// At each place.
#[test]
fn a_change_that_a_signal_ends() {
    for calls in (0..24).step_by(3) {
        crate::alone(move || a_change_with_a_signal(calls));
    }
}

fn a_change_with_a_signal(calls: u64) {
    let gfns = FAR..FAR + 4 * 512;
    let table = |n: u64| FAR + n * 512;
    let first = {
        let gfns = gfns.clone();
        move |world: &World| {
            let file = Some((&world.gmem, FAR));
            world.vm.add_slot(gfns, HVA_FAR, file).unwrap();
            start_second(world);
            // It is not one entry of a table.
            after(
                (0..4)
                    .map(|n| ripas(table(n) + 3..table(n) + 9, false, true))
                    .collect(),
            )(world);
        }
    };
    let rest = std::sync::Arc::new(std::sync::Mutex::new(None));
    let left = rest.clone();
    let parts = vec![part(move |world| {
        crate::injection::signal_after(calls);
        let mut guest = Guest::new([ripas(gfns.clone(), false, true)]);
        let result = world.go_on(0, &mut guest);
        crate::injection::signal_after(u64::MAX);
        match &result {
            Err((EINTR, Exit::Intr)) => *rest.lock().unwrap() = Some(guest),
            Ok(Exit::None) => assert_eq!(guest.results, [true]),
            other => panic!("{other:?}"),
        }
    })];
    let last = move |world: &World| {
        // Another task, which has no signal.
        let Some(mut guest) = left.lock().unwrap().take() else {
            return;
        };
        assert_eq!(world.go_on(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [true]);
    };
    scenario_with(&[0, 1], first, parts, last);
}
