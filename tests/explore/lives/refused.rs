// SPDX-License-Identifier: GPL-2.0

//! The last commands of a life are refused: the realm's memory goes all the same, or is counted as leaked,
//! and the log says so.

use super::*;
use crate::injection::end;
use crate::scenarios::there;
use crate::world::GRANULES;
use kvm_arm_rmi::sys::machine::machine;

/// How often the log has that.
fn refuse(fid: Fid, times: u64) {
    refuse_some(fid, (0, times), Status::ErrorRealm);
}

/// Of a realm that could run still nothing stays mapped.
#[test]
fn a_realm_that_is_not_terminated() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        run(
            &world,
            0,
            [private(0..4), shared(SHARED..SHARED + 4)].concat(),
        )
        .unwrap();
        refuse(Fid::REALM_TERMINATE, 1);
        world.vm.flush();
        end();
        assert_eq!(there(0..GRANULES, true), []);
        assert_eq!(there(0..GRANULES, false), []);
        assert_eq!(machine().told("cannot be terminated"), 1);
        world.end();
        host.outcome(Ok(()))
    });
    // It is tried again when the VM goes.
    life.assert_idle("terminated at the second try");
}

/// What is shared with a realm that has ended is left to the RMM.
#[test]
fn a_realm_that_is_terminated() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        run(&world, 0, shared(SHARED..SHARED + 4)).unwrap();
        refuse(Fid::RTT_UNPROT_UNMAP, u64::MAX);
        world.end();
        end();
        host.outcome(Ok(()))
    });
    life.assert_idle("terminated");
    assert_eq!(life.failed(), []);
}

/// Memory that the realm world keeps.
#[test]
fn what_is_lost_is_in_the_log() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        run(&world, 0, private(0..4)).unwrap();
        refuse(Fid::GRANULE_RANGE_UNDELEGATE, 1);
        world.gmem.punch(0..1);
        end();
        assert_eq!(machine().told("memory is lost to the realm world"), 1);
        // Its file would offer the page again.
        assert_eq!(machine().told("is dead: the RMM keeps a page"), 1);
        assert_eq!(run(&world, 0, private(1..2)), Err(Why::Errno(EIO)));
        world.end();
        host.outcome(Ok(()))
    });
    assert_eq!(life.counts, (1, 1));
}

/// A REC and a realm that the RMM does not destroy.
#[test]
fn what_is_not_destroyed() {
    for (fid, said, leaked) in [
        // With its 16 granules; and then the realm, with its starting table.
        (Fid::REC_DESTROY, "a REC cannot be destroyed", 1 + 16 + 2),
        (Fid::REALM_DESTROY, "a realm cannot be destroyed", 2),
        // The table, the one above it, and the realm.
        (Fid::RTT_DESTROY, "memory is lost to the realm world", 4),
    ] {
        let life = on_host(Dialect::Main, move |host| {
            let world = host.vm().unwrap();
            run(&world, 0, private(0..4)).unwrap();
            refuse(fid, 1);
            world.end();
            end();
            assert_eq!(machine().told(said), 1, "{fid}");
            host.outcome(Ok(()))
        });
        life.assert_accounted(said);
        assert_eq!(life.counts.1, leaked, "{fid}");
    }
}

/// The RMM populates a granule and says what nobody understands: the realm is dead, its page does not go
/// back to anybody before the realm has ended, and everything else comes back.
#[test]
fn nobody_knows_what_is_populated() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        world.populate(0..1).unwrap();
        replace_some(Fid::RTT_DATA_MAP_INIT, (0, 1), |args, rmm| {
            assert_eq!(rmm(args).x(0), 0);
            Regs::new(0x30d, &[])
        });
        assert_eq!(world.populate(1..2), Err(EIO));
        end();
        assert_eq!(
            machine().told("nobody knows what it has of private memory"),
            1
        );
        assert_eq!(world.populate(2..3), Err(EIO));
        assert_eq!(there(0..GRANULES, false), [0, 1]);
        world.end();
        host.outcome(Ok(()))
    });
    assert_eq!((life.counts, life.pages, life.realm), ((0, 1), 0, 0));
}

/// The same in the middle of several, of which those before it and the one itself are noted, and no more.
#[test]
fn nobody_knows_what_is_populated_among_others() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        replace_some(Fid::RTT_DATA_MAP_INIT, (2, 1), |args, rmm| {
            assert_eq!(rmm(args).x(0), 0);
            Regs::new(0x30d, &[])
        });
        assert_eq!(world.populate(0..8), Err(EIO));
        end();
        assert_eq!(there(0..GRANULES, false), [0, 1, 2]);
        let granules = machine().read_file("kvm_arm_rmi/vm-", "/granules").unwrap();
        assert!(granules.contains("mapped_private: 3\n"), "{granules}");
        world.end();
        host.outcome(Ok(()))
    });
    assert_eq!((life.counts, life.pages, life.realm), ((0, 1), 0, 0));
}

/// What cannot be unmapped is tried once, and the realm never runs again; it is unmapped at its end.
#[test]
fn private_memory_that_is_not_unmapped() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        run(&world, 0, private(0..4)).unwrap();
        let mut tries = 0;
        replace_some(Fid::RTT_DATA_UNMAP, (0, u64::MAX), move |_, _| {
            tries += 1;
            assert!(tries < 100, "nobody gives up");
            Regs::new(Status::ErrorInput.raw().into(), &[])
        });
        world.gmem.punch(0..4);
        end();
        assert_eq!(machine().told("cannot be parted from private memory"), 1);
        world.end();
        host.outcome(Ok(()))
    });
    life.assert_idle("not unmapped");
}

/// The RMM unmaps pages and does not say which all of them are: nobody gets any that the file has, not even
/// when it is closed.
#[test]
fn private_memory_that_is_not_listed() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        run(&world, 0, private(0..4)).unwrap();
        replace_some(Fid::RTT_DATA_UNMAP, (0, 1), |args, rmm| {
            let mut regs = rmm(args);
            regs.0[3] = 0;
            regs
        });
        world.gmem.punch(0..4);
        end();
        assert_eq!(machine().told("4 granules have not come back"), 1);
        assert_eq!((0..4).filter(|n| world.gmem.page(*n).is_some()).count(), 4);
        world.end();
        host.outcome(Ok(()))
    });
    assert_eq!((life.counts, life.pages, life.realm), ((4, 4), 4, 4));
}

/// The RMM keeps a page of several that come back at once: it is lost, and the realm; the others are not.
#[test]
fn a_page_that_is_kept_among_others() {
    for place in 0..4 {
        let life = on_host(Dialect::Main, move |host| {
            let world = host.vm().unwrap();
            run(&world, 0, private(0..4)).unwrap();
            let kept = world.gmem.page(place).unwrap();
            replace(move |args, rmm| {
                let undelegates = args.x(0) == u64::from(Fid::GRANULE_RANGE_UNDELEGATE.raw());
                match args.x(1) {
                    base if undelegates && base == kept => {
                        Regs::new(Status::ErrorInput.raw().into(), &[])
                    }
                    base if undelegates && base < kept => {
                        let mut part = *args;
                        part.0[2] = args.x(2).min(kept);
                        rmm(&part)
                    }
                    _ => rmm(args),
                }
            });
            world.gmem.punch(0..4);
            end();
            assert_eq!(machine().told("the RMM keeps a page"), 1, "{place}");
            assert_eq!(host.counts().1, 1, "{place}");
            world.end();
            host.outcome(Ok(()))
        });
        life.assert_accounted("kept");
        assert_eq!(life.counts, (1, 1), "{place}");
    }
}

/// A page goes while it is populated, and the RMM keeps another of those that were got for that: it is
/// lost, and so is the realm.
#[test]
fn a_page_that_is_kept_while_others_are_populated() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        world.begin().unwrap();
        let (gmem, mut kept) = (world.gmem.clone(), false);
        let mut gone = false;
        replace(move |args, rmm| {
            let is = |fid: Fid| args.x(0) == u64::from(fid.raw());
            if is(Fid::GRANULE_RANGE_UNDELEGATE) && !std::mem::replace(&mut kept, true) {
                return Regs::new(Status::ErrorInput.raw().into(), &[]);
            }
            let results = rmm(args);
            if is(Fid::GRANULE_RANGE_DELEGATE) && !std::mem::replace(&mut gone, true) {
                gmem.punch(2..3);
            }
            results
        });
        assert_eq!(world.populate(0..4), Err(EIO));
        end();
        assert_eq!(machine().told("the RMM keeps a page"), 1);
        assert_eq!(host.counts().1, 1);
        world.end();
        host.outcome(Ok(()))
    });
    life.assert_accounted("kept");
    assert_eq!(life.counts, (1, 1));
}

/// The RMM does not part from private memory when the process ends: its file is closed after that, and
/// nobody gets what the RMM has still.
#[test]
fn private_memory_that_is_not_unmapped_at_the_end() {
    let life = on_host(Dialect::Main, |host| {
        let world = host.vm().unwrap();
        run(&world, 0, private(0..4)).unwrap();
        refuse(Fid::RTT_DATA_UNMAP, u64::MAX);
        world.end();
        end();
        host.outcome(Ok(()))
    });
    life.assert_accounted("kept at the end");
    // The pages, two tables, the starting table and the RD.
    assert_eq!(life.counts, (8, 8));
}

/// An RMM that serves nothing any more is waited for once, not once for each table: the end of a process
/// cannot be killed.
#[test]
fn an_end_that_the_rmm_does_not_serve() {
    const TABLES: u64 = 4;
    let all = ALONE..ALONE + 512 * TABLES;
    for status in [Status::Blocked, Status::Busy] {
        let all = all.clone();
        let life = on_host(Dialect::Main, move |host| {
            let world = host.vm().unwrap();
            let alone = Gmem::new();
            world
                .vm
                .add_slot(all.clone(), 0x5000_0000, Some((&alone, 0)))
                .unwrap();
            world.vm.set_private(all.clone(), true).unwrap();
            for first in all.step_by(512) {
                run(&world, 0, private(first..first + 1)).unwrap();
            }
            let made = || host.outcome(Ok(())).calls(Fid::RTT_DATA_UNMAP);
            let (sleeps, before) = (machine().sleeps(), made());
            refuse_some(Fid::RTT_DATA_UNMAP, (0, u64::MAX), status);
            world.vm.flush();
            let slept = machine().sleeps() - sleeps;
            let made = made() - before;
            match status {
                Status::Blocked => assert_eq!((slept, made), (999, 999 + TABLES)),
                _ => assert_eq!((slept, made), (0, 10_000 + 100 * (TABLES - 1))),
            }
            // It is served again, and so all of it comes back.
            end();
            world.end();
            host.outcome(Ok(()))
        });
        life.assert_idle(&format!("{status:?}"));
    }
}
