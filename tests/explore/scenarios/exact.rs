// SPDX-License-Identifier: GPL-2.0

//! What a vCPU leaves behind when nothing else happens, to the granule.

use super::*;
use crate::firmware::level;
use crate::injection::{end, replace};
use crate::world::{hvas, mapped};
use kvm_arm_rmi::rmi::{Fid, Regs, Status, GRANULE_SIZE};
use kvm_arm_rmi::sys::gmem::Gmem;
use kvm_arm_rmi::sys::prelude::{EEXIST, EIO};
use kvm_arm_rmi::sys::slots::NewSlot;
use kvm_arm_rmi::sys::user::OneReg;
use kvm_arm_rmi::uapi::{KvmArmRmiPopulate, KVM_ARM_RMI_POPULATE_FLAGS_MEASURE};
use std::sync::{Arc, Mutex};

/// Does something with a VM that has one vCPU.
fn alone(test: impl Fn(&World) + Send + Sync + Clone + 'static) {
    crate::alone(move || {
        scenario(&[0], nothing, vec![part(test.clone())]);
    });
}

/// Which of these the realm has, in its private half or in the shared one.
fn there(gfns: Range<u64>, shared: bool) -> Vec<u64> {
    gfns.filter(|gfn| mapped(*gfn, shared).is_some()).collect()
}

/// A slot with a file, all of it private.
fn private_slot(world: &World, gfns: Range<u64>) {
    let file = Gmem::new();
    world
        .vm
        .add_slot(gfns.clone(), HVA_FAR, Some((&file, 0)))
        .unwrap();
    world.vm.set_private(gfns, true).unwrap();
}

/// What asks for memory, and which.
fn asks(world: &World, op: Op) -> Exit {
    let result = world.vm.run(0, &mut Guest::new([op]));
    let (error, exit) = result.expect_err("user space has something to do");
    assert_eq!(error, EFAULT);
    exit
}

/// Four granules are mapped around a fault; those that are private and in the slot.
#[test]
fn a_private_fault_brings_its_neighbours() {
    alone(|world| {
        world.vm.set_private(6..7, false).unwrap();
        assert_eq!(world.run(0, private(5..6)), [true]);
        assert_eq!(there(0..GRANULES, false), [4, 5, 7]);
        assert_eq!(world.run(0, private(13..14)), [true]);
        assert_eq!(there(0..GRANULES, false), [4, 5, 7, 12, 13, 14, 15]);
        assert_eq!(world.run(0, private(SHARED - 1..SHARED)), [true]);
        let last = there(16..GRANULES, false);
        assert_eq!(last, [SHARED - 4, SHARED - 3, SHARED - 2, SHARED - 1]);
        assert_eq!(there(0..GRANULES, true), []);
    });
}

#[test]
fn what_was_taken_comes_back_alone() {
    alone(|world| {
        assert_eq!(world.run(0, private(5..6)), [true]);
        world.gmem.punch(6..8);
        assert_eq!(there(0..GRANULES, false), [4, 5]);
        assert_eq!(world.gmem.page(4), mapped(4, false));
        assert_eq!((world.gmem.page(6), world.gmem.page(7)), (None, None));
    });
}

#[test]
fn private_memory_is_asked_for_where_there_is_none() {
    alone(|world| {
        let fault = |gfn: u64, private| Exit::MemoryFault {
            gpa: gfn * GRANULE_SIZE,
            size: GRANULE_SIZE,
            private,
        };
        assert_eq!(
            asks(world, Op::Private(SHARED + 3)),
            fault(SHARED + 3, true)
        );
        // What was in no slot when the realm began is EMPTY: the realm is told.
        assert_eq!(world.run(0, [Op::Private(FAR)]), [false]);
        assert_eq!(asks(world, Op::Shared(3)), fault(3, false));
        assert_eq!(there(0..GRANULES, false), []);
        assert_eq!(there(0..GRANULES, true), []);
        // What has no private memory is shared, whatever is said of it.
        world.vm.add_slot(FAR..FAR + 4, HVA_FAR, None).unwrap();
        world.vm.set_private(FAR..FAR + 4, true).unwrap();
        let result = world.vm.run(0, &mut Guest::new(shared(FAR + 1..FAR + 2)));
        assert_eq!(result, Ok(Exit::None));
        assert_eq!(there(FAR..FAR + 4, true), [FAR + 1]);
    });
}

/// A huge page of the host's is one block, with which the realm gets all of it; it goes as a whole.
#[test]
fn a_huge_page_is_a_block() {
    alone(|world| {
        world.vm.add_slot(FAR..FAR + 1024, HVA_FAR, None).unwrap();
        world.mm.collapse(HVA_FAR);
        let base = world.mm.huge(HVA_FAR).expect("there is memory").1;
        assert_eq!(world.run(0, shared(FAR + 7..FAR + 8)), [true]);
        for gfn in FAR..FAR + 512 {
            let pa = base + (gfn - FAR) * GRANULE_SIZE;
            assert_eq!(mapped(gfn, true), Some(pa), "{gfn:#x}");
        }
        assert_eq!(there(FAR + 512..FAR + 1024, true), []);
        let page = HVA_FAR + 9 * GRANULE_SIZE;
        world.mm.discard(page..page + GRANULE_SIZE);
        assert_eq!(there(FAR..FAR + 512, true), []);
        assert_eq!(world.run(0, shared(FAR + 7..FAR + 8)), [true]);
        assert_eq!(there(FAR..FAR + 512, true), [FAR + 7]);
    });
}

/// Where parts of a huge page are private a fault maps all that is shared around it.
#[test]
fn a_huge_page_with_holes() {
    alone(|world| {
        private_slot(world, FAR..FAR + 512);
        let vm = &world.vm;
        vm.set_private(FAR..FAR + 512, false).unwrap();
        vm.set_private(FAR + 8..FAR + 13, true).unwrap();
        vm.set_private(FAR + 500..FAR + 501, true).unwrap();
        let holes = [
            (3, 0..8),
            (7, 0..8),
            (13, 13..500),
            (77, 13..500),
            (511, 501..512),
        ];
        for (touched, gfns) in holes {
            world.mm.collapse(HVA_FAR);
            let base = world.mm.huge(HVA_FAR).expect("there is memory").1;
            assert_eq!(world.run(0, [Op::Shared(FAR + touched)]), [true]);
            for gfn in 0..512 {
                let expected = gfns.contains(&gfn).then_some(base + gfn * GRANULE_SIZE);
                assert_eq!(mapped(FAR + gfn, true), expected, "{touched}, {gfn}");
            }
            world.mm.discard(HVA_FAR..HVA_FAR + 512 * GRANULE_SIZE);
            assert_eq!(there(FAR..FAR + 512, true), []);
        }
    });
}

/// Tables in which nothing is left are folded when the realm has made them EMPTY: those that lie in
/// the range as a whole. More of them than are kept for later.
#[test]
fn empty_tables_are_folded() {
    const TABLES: u64 = 12;
    alone(|world| {
        let table = |n: u64| FAR + n * 512;
        private_slot(world, FAR..table(TABLES));
        for n in 0..TABLES {
            assert_eq!(world.run(0, [Op::Private(table(n) + 3)]), [true]);
            assert_eq!(level(table(n)), 3);
        }
        let empty = table(0) + 256..table(TABLES - 1);
        assert_eq!(world.run(0, [ripas(empty, false, true)]), [true]);
        let levels: Vec<u64> = (0..TABLES).map(|n| level(table(n))).collect();
        let mut expected = vec![2; TABLES as usize];
        (expected[0], expected[TABLES as usize - 1]) = (3, 3);
        assert_eq!(levels, expected);
        assert_eq!(there(FAR..table(TABLES), false), {
            let mut first = (table(0)..table(0) + 4).collect::<Vec<_>>();
            first.extend(table(TABLES - 1)..table(TABLES - 1) + 4);
            first
        });
        // They are made again.
        assert_eq!(
            world.run(0, [ripas(table(2)..table(3), true, true)]),
            [true]
        );
        assert_eq!(world.run(0, [Op::Private(table(2) + 3)]), [true]);
        assert_eq!((level(table(2)), level(table(3))), (3, 2));
    });
}

/// What is refused makes no realm, and leaves the request as it was.
#[test]
fn requests_to_populate_that_cannot_be() {
    const GOOD: KvmArmRmiPopulate = KvmArmRmiPopulate {
        base: 2 * GRANULE_SIZE,
        size: GRANULE_SIZE,
        source_uaddr: 0x4000_0000,
        flags: 0,
        reserved: 0,
    };
    alone(|world| {
        let top = 1 << 31;
        let bad = [
            KvmArmRmiPopulate { flags: 2, ..GOOD },
            KvmArmRmiPopulate {
                reserved: 1,
                ..GOOD
            },
            KvmArmRmiPopulate {
                reserved: 1,
                size: 0,
                ..GOOD
            },
            KvmArmRmiPopulate {
                base: u64::MAX - 0xfff,
                size: 0x2000,
                ..GOOD
            },
            KvmArmRmiPopulate { base: top, ..GOOD },
            KvmArmRmiPopulate { size: top, ..GOOD },
            KvmArmRmiPopulate {
                base: 0x2800,
                ..GOOD
            },
            KvmArmRmiPopulate {
                size: 0x800,
                ..GOOD
            },
            KvmArmRmiPopulate {
                source_uaddr: 0,
                ..GOOD
            },
            KvmArmRmiPopulate {
                source_uaddr: 0x4000_0008,
                ..GOOD
            },
            KvmArmRmiPopulate {
                source_uaddr: u64::MAX - 0xfff,
                size: 0x2000,
                ..GOOD
            },
            // Not private; in no slot.
            KvmArmRmiPopulate {
                base: SHARED * GRANULE_SIZE,
                ..GOOD
            },
            KvmArmRmiPopulate {
                base: GRANULES * GRANULE_SIZE,
                ..GOOD
            },
        ];
        for mut args in bad {
            let before = format!("{args:?}");
            assert_eq!(world.vm.populate(&mut args), Err(EINVAL), "{before}");
            assert_eq!(format!("{args:?}"), before);
        }
        let mut args = GOOD;
        world.vm.populate(&mut args).unwrap();
        let left = (args.base, args.size, args.source_uaddr);
        assert_eq!(left, (3 * GRANULE_SIZE, 0, 0x4000_1000));
        assert_eq!(world.vm.populate(&mut GOOD.clone()), Err(EEXIST));
        // Across two chunks, up to what is not private.
        let mut args = KvmArmRmiPopulate {
            base: 3 * GRANULE_SIZE,
            size: 64 * GRANULE_SIZE,
            ..GOOD
        };
        assert_eq!(world.vm.populate(&mut args), Err(EINVAL));
        let left = (args.base, args.size, args.source_uaddr);
        let done = (SHARED - 3) * GRANULE_SIZE;
        let expected = (
            SHARED * GRANULE_SIZE,
            64 * GRANULE_SIZE - done,
            0x4000_0000 + done,
        );
        assert_eq!(left, expected);
        assert_eq!(there(0..GRANULES, false), (2..SHARED).collect::<Vec<_>>());
        // It is too late once it runs; and there is none when it is off.
        assert_eq!(world.run(0, private(2..3)), [true]);
        assert_eq!(world.vm.populate(&mut GOOD.clone()), Err(EBUSY));
        let mut nothing = KvmArmRmiPopulate { size: 0, ..GOOD };
        assert_eq!(world.vm.populate(&mut nothing), Err(EBUSY));
    });
}

/// Calls of a command from now on, as they are made.
fn record(fid: Fid) -> Arc<Mutex<Vec<Regs>>> {
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
fn refuse(fid: Fid, n: u64, status: Status) {
    let mut number = 0;
    replace(move |args, rmm| {
        number += u64::from(args.x(0) == u64::from(fid.raw()));
        match args.x(0) == u64::from(fid.raw()) && number == n {
            true => Regs::new(status.raw().into(), &[]),
            false => rmm(args),
        }
    });
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

/// What the RMM refuses for no reason that passes ends the run, and what was got for it goes back.
#[test]
fn a_page_that_the_rmm_does_not_map() {
    alone(|world| {
        assert_eq!(world.run(0, private(0..1)), [true]);
        refuse(Fid::RTT_DATA_MAP, 1, Status::ErrorInput);
        let fault = Exit::MemoryFault {
            gpa: 9 * GRANULE_SIZE,
            size: GRANULE_SIZE,
            private: true,
        };
        let result = world.vm.run(0, &mut Guest::new(private(9..10)));
        assert_eq!(result, Err((EIO, fault)));
        end();
        assert_eq!(there(0..GRANULES, false), [0, 1, 2, 3]);
        assert_eq!(world.run(0, private(9..10)), [true]);
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
fn made(world: &World) -> [u64; 512] {
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

/// Slots lie in the lower half of the IPA space, and nobody watches what is stored to them.
#[test]
fn slots_that_cannot_be() {
    alone(|world| {
        let half = 1 << (31 - 12);
        let check = |first, granules, watched, gmem_only| {
            world.vm.check_slot(&NewSlot {
                first,
                granules,
                watched,
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
        world.vm.init_sve(0, 4);
        assert_eq!(world.begin(), Err(EINVAL));
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
/// it does see.
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
        assert_eq!(world.run(0, shared(SHARED + 1..SHARED + 2)), [true]);
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
        let sizes: Vec<u64> = calls[before..]
            .iter()
            .map(|c| (c.x(2) - c.x(1)) / 4096)
            .collect();
        assert_eq!(sizes, [1, 4]);
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
        let mut guest = Guest::new([ripas(FAR..FAR + 8, false, true)]);
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
            crate::injection::block(true);
        };
        let parts = vec![
            discards(SHARED..SHARED + 1),
            part(|world| {
                world.vm.set_private(40..41, true).unwrap();
                crate::injection::block(false);
            }),
        ];
        let last = |world: &World| assert_eq!(world.run(0, shared(SHARED..SHARED + 1)), [true]);
        scenario_with(&[0], first, parts, last);
    });
}
