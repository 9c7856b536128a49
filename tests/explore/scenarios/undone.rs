// SPDX-License-Identifier: GPL-2.0

//! What the RMM refuses half way: what was done of it by then is undone, and nothing of it is lost. (That
//! nothing is delegated in the end each scenario looks for itself.)

use super::told::refuse;
use super::*;
use crate::injection::{end, refuse_some, replace_some};
use kvm_arm_rmi::rmi::{Fid, MemState, RangeDesc, Regs, Status};
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::uapi::KvmArmRmiPopulate;

/// How many granules the realm world has, by the host's count.
fn delegated() -> u64 {
    let file = machine()
        .read_file("kvm_arm_rmi/vm-1-", "/granules")
        .unwrap();
    let line = file
        .lines()
        .find_map(|line| line.strip_prefix("delegated: "));
    line.unwrap().parse().unwrap()
}

/// A fault at `gfn`, of which the RMM refuses the `n`th of these commands, is the end of the realm. By then
/// `mapped` was mapped, and the realm world has no more than that.
fn fails(world: &World, gfn: u64, (fid, n): (Fid, u64), mapped: &[u64]) {
    let (mut had, before) = (there(0..GRANULES, false), delegated());
    refuse(fid, n, Status::ErrorInput);
    let result = world.vm.run(0, &mut Guest::new([Op::Private(gfn)]));
    end();
    assert_eq!(result, Ok(Exit::InternalError(0)), "{fid} {n}");
    assert_eq!(delegated(), before + mapped.len() as u64, "{fid} {n}");
    had.extend(mapped);
    assert_eq!(there(0..GRANULES, false), had, "{fid} {n}");
    let dead = world.vm.run(0, &mut Guest::new([Op::Private(gfn)]));
    assert_eq!(dead, Err((EIO, Exit::None)));
}

/// Some pages of the VMM's, all of which are in use.
fn pages_in_use(world: &World) -> impl Fn(u64) -> Range<u64> {
    let page = |n: u64| HVA_FAR + n * GRANULE_SIZE..HVA_FAR + (n + 1) * GRANULE_SIZE;
    for n in 0..32 {
        world.mm.page(page(n).start).unwrap();
    }
    page
}

/// Of four pages one is not next to the others in memory: it takes two commands to delegate them.
#[test]
fn pages_that_cannot_be_delegated() {
    for n in [1, 2] {
        alone(move |world| {
            assert_eq!(world.run(0, private(0..1)), [true]);
            let page = pages_in_use(world);
            for n in [0, 1, 2, 4] {
                world.mm.discard(page(n));
            }
            fails(world, 5, (Fid::GRANULE_RANGE_DELEGATE, n), &[]);
        });
    }
}

/// Of four granules one is shared: it takes two commands to map those on its sides.
#[test]
fn granules_that_are_not_mapped() {
    for (n, mapped) in [(1, &[][..]), (2, &[4, 5])] {
        alone(move |world| {
            world.vm.set_private(6..7, false).unwrap();
            assert_eq!(world.run(0, private(0..1)), [true]);
            fails(world, 5, (Fid::RTT_DATA_MAP, n), mapped);
        });
    }
}

/// A populate of four pages, none of which is next to another in memory.
#[test]
fn pages_that_are_not_populated() {
    alone(|world| {
        world.begin().unwrap();
        world.populate(0..1).unwrap();
        // Every other page is free.
        let page = pages_in_use(world);
        (0..16).for_each(|n| world.mm.discard(page(2 * n)));
        for (fid, n, done) in [
            (Fid::GRANULE_RANGE_DELEGATE, 1, 0),
            (Fid::GRANULE_RANGE_DELEGATE, 4, 0),
            (Fid::RTT_DATA_MAP_INIT, 1, 0),
            (Fid::RTT_DATA_MAP_INIT, 3, 2),
        ] {
            let (gfns, before) = (there(0..GRANULES, false), delegated());
            let mut args = KvmArmRmiPopulate {
                base: 4 * GRANULE_SIZE,
                size: 4 * GRANULE_SIZE,
                source_uaddr: 0x4000_0000,
                flags: 0,
                reserved: 0,
            };
            refuse(fid, n, Status::ErrorInput);
            assert_eq!(world.vm.populate(&mut args), Err(EIO), "{fid} {n}");
            end();
            assert_eq!(args.size, (4 - done) * GRANULE_SIZE, "{fid} {n}");
            assert_eq!(delegated(), before + done, "{fid} {n}");
            let expected: Vec<_> = gfns.into_iter().chain(4..4 + done).collect();
            assert_eq!(there(0..GRANULES, false), expected, "{fid} {n}");
        }
    });
}

/// The RMM maps private memory and says what makes no sense: the realm is dead, and none of it is lost.
#[test]
fn nobody_knows_what_is_mapped() {
    crate::alone(|| {
        let nothing_known = |world: &World| {
            assert_eq!(world.run(0, private(0..1)), [true]);
            crate::injection::replace(|args, rmm| {
                let mut regs = rmm(args);
                if args.x(0) == u64::from(Fid::RTT_DATA_MAP.raw()) {
                    regs.0[1] = args.x(2) + 8;
                }
                regs
            });
            let result = world.vm.run(0, &mut Guest::new([Op::Private(5)]));
            end();
            assert_eq!(result, Ok(Exit::InternalError(0)));
            let told = machine().told("nobody knows what it has of private memory");
            assert_eq!(told, 1);
            // They are noted still: who takes them out finds them.
            let file = machine()
                .read_file("kvm_arm_rmi/vm-1-", "/granules")
                .unwrap();
            assert!(file.contains("mapped_private: 8\n"), "{file}");
            world.gmem.punch(0..8);
            assert_eq!(there(0..GRANULES, false), []);
        };
        scenario(&[0], nothing, vec![part(nothing_known)]);
    });
}

/// The RMM finds its tables in another state than the host does: that may be so for a moment, and a
/// command of another realm's may be in the way as well.
#[test]
fn tables_that_are_not_as_they_should_be() {
    for (status, times, exit) in [
        (Status::ErrorRtt, 1, Exit::None),
        (Status::ErrorRtt, 3, Exit::None),
        (Status::ErrorRtt, 4, Exit::InternalError(0)),
        (Status::Blocked, 4, Exit::None),
        (Status::Blocked, 90, Exit::None),
    ] {
        alone(move |world| {
            assert_eq!(world.run(0, private(0..1)), [true]);
            let before = delegated();
            refuse_some(Fid::RTT_DATA_MAP, (0, times), status);
            let result = world.vm.run(0, &mut Guest::new([Op::Private(5)]));
            end();
            assert_eq!(result, Ok(exit), "{status:?} {times}");
            let mapped = if exit == Exit::None { 4 } else { 0 };
            assert_eq!(delegated(), before + mapped, "{status:?} {times}");
        });
    }
}

/// The RMM says that the realm is off, and it is not: the vCPU tries again, and is not told.
#[test]
fn off_for_a_moment() {
    for (fid, op) in [
        (Fid::RTT_DATA_MAP, Op::Private(5)),
        (Fid::RTT_UNPROT_MAP, Op::Shared(SHARED + 5)),
    ] {
        alone(move |world| {
            assert_eq!(world.run(0, private(0..1)), [true]);
            refuse(fid, 1, Status::ErrorRealm);
            let mut guest = Guest::new([op.clone()]);
            let result = world.vm.run(0, &mut guest);
            end();
            assert_eq!(
                (result, guest.results),
                (Ok(Exit::None), vec![true]),
                "{fid}"
            );
        });
    }
}

/// What the RMM is told of a shared page is that page, and nothing behind it.
#[test]
fn a_shared_page_is_one_granule() {
    alone(|world| {
        let calls = super::told::record(Fid::RTT_UNPROT_MAP);
        assert_eq!(world.run(0, shared(SHARED..SHARED + 1)), [true]);
        end();
        let calls = calls.lock().unwrap();
        assert_eq!(sizes_at(&calls[0]), (1, 1));
    });
}

/// Granules of the range and of the memory that a mapping names.
fn sizes_at(call: &kvm_arm_rmi::rmi::Regs) -> (u64, u64) {
    let (memory, state) = RangeDesc::from_raw(call.x(5)).decode().unwrap();
    assert_eq!(state, MemState::Undelegated);
    ((call.x(3) - call.x(2)) / GRANULE_SIZE, memory.granules())
}

/// One command unmaps shared granules of two tables if they follow each other, and those of one if not.
#[test]
fn shared_pages_of_two_tables() {
    alone(|world| {
        world.vm.add_slot(FAR..FAR + 1024, HVA_FAR, None).unwrap();
        // What the RMM is told first; it may stop at the end of a table.
        let told_first = |touched: [u64; 2]| {
            assert_eq!(
                world.run(0, touched.map(|n| Op::Shared(FAR + n))),
                [true; 2]
            );
            let calls = super::told::record(Fid::RTT_UNPROT_UNMAP);
            world.mm.discard(HVA_FAR..HVA_FAR + 1024 * GRANULE_SIZE);
            end();
            assert_eq!(there(FAR..FAR + 1024, true), []);
            let calls = calls.lock().unwrap();
            let gfn = |ipa: u64| ipa % (1 << 31) / GRANULE_SIZE - FAR;
            gfn(calls[0].x(2))..gfn(calls[0].x(3))
        };
        assert_eq!(told_first([511, 512]), 511..513);
        assert_eq!(told_first([511, 513]), 511..512);
        assert_eq!(told_first([7, 9]), 7..10);
    });
}

/// An operation that has to end first never does: the realm is killed, and the page goes.
#[test]
fn blocked_for_ever() {
    alone(|world| {
        assert_eq!(world.run(0, shared(SHARED..SHARED + 1)), [true]);
        let mut tries = 0;
        replace_some(Fid::RTT_UNPROT_UNMAP, (0, u64::MAX), move |_, _| {
            tries += 1;
            assert!(tries < 20_000, "nobody gives up");
            Regs::new(Status::Blocked.raw().into(), &[])
        });
        world.mm.discard(hvas(SHARED..SHARED + 1));
        end();
        let dead = world.vm.run(0, &mut Guest::new(private(5..6)));
        assert_eq!(dead, Err((EIO, Exit::None)));
    });
}

/// A realm dies once, whatever else goes wrong.
#[test]
fn the_first_reason_is_told() {
    alone(|world| {
        let gfns = [SHARED, SHARED + 5];
        assert_eq!(world.run(0, gfns.map(Op::Shared)), [true; 2]);
        for gfn in gfns {
            refuse(Fid::RTT_UNPROT_UNMAP, 1, Status::ErrorInput);
            world.mm.discard(hvas(gfn..gfn + 1));
            end();
        }
        assert_eq!(machine().told("is dead"), 1);
    });
}

/// The realm faults twice where something is mapped, of which nothing is lost: it may go on.
#[test]
fn a_fault_that_comes_again() {
    alone(|world| {
        assert_eq!(world.run(0, private(0..1)), [true]);
        // The exit is in the run page still.
        refuse_some(Fid::REC_ENTER, (1, 1), Status::Success);
        let mut guest = Guest::new(private(5..6));
        let result = world.vm.run(0, &mut guest);
        end();
        assert_eq!((result, guest.results), (Ok(Exit::None), vec![true]));
    });
}

/// The file gives up a page that populate has got, and has had delegated: it is not mapped, nor lost.
#[test]
fn a_page_that_goes_while_it_is_populated() {
    alone(|world| {
        world.begin().unwrap();
        let gmem = world.gmem.clone();
        replace_some(Fid::GRANULE_RANGE_DELEGATE, (0, 1), move |args, rmm| {
            let result = rmm(args);
            gmem.punch(2..3);
            result
        });
        world.populate(0..4).unwrap();
        end();
        assert_eq!(there(0..GRANULES, false), [0, 1, 2, 3]);
    });
}
