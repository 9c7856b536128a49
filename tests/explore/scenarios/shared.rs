// SPDX-License-Identifier: GPL-2.0

//! Memory that is shared: faults, MMU notifiers, conversions.

use super::*;
use crate::injection::block;

#[test]
fn shared_faults_of_two() {
    explore(|| {
        let parts = vec![
            runs(0, shared(SHARED..SHARED + 4)),
            runs(1, shared(SHARED + 2..SHARED + 6)),
        ];
        scenario(&[0, 1], start_second, parts);
    });
}

#[test]
fn a_shared_fault_and_a_notifier() {
    explore(|| {
        let parts = vec![
            runs(0, shared(SHARED..SHARED + 4)),
            discards(SHARED..SHARED + 2),
        ];
        scenario(&[0], after(shared(SHARED..SHARED + 1)), parts);
    });
}

#[test]
fn two_notifiers_and_a_fault() {
    explore(|| {
        let parts = vec![
            runs(0, shared(SHARED..SHARED + 6)),
            discards(SHARED..SHARED + 4),
            discards(SHARED + 2..SHARED + 6),
        ];
        scenario(&[0], after(shared(SHARED..SHARED + 6)), parts);
    });
}

/// What does not wait for anything has all of it unmapped in one go, also where others are at work.
#[test]
fn a_notifier_that_may_not_block() {
    explore(|| {
        let first = |world: &World| {
            world.vm.add_slot(FAR..FAR + 2048, HVA_FAR, None).unwrap();
            after((0..4).map(|table| Op::Shared(FAR + table * 512)).collect())(world);
            block(4);
        };
        let parts = vec![
            runs(
                0,
                (0..4)
                    .map(|table| Op::Shared(FAR + table * 512 + 3))
                    .collect(),
            ),
            part(|world| world.mm.reap(HVA_FAR..HVA_FAR + 2048 * GRANULE_SIZE)),
        ];
        scenario(&[0], first, parts);
    });
}

/// Two tables' worth of shared memory, so that it takes more than one command to unmap it.
#[test]
fn two_notifiers_over_many_tables() {
    explore(|| {
        let far = (1..40).map(|table| Op::Shared(FAR + table * 512));
        let far: Vec<Op> = far.collect();
        let first = move |world: &World| {
            let top = FAR + 64 * 512;
            world.vm.add_slot(FAR..top, HVA_FAR, None).unwrap();
            after(far.clone())(world);
        };
        let hvas = |table: u64| {
            let at = HVA_FAR + table * 512 * 4096;
            at..at + 4096
        };
        let parts = vec![
            part(|world| world.mm.discard(HVA_FAR..HVA_FAR + 64 * 512 * 4096)),
            part(move |world| {
                for table in [38, 30, 20] {
                    world.mm.discard(hvas(table));
                }
            }),
            runs(
                0,
                vec![Op::Shared(FAR + 38 * 512), Op::Shared(FAR + 20 * 512)],
            ),
        ];
        scenario(&[0], first, parts);
    });
}

/// Both vCPUs touch a huge page that has small ones' table.
#[test]
fn a_huge_page_of_two() {
    explore(|| {
        let first = |world: &World| {
            world.vm.add_slot(FAR..FAR + 512, HVA_FAR, None).unwrap();
            start_second(world);
            after(shared(FAR + 3..FAR + 5))(world);
            world.mm.collapse(HVA_FAR);
        };
        let parts = vec![
            runs(0, shared(FAR + 7..FAR + 9)),
            runs(1, shared(FAR + 100..FAR + 102)),
            part(|world| world.mm.discard(HVA_FAR + 9 * 4096..HVA_FAR + 11 * 4096)),
        ];
        scenario(&[0, 1], first, parts);
    });
}

/// A huge page comes and goes where small ones have been, so that it is mapped in small ones: half of it,
/// when a command has to wait for another realm's operation.
#[test]
fn a_huge_page_half_way() {
    explore(|| {
        let first = |world: &World| {
            world.vm.add_slot(FAR..FAR + 512, HVA_FAR, None).unwrap();
            after(shared(FAR + 3..FAR + 5))(world);
            world.mm.collapse(HVA_FAR);
            block(2);
        };
        let parts = vec![
            runs(0, shared(FAR..FAR + 8)),
            part(|world| {
                for _ in 0..4 {
                    world.mm.discard(HVA_FAR..HVA_FAR + 512 * 4096);
                    world.mm.collapse(HVA_FAR);
                }
            }),
        ];
        scenario(&[0], first, parts);
    });
}

/// Small pages become a huge one, and small again, under faults of both vCPUs.
#[test]
fn huge_pages_come_and_go() {
    explore(|| {
        let first = |world: &World| {
            world.vm.add_slot(FAR..FAR + 512, HVA_FAR, None).unwrap();
            start_second(world);
            after(shared(FAR + 3..FAR + 5))(world);
        };
        let scattered = |from: u64| -> Vec<Op> {
            let gfns = [2, 3, 9, 200, 511].map(|gfn| FAR + (gfn + from) % 512);
            gfns.map(Op::Shared).to_vec()
        };
        let parts = vec![
            runs(0, scattered(0)),
            runs(1, scattered(1)),
            part(|world| {
                world.mm.collapse(HVA_FAR);
                world.mm.discard(HVA_FAR + 9 * 4096..HVA_FAR + 11 * 4096);
            }),
        ];
        scenario(&[0, 1], first, parts);
    });
}

#[test]
fn a_shared_fault_and_a_conversion() {
    explore(|| {
        let parts = vec![
            part(|world| {
                // What it asks for is converted back.
                let _ = world.run(0, shared(SHARED..SHARED + 4));
            }),
            converts(SHARED..SHARED + 4, true),
        ];
        scenario(&[0], after(vec![]), parts);
    });
}

/// After a conversion to private nothing of the shared half is mapped, nor will it be.
#[test]
fn what_has_become_private_is_not_shared() {
    explore(|| {
        let gfns = SHARED..SHARED + 2;
        let parts = vec![
            part(|world| {
                let mut guest = Guest::new(shared(SHARED..SHARED + 2));
                while let Err((EAGAIN, _)) = world.vm.run(0, &mut guest) {}
            }),
            converts(gfns.clone(), true),
        ];
        let last = move |world: &World| world.assert_not_shared(gfns);
        scenario_with(&[0], after(vec![]), parts, last);
    });
}
