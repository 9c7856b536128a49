// SPDX-License-Identifier: GPL-2.0

//! Lives on an RMM that speaks RMI 1.0, for which the host chooses VMIDs and lends each REC its memory.

use super::faults::{kinds, refused_for_ever, refused_once};
use super::*;
use crate::scenarios::there;
use crate::world::GRANULES;
use kvm_arm_rmi::rmi::cmd::realm::Vmid;
use kvm_arm_rmi::sys::prelude::ENOSPC;
use std::cell::RefCell;
use std::rc::Rc;

/// Where `RmiRealmParams` has the VMID.
const VMID: usize = 0x800 / 8;

/// VMIDs of the model's CPUs, but for the one that is left to the RMM.
const VMIDS: u16 = (1 << 8) - 1;

/// From now on the VMIDs of realms are written down as the RMM is asked for them.
fn watch_vmids() -> Rc<RefCell<Vec<u64>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    replace(move |args, rmm| {
        if args.x(0) == u64::from(Fid::REALM_CREATE.raw()) {
            let params = rmm_machine().fake().data(args.x(2));
            told.borrow_mut().push(params[VMID]);
        }
        rmm(args)
    });
    seen
}

/// Nothing fails but the question for RMI 2.0, and what stands in for what 2.0 says in another way: where
/// nothing is mapped.
#[test]
fn a_whole_life() {
    let life = good_life(Dialect::V1);
    let told_by_errors = [Fid::DATA_DESTROY, Fid::RTT_UNMAP_UNPROTECTED];
    for (fid, times) in life.failed() {
        let expected = fid == Fid::VERSION && times == 1 || told_by_errors.contains(&fid);
        assert!(expected, "{fid}: {times}");
    }
    // Each REC and its 16 granules, two at a realm, and every granule by itself.
    assert_eq!(life.calls(Fid::REC_CREATE), 2);
    assert_eq!(life.calls(Fid::OP_MEM_DONATE), 0);
    assert_eq!(life.calls(Fid::REALM_TERMINATE), 0);
    let ranges = [Fid::GRANULE_RANGE_DELEGATE, Fid::GRANULE_RANGE_UNDELEGATE];
    assert_eq!(ranges.map(|fid| life.calls(fid)), [0, 0]);
    let granules = [Fid::GRANULE_DELEGATE, Fid::GRANULE_UNDELEGATE].map(|fid| life.calls(fid));
    assert_eq!(granules[0], granules[1]);
}

/// No two realms have the same VMID, and that of one that has gone is not the next to be used.
#[test]
fn vmids_are_the_realms_alone() {
    let (life, seen) = on_host(Dialect::V1, |host| {
        let seen = watch_vmids();
        let (first, second) = (host.bystander(), host.bystander());
        let third = host.bystander();
        second.end();
        let fourth = host.bystander();
        for world in [first, third, fourth] {
            world.end();
        }
        assert_eq!(host.life(), Ok(()));
        let seen = seen.take();
        (host.outcome(Ok(())), seen)
    });
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    life.assert_idle("realms with VMIDs");
}

/// Where the RMM chooses them itself it is told of none, and their number is not the host's to limit.
#[test]
fn vmids_that_the_rmm_chooses() {
    let seen = on_host(Dialect::Main, |host| {
        let seen = watch_vmids();
        let realms = [host.bystander(), host.bystander()];
        realms.into_iter().for_each(World::end);
        for _ in 0..=VMIDS {
            let vmid = host.all.host.vmids.lock().take();
            assert_eq!(vmid.map(|vmid| vmid.raw()), Some(0));
        }
        seen.take()
    });
    assert_eq!(seen, [0, 0]);
}

/// When all VMIDs are in use there is no realm, and nothing is kept; when one comes back, there is.
#[test]
fn vmids_are_exhausted() {
    let life = on_host(Dialect::V1, |host| {
        let seen = watch_vmids();
        let vmids = &host.all.host.vmids;
        for n in 0..VMIDS {
            let vmid = vmids.lock().take();
            assert_eq!(vmid.map(|vmid| vmid.raw()), Some(n));
        }
        assert_eq!(host.life(), Err(Why::Errno(ENOSPC)));
        assert_eq!(seen.take(), []);
        host.outcome(Ok(())).assert_idle("no VMID");
        vmids.lock().give(Vmid::new(77));
        assert_eq!(host.life(), Ok(()));
        assert_eq!(seen.take(), [77]);
        host.outcome(Ok(()))
    });
    life.assert_idle("one VMID");
}

/// However a life ends, all VMIDs are there afterwards.
#[test]
fn vmids_that_are_given_back() {
    let left = on_host(Dialect::V1, |host| {
        for fails in [0, 40, 60] {
            machine::machine().fail_allocation(fails);
            let _ = host.life();
        }
        left(host)
    });
    assert_eq!(left, Vec::from_iter(0..VMIDS));
}

/// Of a realm that the RMM may have still the VMID is not given to another one.
#[test]
fn the_vmid_of_a_realm_that_stays() {
    let (life, next) = on_host(Dialect::V1, |host| {
        refuse_some(Fid::REALM_DESTROY, (0, 1), Status::ErrorRealm);
        assert_eq!(host.life(), Ok(()));
        assert_eq!(host.counts().1, 2);
        let next = host.all.host.vmids.lock().take();
        (host.outcome(Ok(())), next.map(|vmid| vmid.raw()))
    });
    assert_eq!(next, Some(1));
    life.assert_accounted("a realm that stays");
}

/// The VMIDs that are left of all.
fn left(host: &Host) -> Vec<u16> {
    let mut vmids = host.all.host.vmids.lock();
    let mut left: Vec<_> = std::iter::from_fn(|| vmids.take())
        .map(|vmid| vmid.raw())
        .collect();
    left.sort_unstable();
    left
}

/// One that does not come into being for whatever reason has no VMID afterwards, unless nobody knows.
#[test]
fn a_vmid_without_a_realm() {
    for (code, times, first) in [(1, 8, 0), (2, 1, 0), (0x20d, 1, 1)] {
        let left = on_host(Dialect::V1, move |host| {
            replace_some(Fid::REALM_CREATE, (0, times), move |_, _| {
                Regs::new(code, &[])
            });
            assert_eq!(host.life(), Err(Why::Errno(EIO)));
            left(host)
        });
        assert_eq!(left, Vec::from_iter(first..VMIDS), "{code:#x}");
    }
}

/// The RMM has realms from before, of which this host knows nothing: others are tried.
#[test]
fn vmids_that_the_rmm_does_not_give() {
    for taken in [1, 3, 7] {
        let (life, left) = on_host(Dialect::V1, move |host| {
            let mut tried = 0;
            replace(move |args, rmm| {
                let create = args.x(0) == u64::from(Fid::REALM_CREATE.raw());
                match create && rmm_machine().fake().data(args.x(2))[VMID] < taken {
                    true => {
                        tried += 1;
                        assert!(tried <= taken);
                        Regs::new(Status::ErrorInput.raw().into(), &[])
                    }
                    false => rmm(args),
                }
            });
            assert_eq!(host.life(), Ok(()));
            (host.outcome(Ok(())), left(host))
        });
        life.assert_idle("VMIDs that are not given");
        assert_eq!(left.len(), usize::from(VMIDS));
    }
}

/// What is shared is unmapped before a table goes, though no REC runs any more: TLBs may have it, and another
/// realm will have the VMID.
#[test]
fn what_is_shared_is_unmapped_at_the_end() {
    let looked = on_host(Dialect::V1, move |host| {
        let seen = Rc::new(RefCell::new(0));
        let told = seen.clone();
        let world = host.vm().unwrap();
        run(&world, 0, shared(SHARED..SHARED + 4)).unwrap();
        replace(move |args, rmm| {
            if args.x(0) == u64::from(Fid::RTT_DESTROY.raw()) {
                assert_eq!(there(0..GRANULES, true), []);
                *told.borrow_mut() += 1;
            }
            rmm(args)
        });
        world.end();
        let looked = *seen.borrow();
        looked
    });
    assert!(looked > 0);
}

/// The commands of a life that 2.0 does not have, or has otherwise.
fn commands() -> Vec<(Fid, u64)> {
    let mut commands = super::faults::commands(Dialect::V1);
    let same = [Fid::REC_ENTER, Fid::RTT_CREATE, Fid::RTT_READ_ENTRY];
    commands.retain(|(fid, _)| !same.contains(fid));
    commands
}

#[test]
fn any_refusal_of_these_commands() {
    assert!(commands().len() > 12);
    refused_once(Dialect::V1, commands(), &kinds());
}

#[test]
fn refusals_of_these_commands_that_last() {
    refused_for_ever(Dialect::V1, commands());
}
