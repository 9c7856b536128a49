// SPDX-License-Identifier: GPL-2.0

//! What the RMM is told, what user space is, and what is done about what the RMM refuses: alone, to the
//! call.

use super::*;
use crate::firmware::level;
use crate::injection::{end, refuse_some, replace};
use kvm_arm_rmi::rmi::{Fid, Regs, Status, GRANULE_SIZE};
use kvm_arm_rmi::sys::prelude::{EIO, ENOEXEC, EPERM};
use kvm_arm_rmi::sys::slots::NewSlot;
use kvm_arm_rmi::sys::user::OneReg;
use kvm_arm_rmi::sys::vcpu::Lacks;
use kvm_arm_rmi::uapi::{KvmArmRmiPopulate, KVM_ARM_RMI_POPULATE_FLAGS_MEASURE};
use std::sync::{Arc, Mutex};

/// Calls of a command from now on, as they are made.
pub(crate) fn record(fid: Fid) -> Arc<Mutex<Vec<Regs>>> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let told = calls.clone();
    replace(move |args, rmm| {
        if args.x(0) == u64::from(fid.raw()) {
            told.lock().unwrap().push(*args);
        }
        rmm(args)
    });
    calls
}

/// The `n`th call of a command from now on is refused.
pub(crate) fn refuse(fid: Fid, n: u64, status: Status) {
    refuse_some(fid, (n - 1, 1), status);
}

/// Granules of each call that names a range.
pub(crate) fn sizes(calls: &[Regs]) -> Vec<u64> {
    calls
        .iter()
        .map(|c| (c.x(2) - c.x(1)) / GRANULE_SIZE)
        .collect()
}

/// All calls from now on.
pub(crate) fn record_all() -> Arc<Mutex<Vec<Regs>>> {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let told = calls.clone();
    replace(move |args, rmm| {
        told.lock().unwrap().push(*args);
        rmm(args)
    });
    calls
}

/// How many of them are of a command.
pub(crate) fn count(calls: &Mutex<Vec<Regs>>, fid: Fid) -> usize {
    let calls = calls.lock().unwrap();
    calls
        .iter()
        .filter(|call| call.x(0) == u64::from(fid.raw()))
        .count()
}

/// The contents are measured where user space wants them to be, and nowhere else.
#[test]
fn what_is_measured() {
    alone(|world| {
        let calls = record(Fid::RTT_DATA_MAP_INIT);
        for (gfn, flags) in [(1, KVM_ARM_RMI_POPULATE_FLAGS_MEASURE), (2, 0)] {
            let mut args = KvmArmRmiPopulate {
                base: gfn * GRANULE_SIZE,
                size: GRANULE_SIZE,
                source_uaddr: 0x4000_0000,
                flags,
                reserved: 0,
            };
            world.vm.populate(&mut args).unwrap();
        }
        end();
        let source = world.mm.page(0x4000_0000).unwrap();
        let calls: Vec<_> = calls
            .lock()
            .unwrap()
            .iter()
            .map(|c| (c.x(3), c.x(4), c.x(5)))
            .collect();
        assert_eq!(calls, [(0x1000, source, 1), (0x2000, source, 0)]);
    });
}

/// What may only be read is mapped so; when it may be written that replaces it.
#[test]
fn what_may_only_be_read() {
    alone(|world| {
        let page = hvas(SHARED..SHARED + 1).start;
        world.mm.protect(page, false);
        assert_eq!(world.run(0, [Op::Load(SHARED)]), [true]);
        assert_eq!(there(0..GRANULES, true), [SHARED]);
        let result = world.vm.run(0, &mut Guest::new([Op::Shared(SHARED)]));
        assert_eq!(result, Err((EFAULT, Exit::None)));
        world.mm.protect(page, true);
        assert_eq!(
            world.run(0, [Op::Shared(SHARED), Op::Load(SHARED)]),
            [true; 2]
        );
        world.mm.protect(page, false);
        assert_eq!(there(0..GRANULES, true), []);
    });
}

/// What the RMM refuses for no reason that passes ends the realm, and what was got for it goes back.
#[test]
fn a_page_that_the_rmm_does_not_map() {
    alone(|world| {
        assert_eq!(world.run(0, private(0..1)), [true]);
        refuse(Fid::RTT_DATA_MAP, 1, Status::ErrorInput);
        let result = world.vm.run(0, &mut Guest::new(private(9..10)));
        // RMI_EXIT_SYNC.
        assert_eq!(result, Ok(Exit::InternalError(0)));
        end();
        assert_eq!(there(0..GRANULES, false), [0, 1, 2, 3]);
        let result = world.vm.run(0, &mut Guest::new(private(9..10)));
        assert_eq!(result, Err((EIO, Exit::None)));
    });
}

/// A table that the RMM does not fold stays, and the others are folded all the same.
#[test]
fn a_table_that_the_rmm_does_not_fold() {
    alone(|world| {
        private_slot(world, FAR..FAR + 3 * 512);
        let tables = [FAR, FAR + 512, FAR + 1024];
        for table in tables {
            assert_eq!(world.run(0, [Op::Private(table + 3)]), [true]);
        }
        refuse(Fid::RTT_FOLD, 2, Status::ErrorInput);
        let all = FAR..FAR + 3 * 512;
        assert_eq!(world.run(0, [ripas(all.clone(), false, true)]), [true]);
        end();
        assert_eq!(tables.map(level), [2, 3, 2]);
        assert_eq!(world.run(0, [ripas(all, true, true)]), [true]);
        assert_eq!(
            world.run(0, tables.map(|table| Op::Private(table + 9))),
            [true; 3]
        );
    });
}

/// Makes the realm; returns what the RMM is told of it.
pub(crate) fn made(world: &World) -> [u64; 512] {
    let pages = Arc::new(Mutex::new(Vec::new()));
    let told = pages.clone();
    replace(move |args, rmm| {
        if args.x(0) == u64::from(Fid::REALM_CREATE.raw()) {
            let page = crate::firmware::machine().fake().data(args.x(2));
            told.lock().unwrap().push(page);
        }
        rmm(args)
    });
    world.begin().unwrap();
    end();
    let pages = pages.lock().unwrap();
    assert_eq!(pages.len(), 1);
    pages[0]
}

/// What the RMM is told of a realm.
#[test]
fn what_a_realm_is_made_with() {
    alone(|world| {
        let page = made(world);
        // Neither LPA2, SVE nor a PMU; an IPA space of 32 bits; SHA-256.
        assert_eq!((page[0], page[1], page[2], page[5]), (0, 32, 0, 0));
        assert_eq!(page[6], 0);
        assert_eq!(page[0x400 / 8..0x440 / 8], [0; 8]);
        // Four starting tables at level 2, of one GiB each.
        assert_eq!((page[0x810 / 8], page[0x818 / 8]), (2, 4));
    });
}

fn reg(n: u64) -> u64 {
    0x6030_0000_0010_0000 + n
}

/// Which registers user space may set, and until when.
#[test]
fn registers() {
    const DFR0: u64 = 0x6030_0000_0013_c028;
    const SVE_VLS: u64 = 0x6060_0000_0015_ffff;
    // What is written to counters has no effect, and never did.
    const COUNTERS: [u64; 2] = [0x6030_0000_0013_df1a, 0x6030_0000_0013_df01];
    alone(|world| {
        let set = |id, value| {
            let words = [value, 0, 0, 0, 0, 0, 0, 0];
            world.vm.may_set_reg(0, &OneReg { id, words })
        };
        world.vm.init_sve(0, 4);
        let last = world.vm.listed_reg(0, 33);
        assert_eq!((last, world.vm.listed_reg(0, 34)), (Some(SVE_VLS), None));
        // Vectors of 1, 2 and 4 quadwords.
        assert_eq!(
            (set(SVE_VLS, 0b1011), set(SVE_VLS, 0b1111)),
            (Ok(true), Ok(false))
        );
        world.vm.init_sve(0, 0);
        let listed: Vec<_> = (0..40).map_while(|n| world.vm.listed_reg(0, n)).collect();
        let mut expected: Vec<_> = (0..=30).map(|n| reg(2 * n)).collect();
        expected.extend([PC, DFR0]);
        assert_eq!(listed, expected);
        let any = || {
            for id in (0..=30).map(|n| reg(2 * n)) {
                assert_eq!(set(id, 7), Ok(false), "{id:#x}");
            }
            // Halves, sp, pstate, what is another size or nothing at all.
            for id in [
                reg(1),
                reg(61),
                reg(62),
                reg(66),
                reg(0) & !(1 << 52),
                DFR0 + 1,
                0,
            ] {
                assert_eq!(set(id, 0), Err(EINVAL), "{id:#x}");
            }
            assert_eq!(COUNTERS.map(|id| set(id, 7)), [Ok(true), Ok(true)]);
            assert_eq!(set(SVE_VLS, 1), Ok(false));
            assert_eq!(set(PC, 0), Ok(true));
        };
        any();
        assert_eq!(set(PC, 8), Ok(false));
        assert_eq!(set(DFR0, 1 << 60), Ok(false));
        world.begin().unwrap();
        any();
        assert_eq!(set(PC, 8), Ok(false));
        assert_eq!(set(DFR0, 1 << 60), Err(EBUSY));
        assert!(world.run(0, []).is_empty());
        any();
        assert_eq!(set(PC, 8), Err(EBUSY));
    });
}

/// Slots lie in the lower half of the IPA space, and none of them is for reading alone.
#[test]
fn slots_that_cannot_be() {
    alone(|world| {
        let half = 1 << (31 - 12);
        let check = |first, granules, read_only, gmem_only| {
            world.vm.check_slot(&NewSlot {
                first,
                granules,
                read_only,
                gmem_only,
            })
        };
        assert_eq!(check(half - 4, 4, false, false), Ok(()));
        assert_eq!(check(half - 4, 5, false, false), Err(EFAULT));
        assert_eq!(check(half, 1, false, false), Err(EFAULT));
        assert_eq!(check(u64::MAX, 2, false, false), Err(EFAULT));
        assert_eq!(check(0, 1, true, false), Err(EINVAL));
        assert_eq!(check(0, 1, false, true), Err(EINVAL));
    });
}

/// An RMM without SVE makes no realm of vCPUs that have it, at no time.
#[test]
fn vectors_that_the_rmm_does_not_have() {
    alone(|world| {
        for vq in [1, 4] {
            world.vm.init_sve(0, vq);
            assert_eq!(world.begin(), Err(EINVAL));
        }
        world.vm.init_sve(0, 0);
        world.begin().unwrap();
        world.vm.init_sve(0, 4);
        let result = world.vm.run(0, &mut Guest::new([]));
        assert_eq!(result, Err((EINVAL, Exit::None)));
        world.vm.init_sve(0, 0);
        assert!(world.run(0, []).is_empty());
    });
}

/// What the RMM finds in the place of shared memory goes, and the vCPU does not see that; another refusal
/// is the realm's end.
#[test]
fn shared_memory_that_the_rmm_does_not_map() {
    alone(|world| {
        refuse(Fid::RTT_UNPROT_MAP, 1, Status::ErrorRtt);
        let result = world.vm.run(0, &mut Guest::new(shared(SHARED..SHARED + 1)));
        assert_eq!(result, Ok(Exit::None));
        refuse(Fid::RTT_UNPROT_MAP, 1, Status::ErrorRec);
        let result = world
            .vm
            .run(0, &mut Guest::new(shared(SHARED + 1..SHARED + 2)));
        assert_eq!(result, Err((EIO, Exit::None)));
        end();
        assert_eq!(there(0..GRANULES, true), [SHARED]);
        let dead = world.vm.run(0, &mut Guest::new(private(0..1)));
        assert_eq!(dead, Err((EIO, Exit::None)));
        let log = kvm_arm_rmi::sys::machine::machine().lines();
        assert!(log.iter().any(|line| line.contains("is dead")), "{log:?}");
    });
}

/// A page that the RMM does not take stays as it was, and those before it are populated.
#[test]
fn a_page_that_is_not_populated() {
    alone(|world| {
        let calls = record(Fid::GRANULE_RANGE_DELEGATE);
        world.begin().unwrap();
        let before = calls.lock().unwrap().len();
        world.populate(0..4).unwrap();
        let calls = calls.lock().unwrap();
        // The tables, and all pages at once: they are next to each other.
        assert_eq!(sizes(&calls[before..]), [1, 4]);
        refuse(Fid::RTT_DATA_MAP_INIT, 2, Status::ErrorInput);
        let mut args = KvmArmRmiPopulate {
            base: 4 * GRANULE_SIZE,
            size: 4 * GRANULE_SIZE,
            source_uaddr: 0x4000_0000,
            flags: 0,
            reserved: 0,
        };
        assert_eq!(world.vm.populate(&mut args), Err(EIO));
        assert_eq!((args.base, args.size), (5 * GRANULE_SIZE, 3 * GRANULE_SIZE));
        end();
        assert_eq!(there(0..GRANULES, false), [0, 1, 2, 3, 4]);
        world.vm.populate(&mut args).unwrap();
        assert_eq!(there(0..GRANULES, false), (0..8).collect::<Vec<_>>());
    });
}

/// User space is asked for what lies before a slot, and no more than that.
#[test]
fn a_change_that_begins_before_a_slot() {
    alone(|world| {
        private_slot(world, FAR..FAR + 8);
        let gap = Exit::MemoryFault {
            gpa: (FAR - 16) * GRANULE_SIZE,
            size: 16 * GRANULE_SIZE,
            private: true,
        };
        let mut guest = Guest::new([ripas(FAR - 16..FAR + 8, true, true)]);
        let result = world.vm.run(0, &mut guest);
        assert_eq!(result, Err((EFAULT, gap)));
        // Nothing is there: the rest is refused.
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [false]);
        let mut guest = Guest::new([ripas(FAR..FAR + 20, false, true)]);
        let shared = Exit::MemoryFault {
            gpa: FAR * GRANULE_SIZE,
            size: 8 * GRANULE_SIZE,
            private: false,
        };
        assert_eq!(world.vm.run(0, &mut guest), Err((EFAULT, shared)));
        world.vm.set_private(FAR..FAR + 3, false).unwrap();
        let rest = Exit::MemoryFault {
            gpa: (FAR + 3) * GRANULE_SIZE,
            size: 5 * GRANULE_SIZE,
            private: false,
        };
        assert_eq!(world.vm.run(0, &mut guest), Err((EFAULT, rest)));
        world.vm.set_private(FAR + 3..FAR + 8, false).unwrap();
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [true]);
    });
}

/// The realm's descriptor and its starting tables need not be next to each other.
#[test]
fn a_realm_in_two_pieces() {
    for pages in 0..5 {
        alone(move |world| {
            for n in 0..pages {
                world.mm.page(HVA_FAR + n * GRANULE_SIZE).unwrap();
            }
            assert_eq!(world.run(0, private(0..1)), [true]);
        });
    }
}

/// An operation of another realm's that goes on while memory is taken away: it is waited for where
/// others can have `mmu_lock`.
#[test]
fn who_waits_for_an_operation_lets_others_pass() {
    explore(|| {
        let first = |world: &World| {
            after(shared(SHARED..SHARED + 1))(world);
            crate::injection::block(1);
        };
        let parts = vec![
            discards(SHARED..SHARED + 1),
            part(|world| {
                world.vm.set_private(40..41, true).unwrap();
                crate::injection::block(0);
            }),
        ];
        let last = |world: &World| assert_eq!(world.run(0, shared(SHARED..SHARED + 1)), [true]);
        scenario_with(&[0], first, parts, last);
    });
}

/// As often as it is waited for one operation it is waited for the next.
#[test]
fn operations_are_waited_for_one_by_one() {
    alone(|world| {
        world.vm.add_slot(FAR..FAR + 1024, HVA_FAR, None).unwrap();
        let both = vec![Op::Shared(FAR), Op::Shared(FAR + 512)];
        assert_eq!(world.run(0, both), [true; 2]);
        let mut number = 0;
        replace(move |args, rmm| {
            number += u64::from(args.x(0) == u64::from(Fid::RTT_UNPROT_UNMAP.raw()));
            match args.x(0) == u64::from(Fid::RTT_UNPROT_UNMAP.raw()) && number % 900 != 0 {
                true => Regs::new(Status::Blocked.raw().into(), &[]),
                false => rmm(args),
            }
        });
        world.mm.discard(HVA_FAR..HVA_FAR + 1024 * GRANULE_SIZE);
        end();
        assert_eq!(there(FAR..FAR + 1024, true), []);
        assert_eq!(world.run(0, [Op::Shared(FAR)]), [true]);
    });
}

/// A first run that has failed half way goes on from there: a REC is made once.
#[test]
fn a_first_run_that_is_repeated() {
    alone(|world| {
        refuse(Fid::RTT_INIT_RIPAS, 1, Status::ErrorRec);
        let failed = world.vm.run(0, &mut Guest::new([]));
        assert_eq!(failed, Err((EIO, Exit::None)));
        let calls = record_all();
        assert_eq!(world.run(0, private(0..1)), [true]);
        end();
        let commands = [Fid::REALM_CREATE, Fid::REC_CREATE, Fid::REALM_ACTIVATE];
        assert_eq!(commands.map(|fid| count(&calls, fid)), [0, 0, 1]);
    });
}

/// vCPUs that cannot be RECs yet, or never.
#[test]
fn vcpus_that_are_not_ready() {
    alone(|world| {
        let lacks = [
            (Lacks::Init, ENOEXEC),
            (Lacks::Finalize, EPERM),
            (Lacks::Psci, EINVAL),
        ];
        for (what, error) in lacks {
            world.vm.init(0, Some(what));
            let result = world.vm.run(0, &mut Guest::new([]));
            assert_eq!(result, Err((error, Exit::None)));
        }
        world.vm.init(0, None);
        assert_eq!(world.run(0, private(0..1)), [true]);
    });
}

/// The RMM says that the realm is off, and nobody has turned it off.
#[test]
fn off_for_no_reason() {
    alone(|world| {
        assert_eq!(world.run(0, private(0..1)), [true]);
        refuse(Fid::REC_ENTER, 1, Status::ErrorRealm);
        let result = world.vm.run(0, &mut Guest::new(private(0..1)));
        end();
        let off = u64::from(Status::ErrorRealm.raw());
        assert_eq!(result, Ok(Exit::InternalError(off)));
        let dead = world.vm.run(0, &mut Guest::new(private(0..1)));
        assert_eq!(dead, Err((EIO, Exit::None)));
        assert_eq!(kvm_arm_rmi::sys::machine::machine().told("is dead"), 1);
    });
}

/// What is shared is mapped by one command.
#[test]
fn one_command_for_a_shared_page() {
    alone(|world| {
        assert_eq!(world.run(0, shared(SHARED..SHARED + 1)), [true]);
        let calls = record_all();
        assert_eq!(world.run(0, shared(SHARED + 1..SHARED + 2)), [true]);
        let commands = [
            Fid::RTT_UNPROT_MAP,
            Fid::RTT_UNPROT_UNMAP,
            Fid::RTT_READ_ENTRY,
        ];
        assert_eq!(commands.map(|fid| count(&calls, fid)), [1, 0, 0]);
        end();
    });
}
