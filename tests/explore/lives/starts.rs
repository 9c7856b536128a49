// SPDX-License-Identifier: GPL-2.0

//! Machines on which there are no realms, and what is said of that; and what an unloaded component leaves.

use super::*;
use crate::injection::end;
use kvm_arm_rmi::realm::host;
use kvm_arm_rmi::rmi::{AddrRange, PhysAddr};
use kvm_arm_rmi::sys::machine::machine;
use kvm_arm_rmi::sys::platform::Lacks;
use kvm_arm_rmi::sys::prelude::{EBUSY, EINVAL, ENODEV};
use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

/// Starts on such a machine. Returns what that says, and the log.
fn starts(lacks: Option<Lacks>, refused: Option<(Fid, u64)>) -> (Option<Error>, String) {
    once(move || {
        machine::on(Embedded::new(), |machine| {
            machine.lack(lacks);
            if let Some((fid, x0)) = refused {
                replace_some(fid, (0, 1), move |_, _| Regs::new(x0, &[]));
            }
            let before = machine.pages_in_use();
            let host = host::start();
            end();
            if let Ok((host, _)) = &host {
                assert_eq!(host.rmi.conduit().counts().leaked(), 0);
                // KVM takes it.
                host::announce(host);
            }
            let told = machine.lines().concat();
            let error = host.err();
            assert_eq!(machine.pages_in_use(), before);
            (error, told)
        })
    })
}

#[test]
fn machines_without_realms() {
    let (version, delegate) = (Fid::VERSION, Fid::GRANULE_RANGE_DELEGATE);
    let (input, none) = (u64::from(Status::ErrorInput.raw()), u64::MAX);
    for (lacks, refused, error, told) in [
        (
            Some(Lacks::Rme),
            None,
            ENODEV,
            "not every CPU has the Realm Management Extension",
        ),
        (Some(Lacks::Consent), None, ENODEV, "enabled=0"),
        (Some(Lacks::FirstKernel), None, ENODEV, "dump another"),
        (Some(Lacks::Vhe), None, ENODEV, "not at EL2 with VHE"),
        (Some(Lacks::Kvm), None, ENODEV, "KVM is not there"),
        (Some(Lacks::Smc), None, ENODEV, "is not reached by SMC"),
        (
            Some(Lacks::Stay),
            None,
            EBUSY,
            "a kernel is loaded for kexec",
        ),
        (None, Some((version, none)), ENODEV, "no realms: "),
        (None, Some((Fid::RMM_ACTIVATE, input)), EIO, "no realms: "),
        (
            None,
            Some((Fid::GRANULE_TRACKING_GET, input)),
            EIO,
            "no realms: ",
        ),
        (None, Some((delegate, input)), EIO, ""),
    ] {
        let (said, log) = starts(lacks, refused);
        assert_eq!(said, Some(error), "{lacks:?} {refused:?}");
        assert!(log.contains(told), "{lacks:?} {refused:?}: {log}");
        // Nothing is called where that would be in vain, or worse.
        if lacks.is_some() {
            assert!(!log.contains("RMI "), "{lacks:?}: {log}");
        }
    }
    let (said, log) = starts(None, None);
    assert_eq!(said, None);
    assert!(log.contains("activated"), "{log}");
}

/// A command on a range of memory.
type Asked = (Fid, Range<u64>);

/// From now on what the RMM is asked of, and what it is given, is written down; it says that `odd` is a
/// device's.
fn watch_memory(odd: Range<u64>) -> Rc<RefCell<Vec<Asked>>> {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let told = seen.clone();
    replace(move |args, rmm| {
        let (fid, range) = (Fid::from_raw(args.x(0) as u32), args.x(1)..args.x(2));
        if [Fid::GRANULE_TRACKING_GET, Fid::GRANULE_RANGE_DELEGATE].contains(&fid) {
            told.borrow_mut().push((fid, range.clone()));
        }
        match (fid, range) {
            (Fid::GRANULE_TRACKING_GET, asked) if odd.contains(&asked.start) => {
                Regs::new(0, &[2, 2, odd.end])
            }
            (Fid::GRANULE_TRACKING_GET, asked) if asked.contains(&odd.start) => {
                Regs::new(0, &[0, 2, odd.start])
            }
            _ => rmm(args),
        }
    });
    seen
}

/// What is in the holes is not the host's: the RMM is not asked of it, and is not given any of it.
#[test]
fn memory_with_holes() {
    on_host(Dialect::Main, |host| {
        let ram = machine().firmware().ram();
        let seen = watch_memory(0..0);
        host.all = super::start();
        host.life().unwrap();
        end();
        let (asked, given): (Vec<_>, Vec<_>) = seen
            .take()
            .into_iter()
            .partition(|(fid, _)| *fid == Fid::GRANULE_TRACKING_GET);
        let asked: Vec<_> = asked.into_iter().map(|(_, range)| range).collect();
        assert_eq!(asked, ram);
        let within = |given: &Range<u64>| {
            let is = |ram: &Range<u64>| ram.start <= given.start && given.end <= ram.end;
            ram.iter().position(is)
        };
        let places: Vec<_> = given.iter().map(|(_, range)| within(range)).collect();
        assert!(!places.contains(&None), "{given:x?}");
        // There was some on either side of one.
        assert!(places.contains(&Some(0)) && places.contains(&Some(1)));
    });
}

/// Some of a range, which neither begins nor ends with it.
fn inside(range: &Range<u64>) -> Range<u64> {
    range.start + 5 * GRANULE_SIZE..range.start + 7 * GRANULE_SIZE
}

/// A part of one range is no memory that the RMM takes: that part is named, and that is the end of it.
#[test]
fn memory_that_is_a_devices_in_part() {
    on_host(Dialect::Main, |_| {
        let ram = machine().firmware().ram();
        let odd = inside(&ram[1]);
        let seen = watch_memory(odd.clone());
        let error = host::start().err();
        end();
        assert_eq!(error, Some(ENODEV));
        let named = format!(
            "memory {:#x}..{:#x} cannot be delegated",
            odd.start, odd.end
        );
        assert_eq!(machine().told(&named), 1, "{:?}", machine().lines());
        let asked = [ram[0].clone(), ram[1].clone(), odd.start..ram[1].end];
        let asked = asked.map(|range| (Fid::GRANULE_TRACKING_GET, range));
        assert_eq!(seen.take(), asked);
    });
}

/// The same of memory that is not online: it is not the host's yet, and what comes after it is looked at.
#[test]
fn memory_that_is_a_devices_and_not_online() {
    on_host(Dialect::Main, |_| {
        let ram = machine().firmware().ram();
        let odd = inside(&ram[1]);
        machine().set_offline(odd.clone());
        let seen = watch_memory(odd.clone());
        host::start().unwrap();
        end();
        let mut asked = seen.take();
        asked.retain(|(fid, _)| *fid == Fid::GRANULE_TRACKING_GET);
        let all = [
            ram[0].clone(),
            ram[1].clone(),
            odd.start..ram[1].end,
            odd.end..ram[1].end,
            ram[2].clone(),
        ];
        let all = all.map(|range| (Fid::GRANULE_TRACKING_GET, range));
        assert_eq!(asked, all);
    });
}

/// A range as the component has it.
fn addresses(range: &Range<u64>) -> AddrRange {
    AddrRange::new(PhysAddr::new(range.start), PhysAddr::new(range.end)).unwrap()
}

/// Memory that comes later is the RMM's to judge, as that which is there is: what it does not take stays
/// offline, and the log says so.
#[test]
fn memory_that_comes_later() {
    for (info, taken) in [([0, 2], true), ([1, 2], false), ([0, 1], false)] {
        once(move || {
            machine::on(Embedded::new(), |machine| {
                let (_host, watch) = host::start().unwrap();
                let said = machine.lines().len();
                let ram = machine.firmware().ram();
                let new = ram[0].end..ram[1].start;
                replace_some(Fid::GRANULE_TRACKING_GET, (0, 1), move |args, _| {
                    Regs::new(0, &[info[0], info[1], args.x(2)])
                });
                let came = watch.comes(addresses(&new));
                assert_eq!(came.is_ok(), taken, "{info:?}: {came:?}");
                let told = machine.lines()[said..].concat();
                assert_eq!(told.contains("new memory stays offline"), !taken, "{told}");
                end();
            });
        });
    }
}

/// Memory that goes, and is bad, may be the RMM's as long as that has any. Other memory is not looked at here.
#[test]
fn bad_memory_that_goes() {
    once(move || {
        machine::on(Embedded::new(), |machine| {
            let (host, watch) = host::start().unwrap();
            let ram = machine.firmware().ram();
            machine.poison(ram[1].start + 3 * GRANULE_SIZE);
            assert_eq!(watch.goes(addresses(&ram[1])), Ok(()));
            let granule = host::alloc_delegated(&host.rmi, 0).unwrap();
            assert_eq!(watch.goes(addresses(&ram[1])), Err(EBUSY));
            assert_eq!(watch.goes(addresses(&ram[0])), Ok(()));
            host::undelegate(&host.rmi, granule).unwrap();
            assert_eq!(watch.goes(addresses(&ram[1])), Ok(()));
        });
    });
}

/// Where something is lost no other kernel may take over: it would not know of that.
#[test]
fn what_is_lost_is_in_the_way_of_another_kernel() {
    for lost in [false, true] {
        let (calls, kept, told) = on_host(Dialect::Main, move |host| {
            if lost {
                let refused = u64::from(Status::ErrorInput.raw());
                replace_some(Fid::REALM_DESTROY, (0, 1), move |_, _| {
                    Regs::new(refused, &[])
                });
            }
            host.life().unwrap();
            end();
            let calls = machine().read_file("kvm_arm_rmi/", "/smcs").unwrap();
            // Nobody unloads it then. What is lost before there is a VM can be in the way all the same.
            assert_eq!(machine().stays_loaded(), lost);
            host.all = super::start();
            // The descriptor, and the table that the realm started with.
            let told = machine().told("2 granules stay with the RMM until");
            (calls, machine().is_kept(), told)
        });
        assert_eq!(kept, lost);
        assert_eq!(told, usize::from(lost));
        // What was asked for no realm, and what was asked for one.
        for line in ["VERSION 1 0\n", "RMM_ACTIVATE 1 0\n", "REALM_CREATE 1 0\n"] {
            assert!(calls.contains(line), "{calls}");
        }
    }
}

/// Whoever waits for an operation sleeps between two tries, as often as it takes.
#[test]
fn who_waits_for_an_operation_sleeps() {
    for fid in [
        Fid::REC_CREATE,
        Fid::RTT_CREATE,
        Fid::RTT_DATA_MAP_INIT,
        Fid::RTT_UNPROT_UNMAP,
    ] {
        let blocked = u64::from(Status::Blocked.raw());
        let slept = on_host(Dialect::Main, move |host| {
            replace_some(fid, (0, 5), move |_, _| Regs::new(blocked, &[]));
            host.life().unwrap();
            end();
            machine().sleeps()
        });
        assert_eq!(slept, 5, "{fid}");
    }
}

/// vCPUs have vectors as long as the RMM has them, of which the realm is told; and no longer ones.
#[test]
fn vectors_are_as_long_as_the_rmm_has_them() {
    // Of feature register 0: there is SVE, with vectors of 2 quadwords.
    const SVE: u64 = 1 << 9 | 1 << 10;
    let told = on_host(Dialect::Main, |host| {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let told = seen.clone();
        replace(move |args, rmm| {
            let is = |fid: Fid| args.x(0) == u64::from(fid.raw());
            let mut regs = rmm(args);
            if is(Fid::FEATURES) && args.x(1) == 0 {
                regs.0[1] = regs.0[1] & !0x3e00 | SVE;
            }
            if is(Fid::REALM_CREATE) {
                let params = rmm_machine().fake().data(args.x(2));
                told.borrow_mut().push((params[0] & 2, params[2]));
            }
            regs
        });
        host.all = super::start();
        for (vq, possible) in [(1, true), (2, true), (3, false), (4, false)] {
            let world = host.vm().unwrap();
            world.vm.init_sve(0, vq);
            let before = seen.borrow().len();
            let result = world.begin();
            assert!(possible || result == Err(EINVAL), "{vq}: {result:?}");
            assert_eq!(seen.borrow().len() - before, usize::from(possible), "{vq}");
            world.end();
        }
        end();
        seen.take()
    });
    assert_eq!(told, [(2, 0), (2, 1)]);
}
