// SPDX-License-Identifier: GPL-2.0

//! Retries and operations in several steps.

use crate::fake::{incomplete, rmm, status, success, Page};
use kvm_arm_rmi::rmi::cmd::data;
use kvm_arm_rmi::rmi::cmd::granule::tracking_get;
use kvm_arm_rmi::rmi::cmd::rec::RecName;
use kvm_arm_rmi::rmi::cmd::rmm::activate;
use kvm_arm_rmi::rmi::cmd::rtt;
use kvm_arm_rmi::rmi::cmd::unprot::{self, Access, MemAttr};
use kvm_arm_rmi::rmi::{
    AddrRange, Broken, Error, Fid, IpaSpace, PhysAddr, ReturnCode, RttLevel, Status,
};

/// Answers by the number of the call.
fn in_turn<R>(mut answer: impl FnMut(usize) -> R) -> impl FnMut() -> R {
    let mut n = 0;
    move || {
        n += 1;
        answer(n)
    }
}

#[test]
fn busy_is_asked_again() {
    let mut next = in_turn(|n| {
        status(if n < 50 {
            Status::Busy
        } else {
            Status::Success
        })
    });
    let rmi = rmm(|_, _| next());
    assert_eq!(activate(&rmi), Ok(()));
    assert_eq!(
        rmi.conduit().counts().commands().next(),
        Some((Fid::RMM_ACTIVATE, 50, 49))
    );
}

#[test]
fn busy_for_ever_ends() {
    let rmi = rmm(|_, _| status(Status::Busy));
    assert_eq!(activate(&rmi), Err(Error::StillBusy(Fid::RMM_ACTIVATE)));
}

/// The RMM says SUCCESS and has done nothing, for ever: whoever waits for that knows which command it was.
#[test]
fn no_progress_for_ever_ends() {
    let rmi = rmm(|fid, args| match fid {
        Fid::RTT_SET_RIPAS => success(&[args.x(3)]),
        _ => success(&[args.x(2)]),
    });
    let (rd, space) = (crate::lending::a_realm(), IpaSpace::new(39).unwrap());
    let lower = space.protected(0, 0x2000).unwrap();
    let upper = space.unprotected(0, 0x2000).unwrap();
    let memory = PhysAddr::new(0x9000_0000)..PhysAddr::new(0x9000_2000);
    let memory = AddrRange::new(memory.start, memory.end).unwrap();
    let how = (MemAttr::Normal, Access::ReadWrite);
    let idle = |fid| Err(Error::Idle(fid));
    assert_eq!(rtt::init_ripas(&rmi, rd, lower), idle(Fid::RTT_INIT_RIPAS));
    let rec = RecName::from_raw(0x9000_0000);
    let set = rtt::set_ripas(&rmi, rd, rec, lower);
    assert_eq!(set, idle(Fid::RTT_SET_RIPAS));
    let unmapped = data::unmap(&rmi, rd, lower, &mut Page::new(), |_| panic!("nothing"));
    assert_eq!(unmapped, idle(Fid::RTT_DATA_UNMAP));
    let mapped = unprot::unprot_map(&rmi, rd, upper, memory, RttLevel::L3, how);
    assert_eq!(mapped, idle(Fid::RTT_UNPROT_MAP));
    let unmapped = unprot::unprot_unmap(&rmi, rd, upper);
    assert_eq!(unmapped, idle(Fid::RTT_UNPROT_UNMAP));
}

/// Another realm's operation has to end first: that is waited out, though not for ever.
#[test]
fn blocked_is_waited_out() {
    for times in [1, 2, 500, 999] {
        let mut next = in_turn(|n| {
            status(if n <= times {
                Status::Blocked
            } else {
                Status::Success
            })
        });
        let rmi = rmm(|_, _| next());
        assert_eq!(activate(&rmi), Ok(()));
        assert_eq!(rmi.conduit().waits(), times as u64);
    }
    let rmi = rmm(|_, _| status(Status::Blocked));
    assert_eq!(activate(&rmi).unwrap_err().status(), Some(Status::Blocked));
    assert_eq!(
        rmi.conduit().counts().commands().next(),
        Some((Fid::RMM_ACTIVATE, 1000, 1000))
    );
}

#[test]
fn an_operation_goes_on_with_the_handle_of_its_first_answer() {
    // TF-RMM's first handle is 0; later answers have something else in x1.
    for handle in [0, 7, u64::MAX] {
        let rmi = rmm(move |fid, args| match fid {
            Fid::RMM_ACTIVATE => incomplete(0, false, handle),
            Fid::OP_CONTINUE => {
                assert_eq!((args.x(1), args.x(2)), (handle, 0));
                success(&[])
            }
            other => panic!("{other}"),
        });
        assert_eq!(activate(&rmi), Ok(()));
    }
    let mut next = in_turn(|n| {
        if n < 5 {
            incomplete(0, false, 99)
        } else {
            success(&[])
        }
    });
    let rmi = rmm(|fid, args| match fid {
        Fid::RMM_ACTIVATE => incomplete(0, false, 3),
        _ => {
            assert_eq!(args.x(1), 3);
            next()
        }
    });
    assert_eq!(activate(&rmi), Ok(()));
}

#[test]
fn an_operation_that_never_ends_is_given_up() {
    let rmi = rmm(|_, _| incomplete(0, false, 1));
    let endless = Error::Broken(Fid::RMM_ACTIVATE, Broken::Endless);
    assert_eq!(activate(&rmi), Err(endless));
    assert!(!endless.changed_nothing());
}

#[test]
fn a_refusal_of_a_later_step_is_the_commands() {
    let rmi = rmm(|fid, _| match fid {
        Fid::RMM_ACTIVATE => incomplete(0, false, 1),
        _ => status(Status::ErrorGlobal),
    });
    let refused = Error::Refused(Fid::RMM_ACTIVATE, ReturnCode::new(11));
    assert_eq!(activate(&rmi), Err(refused));
}

#[test]
fn who_wants_memory_and_may_not_is_cancelled_if_that_is_possible() {
    for (can_cancel, cancels) in [(true, 1), (false, 0)] {
        let rmi = rmm(move |fid, args| match fid {
            Fid::RMM_ACTIVATE => incomplete(1, can_cancel, 5),
            Fid::OP_CANCEL => {
                assert_eq!(args.x(1), 5);
                success(&[])
            }
            other => panic!("{other}"),
        });
        assert_eq!(activate(&rmi), Err(Error::WantsMemory(Fid::RMM_ACTIVATE)));
        let cancelled = rmi
            .conduit()
            .counts()
            .commands()
            .filter(|(fid, ..)| *fid == Fid::OP_CANCEL)
            .count();
        assert_eq!(cancelled, cancels);
    }
}

#[test]
fn a_command_that_is_not_stateful_may_not_begin_an_operation() {
    let range = AddrRange::new(PhysAddr::new(0), PhysAddr::new(0x1000)).unwrap();
    let rmi = rmm(|_, _| incomplete(0, false, 1));
    let error = tracking_get(&rmi, range).unwrap_err();
    assert!(matches!(
        error,
        Error::Broken(Fid::GRANULE_TRACKING_GET, Broken::Request(_))
    ));
}

#[test]
fn errors_say_which_command_and_what() {
    let text = Error::Refused(Fid::RMM_ACTIVATE, ReturnCode::new(11)).to_string();
    assert_eq!(
        text,
        "RMI_RMM_ACTIVATE (0xc4000202): ErrorGlobal (x0 = 0xb)"
    );
    let text = Error::NotForwarded(Fid::GRANULE_RANGE_DELEGATE).to_string();
    assert!(
        text.contains("EL3") && text.contains("RMI_GRANULE_RANGE_DELEGATE"),
        "{text}"
    );
}

/// Whatever goes wrong, the log has the command, its number, and what the RMM said.
#[test]
fn every_error_names_its_command() {
    let code = ReturnCode::new(0x30d);
    let fid = Fid::RTT_DATA_MAP;
    let broken = |broken| Error::Broken(fid, broken);
    let errors = [
        (
            Error::Refused(fid, ReturnCode::new(0x204)),
            "ErrorRtt (x0 = 0x204)",
        ),
        (
            Error::Refused(fid, ReturnCode::new(0x77)),
            "Unknown(119) (x0 = 0x77)",
        ),
        (Error::NotForwarded(fid), "EL3"),
        (Error::StillBusy(fid), "busy"),
        (Error::Idle(fid), "without doing anything"),
        (Error::WantsMemory(fid), "memory that it may not ask for"),
        (Error::NoMemory(fid), "no memory"),
        (broken(Broken::Range { top: 0x1234 }), "0x1234"),
        (broken(Broken::Count { entries: 513 }), "513"),
        (broken(Broken::Endless), "never ends"),
        (broken(Broken::Stuck), "stuck"),
        (broken(Broken::Request(code)), "Incomplete (x0 = 0x30d)"),
    ];
    for (error, what) in errors {
        let text = error.to_string();
        let command = "RMI_RTT_DATA_MAP (0xc40001f5): ";
        assert!(text.starts_with(command) && text.contains(what), "{text}");
    }
}

/// What it wants is nothing that we know: not memory that it may not have.
#[test]
fn an_operation_that_wants_what_is_unknown() {
    let rmi = rmm(|_, _| incomplete(3, false, 1));
    let error = activate(&rmi).unwrap_err();
    assert!(matches!(
        error,
        Error::Broken(Fid::RMM_ACTIVATE, Broken::Request(_))
    ));
}
