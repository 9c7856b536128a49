// SPDX-License-Identifier: GPL-2.0

//! Memory that an operation borrows and gives back while it goes on: the account of it is kept to the
//! granule.

use crate::fake::{incomplete, rmm, status, success, Fake, Page};
use crate::lending::{delegated, donate, make_realm, List, REALM, REC};
use crate::world::Shared;
use kvm_arm_rmi::rmi::cmd::realm::{self, RealmGranules, Vmid};
use kvm_arm_rmi::rmi::cmd::rec;
use kvm_arm_rmi::rmi::{Fid, Regs, Rmi, SharedPage, Status};

/// A granule, as the delegation commands name it.
fn one(fid: Fid, word: u64) -> (Fid, Regs) {
    let base = word & !0xfff;
    (fid, Regs::new(0, &[base, base + 0x1000]))
}

type Answer = Box<dyn FnMut(Fid, &Regs) -> Regs>;

/// Makes a REC on an RMM that answers by `answer` what is not about delegation, where there is so much
/// memory to borrow. Returns whether there is one, and the host's end.
fn make_rec(
    memory: u64,
    answer: impl FnOnce(Shared, List) -> Answer,
) -> (bool, Rmi<Fake<Answer>>, Shared) {
    // The realm and the REC themselves are three.
    let (world, mut list) = (Shared::new(3 + memory), List::new());
    let (gpt, mut answer) = (world.clone(), answer(world.clone(), list.clone()));
    let rmi = rmm(Box::new(move |fid, args: &Regs| match fid {
        Fid::GRANULE_RANGE_DELEGATE => gpt.move_granules(fid, args),
        Fid::REALM_CREATE => success(&[]),
        _ => answer(fid, args),
    }) as Answer);
    let rd = make_realm(&rmi, &world).name();
    let (granule, page) = (delegated(&rmi, &world), &mut Page::new());
    let made = rec::create(&rmi, rd, granule, &REC, page, &world, &mut list);
    (made.is_ok(), rmi, world)
}

/// One granule comes and goes, more often than there is room for loans, in either state.
#[test]
fn memory_that_comes_and_goes() {
    for undelegated in [false, true] {
        let (made, rmi, world) = make_rec(1, |world, mut list| {
            let mut left = 40;
            Box::new(move |fid, args| match fid {
                Fid::REC_CREATE => donate(0, 1, true),
                Fid::OP_MEM_DONATE => {
                    let word = list.read(0);
                    if undelegated {
                        let (fid, args) = one(Fid::GRANULE_RANGE_UNDELEGATE, word);
                        world.move_granules(fid, &args);
                    }
                    list.write(0, word | u64::from(undelegated) << 63);
                    incomplete(2, false, 0)
                }
                Fid::OP_MEM_RECLAIM => {
                    left -= 1;
                    match left {
                        0 => incomplete(0, false, 1),
                        _ => donate(1, 1, true),
                    }
                }
                Fid::GRANULE_RANGE_UNDELEGATE => world.move_granules(fid, args),
                _ => success(&[]),
            })
        });
        assert!(made);
        let counts = rmi.conduit().counts();
        assert_eq!((counts.delegated(), counts.leaked()), (3, 0));
        assert_eq!((world.delegated(), world.allocated()), (3, 3));
    }
}

/// What comes back and cannot be undelegated is leaked.
#[test]
fn memory_that_stays_delegated() {
    let (made, rmi, world) = make_rec(1, |_, _| {
        Box::new(|fid, _| match fid {
            Fid::REC_CREATE => donate(0, 1, true),
            Fid::OP_MEM_DONATE => incomplete(2, false, 0),
            Fid::OP_MEM_RECLAIM => incomplete(0, false, 1),
            Fid::GRANULE_RANGE_UNDELEGATE => status(Status::ErrorInput),
            _ => success(&[]),
        })
    });
    assert!(made);
    let counts = rmi.conduit().counts();
    assert_eq!((counts.delegated(), counts.leaked()), (4, 1));
    assert_eq!((world.delegated(), world.allocated()), (4, 4));
}

/// What is to be in one piece is not offered in several; and a list may be full, though not fuller.
#[test]
fn memory_in_one_piece_and_a_full_list() {
    for (memory, entries, expected) in [(3, 0, false), (4, 512, true), (4, 513, false)] {
        let (made, ..) = make_rec(memory, |_, mut list| {
            Box::new(move |fid, _| match fid {
                Fid::REC_CREATE => {
                    let mut regs = donate(0, 4, true);
                    regs.0[2] |= 1 << 16;
                    regs
                }
                Fid::OP_MEM_DONATE => {
                    assert_eq!(list.read(0) >> 2 & 0x3ff, 4);
                    incomplete(2, false, 0)
                }
                // Nothing that can be.
                Fid::OP_MEM_RECLAIM => {
                    list.write(0, 0);
                    incomplete(0, false, entries)
                }
                _ => success(&[]),
            })
        });
        assert_eq!(made, expected, "{memory} {entries}");
    }
}

/// A realm that is refused although it has got memory: that is lost, and what it was to be made of is not.
#[test]
fn a_realm_that_keeps_what_it_has_borrowed() {
    let (world, mut list) = (Shared::new(100), List::new());
    let gpt = world.clone();
    let rmi = rmm(move |fid, args: &Regs| match fid {
        Fid::REALM_CREATE => donate(0, 8, true),
        Fid::OP_MEM_DONATE => incomplete(0, false, 8),
        Fid::OP_CONTINUE => status(Status::ErrorInput),
        _ => gpt.move_granules(fid, args),
    });
    let (rd, roots) = (delegated(&rmi, &world), delegated(&rmi, &world));
    let vmid = Vmid::new(0);
    let (granules, page) = (RealmGranules { rd, roots, vmid }, &mut Page::new());
    let failed = realm::create(&rmi, granules, &REALM, page, &world, &mut list).unwrap_err();
    assert!(failed.granules.is_some());
    let counts = rmi.conduit().counts();
    assert_eq!((counts.delegated(), counts.leaked()), (10, 8));
}
