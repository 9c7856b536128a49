// SPDX-License-Identifier: GPL-2.0

//! Private memory in blocks: how it comes, how it is split, and what of it goes.

use super::*;
use crate::firmware::level;
use crate::injection::{calls, refuse_some, replace_some, signal_after};
use crate::lives::{granules, State};
use kvm_arm_rmi::rmi::{Fid, Regs, Status};
use kvm_arm_rmi::sys::machine::{machine, Machine};

/// Granules of a block.
pub(super) const BLOCK: u64 = 512;

/// Granules of a slot that has a block, with something on either side.
const SLOT: Range<u64> = FAR - 64..FAR + BLOCK + 64;

/// All of a block at the first touch.
fn always(machine: &Machine) {
    machine.set_fault_around(2 << 20, false);
}

/// As much as a realm has shown that it uses.
fn adaptive(machine: &Machine) {
    machine.set_fault_around(2 << 20, true);
}

/// A slot all of which is private, with the pages of the same numbers in the file.
pub(super) fn slot(world: &World, gfns: Range<u64>) {
    let file = Some((&world.gmem, gfns.start));
    world.vm.add_slot(gfns.clone(), HVA_FAR, file).unwrap();
    if world.by == By::Attributes {
        world.vm.set_private(gfns, true).unwrap();
    }
}

/// A scenario in which blocks come at the first touch.
fn blocks(vcpus: &[u32], first: impl FnOnce(&World), parts: Vec<Part>, last: impl FnOnce(&World)) {
    blocks_by(By::Attributes, vcpus, first, parts, last);
}

fn blocks_by(
    by: By,
    vcpus: &[u32],
    first: impl FnOnce(&World),
    parts: Vec<Part>,
    last: impl FnOnce(&World),
) {
    let first = |world: &World| {
        slot(world, SLOT);
        first(world);
    };
    let last = |world: &World| {
        world.assert_pages_are_the_files(SLOT);
        last(world);
    };
    scenario_on(always, (by, 32, vcpus), first, parts, last);
}

/// One VM, one vCPU, one thing after the other.
fn one(set: fn(&Machine), gfns: Range<u64>, test: impl Fn(&World) + Send + Sync + Clone + 'static) {
    crate::alone(move || {
        let first = |world: &World| slot(world, gfns.clone());
        let (gfns, test) = (gfns.clone(), test.clone());
        let last = move |world: &World| {
            test(world);
            world.assert_pages_are_the_files(gfns);
        };
        scenario_on(set, (By::Attributes, 32, &[0]), first, vec![], last);
    });
}

/// The realm has a block there, and has just touched it.
fn with_block(world: &World) {
    assert_eq!(world.run(0, private(FAR..FAR + 1)), [true]);
    assert_eq!(level(FAR), 2);
}

/// The same with two vCPUs that have run.
fn with_block_and_second(world: &World) {
    start_second(world);
    with_block(world);
}

/// Tables that are set aside.
fn set_aside() -> u64 {
    let granules = machine().read_file("kvm_arm_rmi/vm-", "/granules").unwrap();
    let mut lines = granules.lines();
    let number = lines.find_map(|line| line.strip_prefix("tables_set_aside: "));
    number.unwrap().parse().unwrap()
}

/// How often that is done to the RMM by `f`.
pub(super) fn count(fid: Fid, f: impl FnOnce()) -> u64 {
    signal_after(u64::MAX);
    f();
    calls().get(&fid.raw()).map_or(0, |(calls, _)| *calls)
}

/// One fault, one command for the memory and one for the block; a table is set aside as long as there is
/// something of it.
#[test]
fn a_block_comes_by_one_fault() {
    one(always, SLOT, |world| {
        world.run(0, []);
        crate::injection::reset();
        let maps = count(Fid::RTT_DATA_MAP, || {
            assert_eq!(world.run(0, private(FAR + 7..FAR + 8)), [true]);
        });
        assert_eq!(maps, 1);
        assert_eq!((level(FAR), set_aside()), (2, 1));
        world.assert_all_private(FAR..FAR + BLOCK);
        let entries = count(Fid::REC_ENTER, || {
            world.run(0, private(FAR..FAR + BLOCK));
        });
        assert_eq!(entries, BLOCK, "one for each store, none for a fault");
        // What does not make up a block comes in pages.
        assert_eq!(world.run(0, private(FAR - 1..FAR)), [true]);
        assert_eq!((level(FAR - 1), set_aside()), (3, 1));
        let unmaps = count(Fid::RTT_DATA_UNMAP, || world.gmem.punch(FAR..FAR + BLOCK));
        assert_eq!((unmaps, set_aside()), (1, 0));
        world.assert_nothing_mapped(FAR..FAR + BLOCK);
    });
}

/// Whoever takes out a part splits it, and frees the pages of that at once; the rest stays where it is.
#[test]
fn a_block_gives_up_parts() {
    for part in [0..1, 4..9, 0..511, 1..512, 511..512] {
        one(always, SLOT, move |world| {
            with_block(world);
            let part = FAR + part.start..FAR + part.end;
            let pages: Vec<_> = part
                .clone()
                .map(|gfn| world.gmem.page(gfn).unwrap())
                .collect();
            world.gmem.punch(part.clone());
            assert!(pages.iter().all(|pa| machine().is_free(*pa)));
            let rest = (FAR..FAR + BLOCK).filter(|gfn| !part.contains(gfn));
            assert_eq!(there(FAR..FAR + BLOCK, false), rest.collect::<Vec<_>>());
            assert_eq!((level(FAR), set_aside()), (3, 0));
            // What is left goes as well.
            world.gmem.punch(FAR..FAR + BLOCK);
            world.assert_nothing_mapped(FAR..FAR + BLOCK);
        });
    }
}

/// Splitting takes no memory.
#[test]
fn a_block_gives_up_a_part_where_there_is_no_memory() {
    one(always, SLOT, |world| {
        with_block(world);
        machine().fail_allocation(1);
        world.gmem.punch(FAR + 4..FAR + 5);
        assert_eq!(machine().allocations(), 0);
        machine().fail_allocation(0);
        assert_eq!((level(FAR), set_aside()), (3, 0));
        assert_eq!(world.run(0, private(FAR..FAR + 4)), [true; 4]);
    });
}

/// The host has been told that the table is bad that was set aside: another one is found, or not.
#[test]
fn the_table_that_was_set_aside_is_bad() {
    for (fails, survives) in [(0, true), (1, false)] {
        one(always, SLOT, move |world| {
            with_block(world);
            let machine = machine();
            // What the RMM has and does not use is that, and what else is kept to be a table again.
            let granules = granules().into_iter();
            let spares = granules.filter(|(_, state)| *state == State::Delegated);
            spares.for_each(|(pa, _)| machine.poison(pa));
            machine.fail_allocation(fails);
            world.gmem.punch(FAR + 4..FAR + 5);
            machine.fail_allocation(0);
            assert_eq!(
                machine.told("is dead: it cannot be parted"),
                usize::from(!survives)
            );
            assert!(!survives || level(FAR) == 3);
        });
    }
}

#[test]
fn a_block_and_a_punch_of_a_part() {
    explore(|| {
        let parts = vec![tries(0, private(FAR..FAR + 8)), punches(FAR + 2..FAR + 6)];
        blocks(&[0], after(private(0..1)), parts, |_| {});
    });
}

#[test]
fn a_block_and_a_punch_of_all() {
    explore(|| {
        let parts = vec![tries(0, private(FAR..FAR + 2)), punches(SLOT)];
        blocks(&[0], after(private(0..1)), parts, |_| {});
    });
}

/// What is not taken out is there all the time.
#[test]
fn a_block_is_split_under_a_vcpu() {
    explore(|| {
        let parts = vec![
            runs(0, private(FAR + 8..FAR + 20)),
            punches(FAR + 2..FAR + 6),
            punches(FAR + 100..FAR + 101),
        ];
        let last = |_: &World| assert_eq!((level(FAR), set_aside()), (3, 0));
        blocks(&[0], with_block, parts, last);
    });
}

#[test]
fn a_block_goes_in_two_parts_and_comes_back() {
    explore(|| {
        let parts = vec![
            tries(0, private(FAR + 300..FAR + 302)),
            punches(FAR..FAR + 256),
            punches(FAR + 256..FAR + BLOCK),
        ];
        blocks(&[0], with_block, parts, |_| {});
    });
}

#[test]
fn two_vcpus_touch_one_block() {
    explore(|| {
        let parts = vec![
            runs(0, private(FAR + 5..FAR + 7)),
            runs(1, private(FAR + 300..FAR + 302)),
        ];
        let last = |world: &World| {
            world.assert_all_private(FAR..FAR + BLOCK);
            assert_eq!((level(FAR), set_aside()), (2, 1));
        };
        blocks(&[0, 1], start_second, parts, last);
    });
}

#[test]
fn a_block_and_a_conversion_of_a_part() {
    explore(|| {
        let parts = vec![
            part(|world| {
                let result = world.vm.run(0, &mut Guest::new(private(FAR + 1..FAR + 4)));
                let asked = matches!(
                    result,
                    Ok(_) | Err((EHWPOISON | EFAULT, Exit::MemoryFault { private: true, .. }))
                );
                assert!(asked, "{result:?}");
            }),
            converts(FAR + 2..FAR + 5, false),
        ];
        let last = |world: &World| world.assert_nothing_mapped(FAR + 2..FAR + 5);
        blocks(&[0], after(private(0..1)), parts, last);
    });
}

#[test]
fn a_slot_goes_with_a_block() {
    for first in [after(private(0..1)), after(private(FAR..FAR + 1))] {
        explore(move || {
            let parts = vec![
                part(|world| {
                    let result = world.vm.run(0, &mut Guest::new(private(FAR..FAR + 4)));
                    let told = matches!(
                        result,
                        Ok(Exit::None) | Err((EFAULT | EHWPOISON, Exit::MemoryFault { .. }))
                    );
                    assert!(told, "{result:?}");
                }),
                part(|world| world.vm.delete_slot(SLOT.start).unwrap()),
            ];
            let last = |world: &World| {
                world.assert_nothing_mapped(SLOT);
                assert_eq!(set_aside(), 0);
            };
            blocks(&[0], first.clone(), parts, last);
        });
    }
}

#[test]
fn the_file_of_a_block_is_closed() {
    explore(|| {
        let parts = vec![
            part(|world| {
                let result = world.vm.run(0, &mut Guest::new(private(FAR..FAR + 2)));
                let told = matches!(
                    result,
                    Ok(_) | Err((EFAULT | EHWPOISON, Exit::MemoryFault { private: true, .. }))
                );
                assert!(told, "{result:?}");
            }),
            part(|world| world.gmem.close()),
        ];
        let last = |world: &World| world.assert_nothing_mapped(SLOT);
        blocks(&[0], after(private(0..1)), parts, last);
    });
}

/// Another vCPU wants a part of the block to be something else at the moment at which it is mapped: the
/// table may be made before, after, or where the block has just come.
#[test]
fn a_block_and_a_ripas_change_of_a_part() {
    for by in [By::Attributes, By::File] {
        explore(move || {
            let there_and_back = [false, true].map(|ram| ripas(FAR + 4..FAR + 8, ram, true));
            let parts = vec![
                tries(0, private(FAR + 100..FAR + 102)),
                part(move |world| {
                    let mut guest = Guest::new(there_and_back);
                    let _ = world.go_on(1, &mut guest).unwrap();
                }),
            ];
            blocks_by(by, &[0, 1], start_second, parts, |_| {});
        });
    }
}

/// The same where the block is there.
#[test]
fn a_ripas_change_splits_a_block() {
    for by in [By::Attributes, By::File] {
        explore(move || {
            let parts = vec![
                runs(0, private(FAR + 100..FAR + 102)),
                part(|world| {
                    let ops = [false, true].map(|ram| ripas(FAR + 4..FAR + 8, ram, true));
                    assert_eq!(world.run(1, ops), [true; 2]);
                }),
            ];
            let last = |_: &World| assert_eq!((level(FAR), set_aside()), (3, 0));
            blocks_by(by, &[0, 1], with_block_and_second, parts, last);
        });
    }
}

#[test]
fn a_block_is_asked_for() {
    one(always, SLOT, |world| {
        world.run(0, []);
        let ipas = |gfns: Range<u64>| gfns.start * GRANULE_SIZE..gfns.end * GRANULE_SIZE;
        assert_eq!(world.vm.pre_fault(0, ipas(SLOT)), Ok(()));
        world.assert_all_private(SLOT);
        assert_eq!((level(FAR - 1), level(FAR), set_aside()), (3, 2, 1));
    });
    one(always, SLOT, |world| {
        world.run(0, []);
        let ipas = FAR * GRANULE_SIZE..(FAR + 40) * GRANULE_SIZE;
        // Not more than that, but for what comes with a page.
        assert_eq!(world.vm.pre_fault(0, ipas), Ok(()));
        assert_eq!(there(SLOT, false), (FAR..FAR + 64).collect::<Vec<_>>());
    });
}

/// An RMM that does not map blocks says so once.
#[test]
fn an_rmm_without_blocks() {
    one(always, FAR..FAR + 2 * BLOCK, |world| {
        world.run(0, []);
        crate::injection::reset();
        let without = |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| match args.x(5) & 3 {
            // The size of the first descriptor.
            0 => rmm(args),
            _ => Regs::new(Status::ErrorInput.raw().into(), &[]),
        };
        replace_some(Fid::RTT_DATA_MAP, (0, u64::MAX), without);
        assert_eq!(world.run(0, private(FAR..FAR + 1)), [true]);
        world.assert_all_private(FAR..FAR + BLOCK);
        assert_eq!((level(FAR), set_aside()), (3, 0));
        crate::injection::end();
        assert_eq!(world.run(0, private(FAR + BLOCK..FAR + BLOCK + 1)), [true]);
        assert_eq!(level(FAR + BLOCK), 3, "it is remembered");
    });
}

/// One that has something there: pages do, and the next block may come.
#[test]
fn a_block_that_is_refused() {
    one(always, FAR..FAR + 2 * BLOCK, |world| {
        world.run(0, []);
        refuse_some(Fid::RTT_DATA_MAP, (0, 1), Status::ErrorRtt);
        assert_eq!(world.run(0, private(FAR..FAR + 1)), [true]);
        assert_eq!((level(FAR), set_aside()), (3, 0));
        world.assert_all_private(FAR..FAR + BLOCK);
        assert_eq!(world.run(0, private(FAR + BLOCK..FAR + BLOCK + 1)), [true]);
        assert_eq!(level(FAR + BLOCK), 2);
    });
}

/// One that says that it has mapped a part of it: nobody knows what it has, so the realm ends, and nothing
/// is lost.
#[test]
fn a_block_that_is_mapped_in_part() {
    one(always, SLOT, |world| {
        world.run(0, []);
        crate::injection::reset();
        let part = |args: &Regs, rmm: &dyn Fn(&Regs) -> Regs| {
            let regs = rmm(args);
            Regs::new(regs.x(0), &[args.x(2) + 8 * GRANULE_SIZE])
        };
        replace_some(Fid::RTT_DATA_MAP, (0, 1), part);
        let result = world.vm.run(0, &mut Guest::new(private(FAR..FAR + 1)));
        assert!(matches!(result, Ok(Exit::InternalError(_))), "{result:?}");
        assert_eq!(machine().told("is dead: nobody knows what it has"), 1);
        crate::injection::end();
    });
}

/// There is no memory in one piece, no page, or something is there already: single pages do.
#[test]
fn where_no_block_can_be_had() {
    one(always, SLOT, |world| {
        world.run(0, []);
        // One page of the block is there.
        assert_eq!(world.populate(FAR + 9..FAR + 10), Err(EBUSY));
        assert!(world.gmem.fill(FAR + 9..FAR + 10).is_ok());
        assert_eq!(world.run(0, private(FAR..FAR + 1)), [true]);
        assert_eq!((level(FAR), set_aside()), (3, 0));
        world.assert_all_private(FAR..FAR + BLOCK);
    });
}

/// Every allocation of a fault fails once: the realm goes on with fewer pages, or its VMM is told.
#[test]
fn a_block_without_memory() {
    let counted = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let all = counted.clone();
    one(always, SLOT, move |world| {
        world.run(0, []);
        machine().fail_allocation(0);
        with_block(world);
        all.store(machine().allocations(), std::sync::atomic::Ordering::SeqCst);
    });
    let all = counted.load(std::sync::atomic::Ordering::SeqCst);
    assert!(all > 4, "{all}");
    for number in 1..=all {
        one(always, SLOT, move |world| {
            world.run(0, []);
            machine().fail_allocation(number);
            let result = world.vm.run(0, &mut Guest::new(private(FAR..FAR + 1)));
            machine().fail_allocation(0);
            assert!(
                matches!(result, Ok(_) | Err((ENOMEM, _))),
                "allocation {number}: {result:?}"
            );
            assert_eq!(world.run(0, private(FAR + 1..FAR + 3)), [true; 2]);
        });
        // And all of them from there on.
        one(always, SLOT, move |world| {
            world.run(0, []);
            machine().fail_allocations_from(number);
            let result = world.vm.run(0, &mut Guest::new(private(FAR..FAR + 1)));
            machine().fail_allocation(0);
            let all = FAR..FAR + BLOCK;
            let pages = all.filter(|gfn| world.gmem.page(*gfn).is_some()).count();
            match result {
                // What a block has taken in vain is there for others.
                Err((ENOMEM, _)) => assert_eq!(pages, 0, "allocation {number}"),
                result => assert_eq!((result, pages), (Ok(Exit::None), 512), "{number}"),
            }
            assert_eq!(world.run(0, private(FAR + 1..FAR + 3)), [true; 2]);
        });
    }
}

/// A scenario in which more comes than a chunk, and less than a block at first.
fn pieces(vcpus: &[u32], parts: Vec<Part>) {
    let first = |world: &World| {
        slot(world, FAR..FAR + 2 * BLOCK);
        start_second(world);
        let some = [FAR, FAR + 16, FAR + 32].map(Op::Private);
        assert_eq!(world.run(0, some), [true; 3]);
    };
    let last = |world: &World| world.assert_pages_are_the_files(FAR..FAR + 2 * BLOCK);
    scenario_on(adaptive, (By::Attributes, 32, vcpus), first, parts, last);
}

/// What comes beside a fault is taken away meanwhile, some of it before it is mapped.
#[test]
fn what_comes_beside_a_fault_and_a_punch() {
    explore(|| {
        let parts = vec![
            tries(0, [FAR + 130, FAR + 260].map(Op::Private).to_vec()),
            tries(1, [FAR + 300].map(Op::Private).to_vec()),
            punches(FAR + 60..FAR + 200),
        ];
        pieces(&[0, 1], parts);
    });
}

/// Two vCPUs show what they use of one block, and of the next.
#[test]
fn two_vcpus_show_that_they_use_their_memory() {
    explore(|| {
        let parts = vec![
            runs(0, [FAR + 130, FAR + 500].map(Op::Private).to_vec()),
            runs(1, [FAR + 300, FAR + BLOCK + 9].map(Op::Private).to_vec()),
        ];
        pieces(&[0, 1], parts);
    });
}

/// Granules that a realm has after it has touched some, one after the other.
fn touched(world: &World, gfns: &[u64]) -> Vec<u64> {
    let touch = |gfn: &u64| {
        let before = there(FAR..FAR + 2 * BLOCK, false).len();
        assert_eq!(world.run(0, [Op::Private(FAR + gfn)]), [true]);
        (there(FAR..FAR + 2 * BLOCK, false).len() - before) as u64
    };
    gfns.iter().map(touch).collect()
}

/// What a realm gets grows with what it has in the block, and with what it has next to it.
#[test]
fn a_realm_shows_that_it_uses_its_memory() {
    one(adaptive, FAR..FAR + 2 * BLOCK, |world| {
        world.run(0, []);
        assert_eq!(touched(world, &[0, 16, 32, 64]), [16, 16, 32, 64]);
        assert_eq!(touched(world, &[128, 256]), [128, 256]);
        assert_eq!(level(FAR), 3);
        // One after the other: the next block comes at once.
        assert_eq!(touched(world, &[512]), [512]);
        assert_eq!(level(FAR + BLOCK), 2);
    });
    one(adaptive, FAR..FAR + 2 * BLOCK, |world| {
        world.run(0, []);
        assert_eq!(touched(world, &[500, 17, 512]), [16, 32, 16]);
    });
    one(adaptive, FAR..FAR + 2 * BLOCK, |world| {
        world.run(0, []);
        // From the top down.
        assert_eq!(touched(world, &[1023, 1000, 900, 700]), [16, 16, 64, 256]);
        assert_eq!(touched(world, &[800]), [160]);
        assert_eq!(touched(world, &[511]), [512]);
    });
}

/// A VM that was made while less was wanted goes on with that.
#[test]
fn a_vm_stays_as_it_was_made() {
    crate::alone(|| {
        let first = |world: &World| slot(world, SLOT);
        let part = part(|world| {
            always(&machine());
            assert_eq!(world.run(0, private(FAR + 40..FAR + 41)), [true]);
            assert_eq!(there(SLOT, false), (FAR + 32..FAR + 64).collect::<Vec<_>>());
        });
        scenario(&[0], first, vec![part]);
    });
}
