// SPDX-License-Identifier: GPL-2.0

//! Shared memory that user space has already is mapped ahead of the faults for it.

use super::*;

/// User space has touched these granules of the shared half.
fn touch(world: &World, gfns: Range<u64>) {
    for gfn in gfns {
        assert!(world.mm.page(hvas(gfn..gfn + 1).start).is_some());
    }
}

/// A beginning: user space has touched these granules, and the realm nothing.
fn touched(gfns: Range<u64>) -> impl FnOnce(&World) {
    move |world: &World| {
        after(vec![])(world);
        touch(world, gfns);
    }
}

/// The realm reaches just these of `all`, and in each what user space has there.
fn assert_reached(world: &World, all: Range<u64>, wanted: Range<u64>) {
    for gfn in all {
        let page = wanted
            .contains(&gfn)
            .then(|| world.mm.page(hvas(gfn..gfn + 1).start).expect("a page"));
        assert_eq!(mapped(gfn, true), page, "granule {gfn:#x}");
    }
}

#[test]
fn what_is_there_is_mapped_up_to_what_is_not() {
    explore(|| {
        let last = |world: &World| assert_reached(world, SHARED..SHARED + 16, SHARED..SHARED + 6);
        let parts = vec![runs(0, shared(SHARED..SHARED + 1))];
        scenario_with(&[0], touched(SHARED..SHARED + 6), parts, last);
    });
}

#[test]
fn not_beyond_64_kib_nor_before_the_fault() {
    explore(|| {
        let last = |world: &World| {
            assert_reached(world, SHARED..SHARED + 32, SHARED + 3..SHARED + 16);
        };
        let parts = vec![runs(0, shared(SHARED + 3..SHARED + 4))];
        scenario_with(&[0], touched(SHARED..SHARED + 32), parts, last);
    });
}

#[test]
fn not_what_may_not_be_written() {
    explore(|| {
        let first = |world: &World| {
            touched(SHARED..SHARED + 16)(world);
            world.mm.protect(hvas(SHARED + 2..SHARED + 3).start, false);
        };
        let last = |world: &World| assert_reached(world, SHARED..SHARED + 16, SHARED..SHARED + 2);
        scenario_with(&[0], first, vec![runs(0, shared(SHARED..SHARED + 1))], last);
    });
}

#[test]
fn not_what_is_private() {
    explore(|| {
        let first = |world: &World| {
            touched(SHARED..SHARED + 16)(world);
            world.convert(SHARED + 3..SHARED + 5, true);
            touch(world, SHARED + 3..SHARED + 5);
        };
        let last = |world: &World| assert_reached(world, SHARED..SHARED + 16, SHARED..SHARED + 3);
        scenario_with(&[0], first, vec![runs(0, shared(SHARED..SHARED + 1))], last);
    });
}

#[test]
fn not_beyond_the_slot() {
    explore(|| {
        let far = FAR..FAR + 5;
        let first = |world: &World| {
            after(vec![])(world);
            world.vm.add_slot(FAR..FAR + 5, HVA_FAR, None).unwrap();
            for page in 0..16 {
                world.mm.page(HVA_FAR + page * GRANULE_SIZE);
            }
        };
        let last = move |_: &World| {
            let there: Vec<u64> = (FAR..FAR + 16)
                .filter(|gfn| mapped(*gfn, true).is_some())
                .collect();
            assert_eq!(there, far.collect::<Vec<_>>());
        };
        scenario_with(&[0], first, vec![runs(0, shared(FAR..FAR + 1))], last);
    });
}

/// Memory that comes with its first use has nothing behind it: that is not looked at each time.
#[test]
fn after_one_with_nothing_behind_it_some_go_alone() {
    explore(|| {
        let first = |world: &World| {
            after(shared(SHARED..SHARED + 1))(world);
            touch(world, SHARED + 1..SHARED + 16);
        };
        let last = |world: &World| assert_reached(world, SHARED..SHARED + 16, SHARED..SHARED + 2);
        scenario_with(
            &[0],
            first,
            vec![runs(0, shared(SHARED + 1..SHARED + 2))],
            last,
        );
    });
}

#[test]
fn what_is_mapped_ahead_goes() {
    alone(|world| {
        touched(SHARED..SHARED + 16)(world);
        assert_eq!(world.run(0, shared(SHARED..SHARED + 1)), [true]);
        assert_reached(world, SHARED..SHARED + 16, SHARED..SHARED + 16);
        world.mm.discard(hvas(SHARED + 2..SHARED + 8));
        assert_reached(world, SHARED..SHARED + 8, SHARED..SHARED + 2);
        assert_reached(world, SHARED + 8..SHARED + 16, SHARED + 8..SHARED + 16);
    });
}

#[test]
fn two_map_the_same_ahead_and_it_goes() {
    explore(|| {
        let first = |world: &World| {
            start_second(world);
            touched(SHARED..SHARED + 16)(world);
        };
        let parts = vec![
            runs(0, shared(SHARED..SHARED + 4)),
            runs(1, shared(SHARED + 1..SHARED + 3)),
            discards(SHARED + 2..SHARED + 8),
        ];
        scenario(&[0, 1], first, parts);
    });
}

#[test]
fn what_is_ahead_is_converted_protected_and_reaped() {
    explore(|| {
        let parts = vec![
            part(|world| {
                // What it asks for may have become private.
                let _ = world.run(0, shared(SHARED..SHARED + 3));
            }),
            converts(SHARED + 4..SHARED + 6, true),
            part(|world| {
                world.mm.protect(hvas(SHARED + 8..SHARED + 9).start, false);
                world.mm.reap(hvas(SHARED + 10..SHARED + 12));
            }),
        ];
        let last = |world: &World| world.assert_not_shared(SHARED + 4..SHARED + 6);
        scenario_with(&[0], touched(SHARED..SHARED + 16), parts, last);
    });
}
