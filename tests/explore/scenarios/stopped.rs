// SPDX-License-Identifier: GPL-2.0

//! Who is stopped half way, and by what: signals, a lack of memory, the RMM. Alone, to the call.

use super::told::{made, refuse};
use super::*;
use crate::injection::{calls, end, refuse_some, replace, replace_some, signal_after};
use kvm_arm_rmi::rmi::{Fid, Status};
use kvm_arm_rmi::sys::machine::machine;
use shuttle::thread;
use std::sync::{Arc, Mutex};

/// The task that asks has a signal from now on.
fn signal() {
    machine().signal(thread::current().id());
}

/// The same as [`alone`], with two vCPUs.
fn alone_with_two(test: impl Fn(&World) + Send + Sync + Clone + 'static) {
    crate::alone(move || scenario(&[0, 1], nothing, vec![part(test.clone())]));
}

/// A first run that another vCPU's task keeps from it, and a populate.
#[test]
fn a_signal_before_anything_is_done() {
    alone_with_two(|world| {
        signal();
        assert_eq!(world.populate(0..4), Err(EINTR));
        assert_eq!(there(0..GRANULES, false), []);
        let run = || world.vm.run(0, &mut Guest::new([]));
        let result = world.vm.with_mutex(1, run);
        assert_eq!(result, Err((EINTR, Exit::None)));
    });
}

/// Memory that is asked for, while an operation of another realm's does not end.
#[test]
fn a_signal_while_memory_is_asked_for() {
    alone(|world| {
        assert!(world.run(0, []).is_empty());
        refuse_some(Fid::RTT_DATA_MAP, (0, u64::MAX), Status::Blocked);
        signal();
        assert_eq!(world.vm.pre_fault(0, 0..GRANULE_SIZE), Err(EINTR));
        end();
    });
}

/// Why there is no memory that was asked for.
#[test]
fn memory_that_cannot_be_had() {
    alone(|world| {
        let page = 5 * GRANULE_SIZE..6 * GRANULE_SIZE;
        assert_eq!(world.run(0, private(0..1)), [true]);
        machine().fail_allocation(1);
        assert_eq!(world.vm.pre_fault(0, page.clone()), Err(ENOMEM));
        machine().fail_allocation(0);
        refuse(Fid::RTT_DATA_MAP, 1, Status::ErrorInput);
        assert_eq!(world.vm.pre_fault(0, page), Err(ENXIO));
        end();
        assert_eq!(there(0..GRANULES, false), [0, 1, 2, 3]);
    });
}

/// A change that lacks memory is no signal, and goes on when there is some.
#[test]
fn a_change_without_memory() {
    alone(|world| {
        let gfns = FAR + 3..FAR + 9;
        private_slot(world, FAR..FAR + 512);
        let mut guest = Guest::new([ripas(gfns.clone(), false, true)]);
        let asked = world.vm.run(0, &mut guest);
        assert!(matches!(asked, Err((EFAULT, Exit::MemoryFault { .. }))));
        world.convert(gfns, false);
        machine().fail_allocation(1);
        let lacks = world.vm.run(0, &mut guest);
        assert_eq!(lacks, Err((ENOMEM, Exit::None)));
        machine().fail_allocation(0);
        assert_eq!(world.vm.run(0, &mut guest), Ok(Exit::None));
        assert_eq!(guest.results, [true]);
    });
}

/// The log says what the RMM has not done.
#[test]
fn the_end_has_its_reason() {
    alone(|world| {
        refuse(Fid::REALM_ACTIVATE, 1, Status::ErrorInput);
        let result = world.vm.run(0, &mut Guest::new([]));
        end();
        assert_eq!(result, Err((EIO, Exit::None)));
        let why = "it cannot be activated: RMI_REALM_ACTIVATE (0xc4000157): ErrorInput";
        assert_eq!(machine().told(why), 1);
    });
    alone_with_two(|world| {
        assert!(world.run(0, []).is_empty());
        refuse(Fid::PSCI_COMPLETE, 1, Status::ErrorRec);
        let result = world.vm.run(0, &mut Guest::new([Op::TurnOn(1)]));
        end();
        assert!(matches!(result, Ok(Exit::InternalError(_))), "{result:?}");
        assert_eq!(machine().told("a PSCI call cannot be ended"), 1);
    });
}

/// A vCPU is turned on between its last exit, by which the RMM has turned it off, and the host's notice of
/// that: it does not stop.
#[test]
fn a_vcpu_that_is_on_before_it_is_off() {
    alone_with_two(|world| {
        start_second(world);
        assert_eq!(world.run(1, private(5..6)), [true]);
        let (other, mut off) = (world.clone(), false);
        replace(move |args, rmm| {
            let results = rmm(args);
            let enters = args.x(0) == u64::from(Fid::REC_ENTER.raw());
            // RMI_ERROR_REC.
            if enters && results.x(0) & 0xff == u64::from(Status::ErrorRec.raw()) && !off {
                off = true;
                assert_eq!(other.run(0, [Op::TurnOn(1)]), [true]);
            }
            results
        });
        // Who stops is not waited for.
        world.vm.stop();
        let mut guest = Guest::new([Op::TurnOff, Op::Private(6)]);
        assert_eq!(world.vm.run(1, &mut guest), Ok(Exit::None));
        end();
        assert_eq!(guest.results, [true, true]);
    });
}

/// Attributes are what counts for a VM that had some, also when it has none any more.
#[test]
fn attributes_that_go() {
    alone(|world| {
        assert_eq!(world.run(0, private(0..1)), [true]);
        world.vm.set_private(0..SHARED, false).unwrap();
        let result = world.vm.run(0, &mut Guest::new(private(3..4)));
        assert!(matches!(result, Err((EFAULT, Exit::MemoryFault { .. }))));
        assert_eq!(there(0..GRANULES, false), []);
    });
}

/// Without a vCPU that is initialised a realm is made with what the RMM has of breakpoints.
#[test]
fn a_realm_that_is_made_before_its_vcpus() {
    alone(|world| {
        world.vm.set_id_aa64dfr0(0);
        let page = made(world);
        assert_eq!((page[3], page[4]), (5, 3));
    });
}

/// When private memory is unmapped for the first time another task begins to populate granule 3, has time for
/// that, and `look` looks. Returns what waits for what comes of it.
fn populates_meanwhile(
    world: &World,
    look: impl Fn() + 'static,
) -> impl FnOnce() -> Result<(), Error> {
    let other = world.clone();
    let result = Arc::new(Mutex::new(None));
    let told = result.clone();
    replace_some(Fid::RTT_DATA_UNMAP, (0, 1), move |args, rmm| {
        let (world, told) = (other.clone(), told.clone());
        thread::spawn(move || {
            let result = world.populate(3..4);
            *told.lock().unwrap() = Some(result);
        });
        (0..200).for_each(|_| thread::yield_now());
        look();
        rmm(args)
    });
    move || loop {
        if let Some(result) = result.lock().unwrap().take() {
            return result;
        }
        thread::yield_now();
    }
}

/// A slot is about to go, and what was mapped in it is being unmapped: nothing is populated there.
#[test]
fn a_slot_goes_under_a_populate() {
    alone(|world| {
        world.populate(20..21).unwrap();
        let populated = populates_meanwhile(world, || {});
        world.vm.delete_slot(0).unwrap();
        end();
        assert_eq!(populated(), Err(EINVAL));
        world.assert_nothing_mapped(0..GRANULES);
    });
}

/// A populate of what is being taken away, from the first granule of that on: it waits until that is over.
#[test]
fn a_populate_under_a_punch() {
    alone(|world| {
        world.populate(5..6).unwrap();
        let populated = populates_meanwhile(world, || {
            assert_eq!(there(0..GRANULES, false), [5]);
        });
        world.gmem.punch(3..6);
        end();
        assert_eq!(populated(), Ok(()));
        assert_eq!(there(0..GRANULES, false), [3]);
    });
}

/// A change of two parts, between which a signal comes: the second is for later.
#[test]
fn a_signal_between_two_parts_of_a_change() {
    alone(|world| {
        let file = Some((&world.gmem, FAR));
        world.vm.add_slot(FAR..FAR + 8, HVA_FAR, file).unwrap();
        let change = [ripas(FAR..FAR + 20, false, true)];
        let set = || {
            calls()
                .get(&Fid::RTT_SET_RIPAS.raw())
                .map_or(0, |(all, _)| *all)
        };
        // The tables that it takes are there then.
        assert_eq!(world.run(0, change.clone()), [true]);
        signal_after(1);
        let result = world.vm.run(0, &mut Guest::new(change));
        assert_eq!((result, set()), (Err((EINTR, Exit::Intr)), 1));
        signal_after(u64::MAX);
    });
}
