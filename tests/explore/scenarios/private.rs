// SPDX-License-Identifier: GPL-2.0

//! Private memory: faults, files that give it up, slots that go, populate.

use super::*;
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::uapi::KvmArmRmiPopulate;

#[test]
fn private_faults_of_two() {
    explore(|| {
        let parts = vec![runs(0, private(0..6)), runs(1, private(4..10))];
        scenario(&[0, 1], start_second, parts);
    });
}

#[test]
fn a_private_fault_and_a_punch() {
    explore(|| {
        let parts = vec![tries(0, private(0..8)), punches(2..6)];
        scenario(&[0], after(private(4..6)), parts);
    });
}

#[test]
fn two_punches_and_a_fault() {
    explore(|| {
        let parts = vec![tries(0, private(0..8)), punches(0..4), punches(2..8)];
        scenario(&[0], after(private(0..8)), parts);
    });
}

#[test]
fn a_private_fault_and_a_conversion() {
    explore(|| {
        let parts = vec![
            part(|world| {
                let mut guest = Guest::new(private(0..6));
                let result = world.vm.run(0, &mut guest);
                let asked = matches!(
                    result,
                    Ok(_) | Err((EHWPOISON | EFAULT, Exit::MemoryFault { private: true, .. }))
                );
                assert!(asked, "{result:?}");
            }),
            converts(2..5, false),
        ];
        scenario(&[0], after(private(3..4)), parts);
    });
}

#[test]
fn populate_and_the_first_run() {
    explore(|| {
        let parts = vec![
            part(|world| {
                let result = world.populate(0..4);
                assert!(matches!(result, Ok(()) | Err(EBUSY)), "{result:?}");
            }),
            runs(0, private(0..6)),
        ];
        scenario(&[0], nothing, parts);
    });
}

/// A signal ends populate: it is an error only where nothing was done.
#[test]
fn populate_and_a_signal() {
    explore(|| {
        // In pieces, between which it looks for signals.
        let gfns = FAR + 32..FAR + 256;
        let first = {
            let gfns = gfns.clone();
            move |world: &World| {
                let file = Some((&world.gmem, FAR));
                world.vm.add_slot(gfns.clone(), HVA_FAR, file).unwrap();
                world.vm.set_private(gfns, true).unwrap();
            }
        };
        let task = std::sync::Arc::new(std::sync::Mutex::new(None));
        let other = task.clone();
        let parts = vec![
            part(move |world| {
                *task.lock().unwrap() = Some(shuttle::thread::current().id());
                let size = (gfns.end - gfns.start) * 4096;
                let mut args = KvmArmRmiPopulate {
                    base: gfns.start * 4096,
                    size,
                    source_uaddr: HVA_FAR,
                    flags: 0,
                    reserved: 0,
                };
                let wanted = |left: u64| match left == size {
                    true => Err(EINTR),
                    false => Ok(()),
                };
                let result = world.vm.populate(&mut args);
                assert!(result == wanted(args.size) || args.size == 0, "{args:?}");
            }),
            part(move |_| {
                let random = shuttle::rand::thread_rng().next_u64() % 64;
                (0..random).for_each(|_| shuttle::thread::yield_now());
                if let Some(task) = *other.lock().unwrap() {
                    machine().signal(task);
                }
            }),
        ];
        scenario(&[0], first, parts);
    });
}

/// The realm is there, and so are its tables: there is little before the pages are got.
#[test]
fn more_populate_and_a_punch() {
    explore(|| {
        let parts = vec![part(|world| world.populate(0..8).unwrap()), punches(2..6)];
        scenario(&[0], |world| world.populate(8..9).unwrap(), parts);
    });
}

#[test]
fn populate_and_a_punch() {
    explore(|| {
        let parts = vec![part(|world| world.populate(0..8).unwrap()), punches(2..6)];
        scenario(&[0], nothing, parts);
    });
}

/// What was populated and taken away again is not there; the realm runs all the same.
#[test]
fn populate_then_punch_then_run() {
    explore(|| {
        let first = |world: &World| {
            world.populate(0..4).unwrap();
            world.gmem.punch(1..2);
        };
        scenario(&[0], first, vec![runs(0, private(2..4))]);
    });
}

/// `KVM_PRE_FAULT_MEMORY` of granules.
fn pre_faults(n: usize, gfns: Range<u64>, errors: &'static [Error]) -> Part {
    part(move |world| {
        let ipas = gfns.start * GRANULE_SIZE..gfns.end * GRANULE_SIZE;
        if let Err(error) = world.vm.pre_fault(n, ipas) {
            assert!(errors.contains(&error), "{error:?}");
        }
    })
}

#[test]
fn a_realm_has_what_was_asked_for_before() {
    explore(|| {
        let last = |world: &World| {
            let page = |gfn: u64| gfn * GRANULE_SIZE..(gfn + 1) * GRANULE_SIZE;
            world.assert_all_private(0..SHARED);
            assert_eq!(world.vm.pre_fault(0, page(SHARED)), Err(ENOENT));
            assert_eq!(world.vm.pre_fault(0, page(GRANULES)), Err(ENOENT));
            assert_eq!(world.vm.pre_fault(0, page(1 << 40)), Err(ENOENT));
        };
        let parts = vec![pre_faults(0, 0..SHARED, &[])];
        scenario_with(&[0], after(private(3..4)), parts, last);
    });
}

/// Wherever it begins and ends: all of it, and what comes with its ends.
#[test]
fn what_is_asked_for_may_begin_anywhere() {
    alone(|world| {
        private_slot(world, FAR..FAR + 512);
        assert!(world.run(0, []).is_empty());
        for gfns in [40..100, 128..129, 191..193, 511..512] {
            let gfns = FAR + gfns.start..FAR + gfns.end;
            let ipas = gfns.start * GRANULE_SIZE..gfns.end * GRANULE_SIZE;
            assert_eq!(world.vm.pre_fault(0, ipas), Ok(()), "{gfns:?}");
            world.assert_all_private(gfns);
        }
        let expected = (32..128)
            .chain(128..224)
            .chain(480..512)
            .map(|gfn| FAR + gfn);
        let expected: Vec<_> = expected.collect();
        assert_eq!(there(FAR..FAR + 512, false), expected);
    });
}

/// What was lost is the realm's business: there is memory, as for a page that it has.
#[test]
fn what_was_lost_is_asked_for() {
    alone(|world| {
        assert_eq!(world.run(0, private(0..1)), [true]);
        world.gmem.punch(0..1);
        let result = world.vm.run(0, &mut Guest::new(private(0..1)));
        assert!(matches!(result, Err((EHWPOISON, _))), "{result:?}");
        assert_eq!(world.vm.pre_fault(0, 0..GRANULE_SIZE), Ok(()));
        assert_eq!(world.vm.pre_fault(0, 0..GRANULE_SIZE), Ok(()));
    });
}

#[test]
fn before_there_is_a_realm_nothing_is_there() {
    explore(|| {
        let last = |world: &World| world.assert_nothing_mapped(0..GRANULES);
        let parts = vec![part(|world| {
            assert_eq!(world.vm.pre_fault(0, 0..GRANULE_SIZE), Err(EOPNOTSUPP));
        })];
        scenario_with(&[0], nothing, parts, last);
    });
}

#[test]
fn memory_is_asked_for_and_touched_and_punched() {
    explore(|| {
        let parts = vec![
            pre_faults(0, 0..8, &[EAGAIN]),
            tries(1, private(0..8)),
            punches(2..6),
        ];
        scenario(&[0, 1], start_second, parts);
    });
}

#[test]
fn memory_is_asked_for_and_converted() {
    explore(|| {
        let parts = vec![
            pre_faults(0, 0..8, &[EAGAIN, ENOENT]),
            converts(2..5, false),
        ];
        let last = |world: &World| world.assert_nothing_mapped(2..5);
        scenario_with(&[0], after(private(3..4)), parts, last);
    });
}

#[test]
fn a_slot_goes_under_faults() {
    explore(|| {
        let parts = vec![
            part(|world| {
                let mut guest = Guest::new([private(0..24), shared(SHARED..SHARED + 4)].concat());
                let result = world.vm.run(0, &mut guest);
                let told = matches!(
                    result,
                    Ok(Exit::None | Exit::Mmio(_))
                        | Err((EFAULT | EHWPOISON, Exit::MemoryFault { .. }))
                );
                assert!(told, "{result:?}");
            }),
            part(|world| world.vm.delete_slot(0).unwrap()),
        ];
        let warm = [private(2..3), shared(SHARED..SHARED + 1)].concat();
        let last = |world: &World| world.assert_nothing_mapped(0..GRANULES);
        scenario_with(&[0], after(warm), parts, last);
    });
}

#[test]
fn the_file_is_closed_under_faults() {
    explore(|| {
        let parts = vec![
            part(|world| {
                let result = world.vm.run(0, &mut Guest::new(private(0..24)));
                let told = matches!(
                    result,
                    Ok(_) | Err((EFAULT | EHWPOISON, Exit::MemoryFault { private: true, .. }))
                );
                assert!(told, "{result:?}");
            }),
            part(|world| world.gmem.close()),
        ];
        let last = |world: &World| world.assert_nothing_mapped(0..GRANULES);
        scenario_with(&[0], after(private(2..3)), parts, last);
    });
}
