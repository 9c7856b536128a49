// SPDX-License-Identifier: GPL-2.0

//! The dialect of the bet2 draft: the same host, on an RMM that wants memory for a realm, and wants
//! PSCI_COMPLETE put differently. RMMs that want the state of undelegated memory written differently.

use super::*;
use ::rmm::rmi::Undelegated;
use std::cell::Cell;
use std::rc::Rc;

/// On a good RMM no command fails that the host could have foreseen.
#[test]
fn a_life_without_a_failure() {
    assert_eq!(good_life(Dialect::Main).failed(), []);
}

/// A realm has what its vCPUs have, as far as the RMM has it: words 3 and 4 of its parameters.
#[test]
fn a_realm_has_the_breakpoints_of_its_vcpus() {
    let numbers = on_host(Dialect::Main, |host| {
        let seen = Rc::new(Cell::new((0, 0)));
        let told = seen.clone();
        replace(move |args, rmm| {
            if args.x(0) == u64::from(Fid::REALM_CREATE.raw()) {
                let params = rmm_machine().fake().data(args.x(2));
                told.set((params[3], params[4]));
            }
            rmm(args)
        });
        assert_eq!(host.life(), Ok(()));
        seen.get()
    });
    // Of ID_AA64DFR0_EL1: both have one less than there are.
    assert_eq!(numbers, (5, 3));
}

/// One realm, two RECs, of which one turns the other on.
#[test]
fn a_whole_life() {
    let life = good_life(Dialect::Bet2);
    // The form that other RMMs take is tried first, and changes nothing.
    assert_eq!(life.failed(), [(Fid::PSCI_COMPLETE, 1)]);
    assert_eq!(life.calls(Fid::PSCI_COMPLETE), 2);
    // 16 for each REC in one piece; for the realm nine, which are eight and one.
    assert_eq!(life.calls(Fid::OP_MEM_DONATE), 2 + 2);
    // All come back, merged.
    assert_eq!(life.calls(Fid::OP_MEM_RECLAIM), 2 + 1);
    let realms = [Fid::REALM_CREATE, Fid::REALM_DESTROY].map(|fid| life.calls(fid));
    assert_eq!(realms, [1, 1]);
}

/// What the realm borrows is accounted for from its first moment to its last.
#[test]
fn a_realm_borrows_nine_granules() {
    let life = on_host(Dialect::Bet2, |host| {
        let world = host.vm().unwrap();
        let pages = host.outcome(Ok(())).pages;
        world.begin().unwrap();
        let now = host.outcome(Ok(()));
        // The RD, its root table, and what was lent.
        assert_eq!(now.counts, (1 + 1 + 9, 0));
        assert_eq!(now.realm, 1 + 1 + 9);
        // And a page for what a crash kernel finds of it.
        assert_eq!(now.pages, pages + 1 + 1 + 9 + 1);
        world.end();
        host.outcome(Ok(()))
    });
    life.assert_idle("borrowed");
    assert_eq!(life.failed(), []);
}

/// An interrupt that is pending ends a map command before it has begun, with SUCCESS.
#[test]
fn interrupts_end_commands_that_have_done_nothing() {
    for every in [2, 3, 7] {
        let life = on_host(Dialect::Bet2, move |host| {
            rmm_machine().fake().interrupt_after(every);
            host.outcome(host.life())
        });
        assert_eq!(life.result, Ok(()), "every {every}");
        life.assert_idle(&format!("every {every}"));
    }
}

/// Whole lives on RMMs of either kind: one refusal at most, and nothing is left.
#[test]
fn realms_live_on_rmms_of_either_form() {
    for (form, refused) in [
        (Undelegated::Any, 0),
        (Undelegated::Bit, 0),
        (Undelegated::Field, 1),
    ] {
        let life = on_host(Dialect::Main, move |host| {
            rmm_machine().rmm.want_undelegated(form);
            host.outcome(host.life())
        });
        assert_eq!(life.result, Ok(()), "{form:?}");
        life.assert_idle(&format!("{form:?}"));
        let failed: u64 = life.failed().iter().map(|(_, errors)| errors).sum();
        assert_eq!(failed, refused, "{form:?}");
    }
}
