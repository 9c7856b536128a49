// SPDX-License-Identifier: GPL-2.0

//! RMMs that want the state of undelegated memory written differently.

use crate::fake::{rmm, status, success, Page};
use kvm_arm_rmi::rmi::cmd::data::unmap;
use kvm_arm_rmi::rmi::cmd::realm::RdName;
use kvm_arm_rmi::rmi::cmd::unprot::{unprot_map, Access, MemAttr};
use kvm_arm_rmi::rmi::{
    AddrRange, Conduit, Error, Fid, IpaRange, IpaSpace, PhysAddr, Regs, ReturnCode, Rmi, RttLevel,
    Status, Unprotected,
};
use std::cell::RefCell;
use std::rc::Rc;

fn range() -> IpaRange<Unprotected> {
    let space = IpaSpace::new(39).unwrap();
    space.unprotected(0x3000, 0x4000).unwrap()
}

fn map<C: Conduit>(rmi: &Rmi<C>, rd: RdName) -> Result<u64, Error> {
    let memory = AddrRange::new(PhysAddr::new(0x9000_0000), PhysAddr::new(0x9000_1000));
    let how = (MemAttr::Normal, Access::ReadWrite);
    unprot_map(rmi, rd, range(), memory.unwrap(), RttLevel::L3, how)
}

/// Bits 63:62 of the descriptors that an RMM saw, which accepts those in `accepts` alone.
fn states(accepts: &'static [u64], maps: usize) -> (Vec<u64>, Vec<Result<u64, Error>>) {
    let seen = Rc::new(RefCell::new(Vec::new()));
    let log = seen.clone();
    let rmi = rmm(move |fid, args: &Regs| {
        assert_eq!(fid, Fid::RTT_UNPROT_MAP);
        let state = args.x(5) >> 62;
        log.borrow_mut().push(state);
        match accepts.contains(&state) {
            true => success(&[args.x(3)]),
            false => status(Status::ErrorInput),
        }
    });
    let rd = crate::lending::a_realm();
    let results = (0..maps).map(|_| map(&rmi, rd)).collect();
    let states = seen.borrow().clone();
    (states, results)
}

/// The right form is found at once or by one refusal, and is known from then on.
#[test]
fn the_form_of_the_state_is_found_out_once() {
    let done = vec![Ok(range().top()); 3];
    // TF-RMM looks at bit 63.
    assert_eq!(states(&[2], 3), (vec![2, 2, 2], done.clone()));
    // Others at both bits.
    assert_eq!(states(&[1], 3), (vec![2, 1, 1, 1], done.clone()));
    // TF-RMM as it was in July of 2026 does not look.
    assert_eq!(states(&[0, 1, 2, 3], 3), (vec![2, 2, 2], done));
}

/// What is wrong in both forms is the command's error, as often as it is tried.
#[test]
fn what_is_refused_in_both_forms_is_refused() {
    let refused = Err(Error::Refused(Fid::RTT_UNPROT_MAP, ReturnCode::new(1)));
    assert_eq!(states(&[], 2), (vec![2, 1, 2, 1], vec![refused; 2]));
}

/// Another refusal says nothing about the form.
#[test]
fn other_refusals_are_not_tried_again() {
    let mut calls = 0;
    let rmi = rmm(move |_, _| {
        calls += 1;
        assert_eq!(calls, 1);
        Regs::new(0x204, &[])
    });
    let error = map(&rmi, crate::lending::a_realm()).unwrap_err();
    assert_eq!(error.status(), Some(Status::ErrorRtt));
}

/// Of what an unmap lists the host takes what is delegated, whichever way the rest is said not to be.
#[test]
fn undelegated_memory_in_a_list_is_nobodys() {
    let space = IpaSpace::new(39).unwrap();
    let range = space.protected(0, 0x4000).unwrap();
    let one = |pa: u64, state: u64| pa | 1 << 2 | state << 62;
    let mut list = Page::new();
    for (n, state) in [0, 1, 2, 3].into_iter().enumerate() {
        list.0[n] = one(0x9000_0000 + n as u64 * 0x1000, state);
    }
    let rmi = rmm(|_, args: &Regs| success(&[args.x(3), 0, 4]));
    let mut taken = Vec::new();
    let rd = crate::lending::a_realm();
    let top = unmap(&rmi, rd, range, &mut list, |granules| {
        taken.push(granules.range().base().raw());
        granules.leak(&rmi);
    });
    assert_eq!((top, taken), (Ok(0x4000), vec![0x9000_0000]));
}
