// SPDX-License-Identifier: GPL-2.0

//! What a vCPU leaves behind when nothing else happens, to the granule.

use super::told::{count, record, record_all, sizes};
use super::*;
use crate::firmware::level;
use crate::injection::end;
use crate::world::mapped;
use kvm_arm_rmi::rmi::{Fid, GRANULE_SIZE};
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::uapi::KvmArmRmiPopulate;

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
        let calls = record(Fid::GRANULE_RANGE_DELEGATE);
        assert_eq!(world.run(0, private(13..14)), [true]);
        end();
        // The page of 13 comes first in memory: one command for those that are next to each other
        // there, in whatever order they were asked for.
        let mut pas = [12, 13, 14, 15].map(|gfn| mapped(gfn, false).unwrap());
        pas.sort_unstable();
        let runs = pas.chunk_by(|a, b| a + GRANULE_SIZE == *b);
        let runs: Vec<_> = runs.map(|run| run.len() as u64).collect();
        assert_eq!(sizes(&calls.lock().unwrap()), runs);
        assert!(runs.len() < 3, "{runs:?}");
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
        assert_eq!(world.run(0, []), Vec::<bool>::new());
        let all = record_all();
        assert_eq!(world.run(0, shared(FAR + 7..FAR + 8)), [true]);
        end();
        // One command, and no table.
        let commands = [Fid::RTT_UNPROT_MAP, Fid::RTT_CREATE, Fid::RTT_UNPROT_UNMAP];
        assert_eq!(commands.map(|fid| count(&all, fid)), [1, 0, 0]);
        for gfn in FAR..FAR + 512 {
            let pa = base + (gfn - FAR) * GRANULE_SIZE;
            assert_eq!(mapped(gfn, true), Some(pa), "{gfn:#x}");
        }
        assert_eq!(there(FAR + 512..FAR + 1024, true), []);
        let page = HVA_FAR + 9 * GRANULE_SIZE;
        world.mm.discard(page..page + GRANULE_SIZE);
        assert_eq!(there(FAR..FAR + 512, true), []);
        assert_eq!(world.run(0, shared(FAR + 7..FAR + 8)), [true]);
        // The page behind it is there, and the next is not.
        assert_eq!(there(FAR..FAR + 512, true), [FAR + 7, FAR + 8]);
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
            (505, 501..512),
        ];
        for (touched, gfns) in holes {
            world.mm.collapse(HVA_FAR);
            let base = world.mm.huge(HVA_FAR).expect("there is memory").1;
            assert_eq!(world.run(0, [Op::Shared(FAR + touched)]), [true]);
            // Nor is anything of what lies behind it.
            for gfn in 0..1024 {
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
        assert_eq!(world.run(0, private(0..1)), [true]);
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

/// A granule that was a table is the next one, unless the host has found it bad meanwhile.
#[test]
fn a_bad_table_is_not_used_again() {
    alone(|world| {
        let tables = [FAR, FAR + 512].map(|first| first..first + 512);
        private_slot(world, FAR..FAR + 1024);
        assert_eq!(world.run(0, private(0..1)), [true]);
        let made = record(Fid::RTT_CREATE);
        for round in 0..3 {
            for table in tables.clone() {
                let goes = [
                    ripas(table.clone(), false, true),
                    ripas(table.clone(), true, true),
                ];
                assert_eq!(world.run(0, [Op::Private(table.start)]), [true]);
                assert_eq!(world.run(0, goes), [true, true]);
            }
            let table = |n: usize| made.lock().unwrap()[n].x(2);
            match round {
                0 => assert_eq!(table(0), table(1)),
                1 => machine().poison(table(3)),
                _ => assert!(![table(4), table(5)].contains(&table(3))),
            }
        }
        end();
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
        let made = record(Fid::REALM_CREATE);
        for mut args in bad {
            let before = format!("{args:?}");
            assert_eq!(world.vm.populate(&mut args), Err(EINVAL), "{before}");
            assert_eq!(format!("{args:?}"), before);
        }
        end();
        assert_eq!(made.lock().unwrap().len(), 0);
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
