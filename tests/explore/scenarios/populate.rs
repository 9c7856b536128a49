// SPDX-License-Identifier: GPL-2.0

//! Contents in as many pages as a table maps: where the pages come from, and what stops it half way.

use super::blocks::{count, slot, BLOCK};
use super::told::{record, sizes};
use super::*;
use crate::injection::{calls, end, refuse_some, replace_some, signal_after};
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::uapi::KvmArmRmiPopulate;

/// Granules of a slot that has a block, with something on either side.
const SLOT: Range<u64> = FAR - 64..FAR + BLOCK + 64;

/// Where the contents are in the VMM.
const SOURCE: u64 = 0x4000_0000;

/// A realm that is New, with [`SLOT`]; one thing after the other.
fn one(test: impl Fn(&World) + Send + Sync + Clone + 'static) {
    alone(move |world| {
        slot(world, SLOT);
        world.begin().unwrap();
        crate::injection::reset();
        test(world);
        world.assert_pages_are_the_files(SLOT);
    });
}

fn arguments(gfns: &Range<u64>) -> KvmArmRmiPopulate {
    KvmArmRmiPopulate {
        base: gfns.start * GRANULE_SIZE,
        size: (gfns.end - gfns.start) * GRANULE_SIZE,
        source_uaddr: SOURCE,
        flags: 0,
        reserved: 0,
    }
}

/// Populates once. Returns what is left of it as well, to go on with: what was done is what is told.
fn populate(world: &World, gfns: &Range<u64>) -> (Result<(), Error>, KvmArmRmiPopulate) {
    let mut args = arguments(gfns);
    let result = world.vm.populate(&mut args);
    let left = args.size / GRANULE_SIZE;
    assert_eq!(args.base / GRANULE_SIZE, gfns.end - left);
    assert_eq!(
        args.source_uaddr - SOURCE,
        (args.base - gfns.start * GRANULE_SIZE)
    );
    (result, args)
}

/// Where granule `first + n` of a populate has its contents from.
fn source(world: &World, n: u64) -> u64 {
    world.mm.page(SOURCE + n * GRANULE_SIZE).unwrap()
}

/// Each page of the VMM's is another one.
fn mark(world: &World, pages: u64) {
    for n in 0..pages {
        machine().firmware().write(source(world, n), 0x1000 + n);
    }
}

/// Each granule has what is in its page of the VMM's.
fn assert_contents(gfns: &Range<u64>) {
    for gfn in gfns.clone() {
        let pa = mapped(gfn, false).unwrap();
        let word = machine().firmware().read(pa);
        assert_eq!(word, 0x1000 + gfn - gfns.start, "granule {gfn:#x}");
    }
}

/// How many granules the realm world has, by the host's count.
fn delegated() -> u64 {
    let file = machine()
        .read_file("kvm_arm_rmi/vm-1-", "/granules")
        .unwrap();
    let mut lines = file.lines();
    let number = lines.find_map(|line| line.strip_prefix("delegated: "));
    number.unwrap().parse().unwrap()
}

/// Pages that follow each other are delegated at once: what a table maps, or as much of it as there is.
#[test]
fn one_delegation_for_all_of_a_table() {
    one(|world| {
        let gfns = FAR - 37..FAR + BLOCK + 64;
        mark(world, gfns.end - gfns.start);
        let delegations = record(Fid::GRANULE_RANGE_DELEGATE);
        assert_eq!(populate(world, &gfns).0, Ok(()));
        end();
        // A table and five pages one by one, which are next to each other; and then in a row.
        let delegations = sizes(&delegations.lock().unwrap());
        assert_eq!(delegations, [1, 5, 32, 1, 512, 1, 64]);
        assert_contents(&gfns);
        assert_eq!(there(SLOT, false), gfns.collect::<Vec<_>>());
    });
}

/// The pages of the VMM's are pinned before anything is done about them, as many as a table maps.
#[test]
fn tables_are_made_once() {
    one(|world| {
        let gfns = FAR..FAR + BLOCK;
        let tables = count(Fid::RTT_CREATE, || {
            assert_eq!(populate(world, &gfns).0, Ok(()));
        });
        assert_eq!(tables, 1);
        let calls = calls();
        let called = |fid: Fid| calls.get(&fid.raw()).copied();
        assert_eq!(called(Fid::RTT_DATA_MAP_INIT), Some((BLOCK, 0)));
        assert_eq!(called(Fid::GRANULE_RANGE_DELEGATE), Some((2, 0)));
    });
}

/// Something is there: that stays, and the rest comes in smaller pieces.
#[test]
fn pages_that_are_there() {
    for there in [0, 9, 511] {
        one(move |world| {
            let gfns = FAR..FAR + BLOCK;
            mark(world, BLOCK);
            world.gmem.fill(FAR + there..FAR + there + 1).unwrap();
            let page = world.gmem.page(FAR + there);
            let delegations = record(Fid::GRANULE_RANGE_DELEGATE);
            assert_eq!(populate(world, &gfns).0, Ok(()));
            end();
            let delegations = sizes(&delegations.lock().unwrap());
            let chunks = delegations.iter().filter(|size| **size == 32).count();
            assert!(chunks >= 15, "{delegations:?}");
            assert_eq!(mapped(FAR + there, false), page);
            assert_contents(&gfns);
        });
    }
}

/// Every allocation fails once, and all from there on: the VMM is told, or there are other pages. What was
/// done stays, and it can go on.
#[test]
fn without_memory() {
    let gfns = FAR..FAR + BLOCK + 40;
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let (all, whole) = (counted.clone(), gfns.clone());
    one(move |world| {
        mark(world, BLOCK + 40);
        machine().fail_allocation(0);
        assert_eq!(populate(world, &whole).0, Ok(()));
        all.store(machine().allocations(), std::sync::atomic::Ordering::SeqCst);
    });
    let all = counted.load(std::sync::atomic::Ordering::SeqCst);
    assert!(all > 12, "{all}");
    for (number, for_ever) in (1..=all).flat_map(|number| [(number, false), (number, true)]) {
        let gfns = gfns.clone();
        one(move |world| {
            mark(world, BLOCK + 40);
            let before = delegated();
            match for_ever {
                true => machine().fail_allocations_from(number),
                false => machine().fail_allocation(number),
            }
            let (result, mut left) = populate(world, &gfns);
            machine().fail_allocation(0);
            let what = format!("allocation {number}, for ever: {for_ever}");
            let done = left.base / GRANULE_SIZE - gfns.start;
            match result {
                Ok(()) => assert_eq!(left.size, 0, "{what}"),
                Err(error) => assert_eq!(error, ENOMEM, "{what}"),
            }
            assert!(delegated() - before <= done + 2, "{what}");
            let has: Vec<_> = (gfns.start..gfns.start + done).collect();
            assert_eq!(there(SLOT, false), has, "{what}");
            if left.size != 0 {
                world.vm.populate(&mut left).unwrap();
            }
            assert_contents(&gfns);
        });
    }
}

/// There is no memory for a page of the VMM's when it is pinned: those before it are populated first.
#[test]
fn sources_without_memory() {
    one(|world| {
        let gfns = FAR..FAR + BLOCK;
        machine().fail_allocation(300);
        let delegations = record(Fid::GRANULE_RANGE_DELEGATE);
        assert_eq!(populate(world, &gfns).0, Ok(()));
        end();
        let delegations = sizes(&delegations.lock().unwrap());
        assert_eq!(delegations[..4], [1, 256, 32, 11]);
        world.assert_all_private(gfns);
    });
}

/// The RMM refuses a granule: those before it are told, nothing else stays with the realm world.
#[test]
fn a_granule_that_is_refused() {
    for n in [1, 2, 16, 17, 300, 512] {
        one(move |world| {
            let gfns = FAR..FAR + BLOCK;
            mark(world, BLOCK);
            let before = delegated();
            refuse_some(Fid::RTT_DATA_MAP_INIT, (n - 1, 1), Status::ErrorInput);
            let (result, mut left) = populate(world, &gfns);
            end();
            assert_eq!(
                (result, left.size),
                (Err(EIO), (BLOCK + 1 - n) * GRANULE_SIZE)
            );
            let has: Vec<_> = (FAR..FAR + n - 1).collect();
            assert_eq!(there(SLOT, false), has);
            // And the table.
            assert_eq!(delegated(), before + 1 + n - 1);
            let notes = machine()
                .read_file("kvm_arm_rmi/vm-1-", "/granules")
                .unwrap();
            assert!(
                notes.contains(&format!("mapped_private: {}\n", n - 1)),
                "{notes}"
            );
            assert_eq!(world.vm.populate(&mut left), Ok(()));
            assert_contents(&gfns);
        });
    }
}

/// Something else has to end first: it comes to that.
#[test]
fn a_granule_that_is_blocked() {
    for n in [1, 16, 17, 300] {
        one(move |world| {
            let gfns = FAR..FAR + BLOCK;
            mark(world, BLOCK);
            let sleeps = machine().sleeps();
            refuse_some(Fid::RTT_DATA_MAP_INIT, (n - 1, 1), Status::Blocked);
            assert_eq!(populate(world, &gfns).0, Ok(()));
            end();
            assert_eq!(machine().sleeps(), sleeps + 1);
            assert_contents(&gfns);
        });
    }
}

/// The RMM takes some pages of a row and refuses the rest: nothing is mapped, and all come back.
#[test]
fn pages_that_are_not_delegated() {
    for taken in [0, 100] {
        one(move |world| {
            let gfns = FAR..FAR + BLOCK;
            // The table is there.
            assert_eq!(populate(world, &(FAR + 88..FAR + 89)).0, Ok(()));
            world.gmem.punch(FAR + 88..FAR + 89);
            let before = delegated();
            let some = move |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| {
                let rest = args.x(2) - args.x(1) != BLOCK * GRANULE_SIZE;
                if taken == 0 || rest {
                    return Regs::new(Status::ErrorInput.raw().into(), &[]);
                }
                let mut part = *args;
                part.0[2] = args.x(1) + taken * GRANULE_SIZE;
                rmm(&part)
            };
            replace_some(Fid::GRANULE_RANGE_DELEGATE, (0, 2), some);
            let (result, left) = populate(world, &gfns);
            end();
            assert_eq!((result, left.size), (Err(EIO), BLOCK * GRANULE_SIZE));
            assert_eq!(delegated(), before);
            assert_eq!(there(SLOT, false), []);
            assert_eq!(populate(world, &gfns).0, Ok(()));
        });
    }
}

/// What stands in the way is told when it comes to that: memory that is shared, populated already, in no slot.
#[test]
fn what_is_in_the_way() {
    one(|world| {
        world.vm.set_private(FAR + 100..FAR + 101, false).unwrap();
        let (result, left) = populate(world, &(FAR..FAR + BLOCK));
        assert_eq!((result, left.base / GRANULE_SIZE), (Err(EINVAL), FAR + 100));
        assert_eq!(populate(world, &(FAR + 300..FAR + 301)).0, Ok(()));
        let (result, left) = populate(world, &(FAR + 101..FAR + BLOCK));
        assert_eq!((result, left.base / GRANULE_SIZE), (Err(EEXIST), FAR + 300));
        let (result, left) = populate(world, &(FAR + 301..SLOT.end + 5));
        assert_eq!((result, left.base / GRANULE_SIZE), (Err(EINVAL), SLOT.end));
        let all = FAR..SLOT.end;
        let all = all.filter(|gfn| *gfn != FAR + 100);
        assert_eq!(there(SLOT, false), all.collect::<Vec<_>>());
    });
}

/// The file gives up pages that populate has got, and has had delegated: they are not mapped, nor lost.
#[test]
fn pages_that_go_while_they_are_populated() {
    one(|world| {
        let gfns = FAR..FAR + BLOCK;
        mark(world, BLOCK);
        let gmem = world.gmem.clone();
        replace_some(Fid::GRANULE_RANGE_DELEGATE, (1, 1), move |args, rmm| {
            let result = rmm(args);
            assert_eq!(args.x(2) - args.x(1), BLOCK * GRANULE_SIZE);
            gmem.punch(FAR + 200..FAR + 300);
            result
        });
        assert_eq!(populate(world, &gfns).0, Ok(()));
        end();
        assert_contents(&gfns);
    });
}

/// A signal that comes in the middle of a row waits until that is over, and what was done is told.
#[test]
fn a_signal_in_a_row() {
    one(|world| {
        signal_after(100);
        let (result, left) = populate(world, &(FAR..FAR + BLOCK + 64));
        signal_after(u64::MAX);
        assert_eq!((result, left.size), (Ok(()), 64 * GRANULE_SIZE));
        world.assert_all_private(FAR..FAR + BLOCK);
    });
}

/// A scenario in which all of [`SLOT`] is populated beside something else.
fn populates_beside(other: Part, last: impl FnOnce(&World)) {
    let first = |world: &World| slot(world, SLOT);
    let parts = vec![
        part(|world| {
            mark(world, SLOT.end - SLOT.start);
            assert_eq!(populate(world, &SLOT).0, Ok(()));
        }),
        other,
    ];
    let last = |world: &World| {
        world.assert_pages_are_the_files(SLOT);
        last(world);
    };
    scenario_with(&[0], first, parts, last);
}

/// After a while.
fn later(other: impl FnOnce(&World) + Send + 'static) -> Part {
    part(move |world| {
        let random = shuttle::rand::thread_rng().next_u64() % 512;
        (0..random).for_each(|_| shuttle::thread::yield_now());
        other(world);
    })
}

#[test]
fn a_row_and_a_punch() {
    explore(|| {
        let punch = later(|world| world.gmem.punch(FAR + 100..FAR + 200));
        populates_beside(punch, |world| {
            world.assert_all_private(SLOT.start..FAR + 100);
            world.assert_all_private(FAR + 200..SLOT.end);
        });
    });
}

/// Other memory of the VM's is invalidated again and again.
#[test]
fn a_row_and_other_memory() {
    explore(|| {
        let other = later(|world| (0..4).for_each(|n| world.mm.discard(hvas(n..n + 1))));
        populates_beside(other, |_| assert_contents(&SLOT));
    });
}

/// The VMM unmaps what it populates from: the pages that were pinned are used, or those that are there next.
#[test]
fn a_row_and_its_sources() {
    explore(|| {
        let other = later(|world| {
            let all = SLOT.end - SLOT.start;
            world
                .mm
                .discard(SOURCE + 100 * GRANULE_SIZE..SOURCE + all * GRANULE_SIZE);
        });
        populates_beside(other, |world| world.assert_all_private(SLOT));
    });
}
