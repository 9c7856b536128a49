// SPDX-License-Identifier: GPL-2.0

//! Pieces of memory that wait for their neighbours, where more lie apart than can wait.

use crate::alone::alone;
use crate::machine::Host;
use kvm_arm_rmi::rmi::Pending;
use kvm_arm_rmi::rmi::{Delegated, GranuleRange, Pages};
use std::cell::RefCell;

/// Adds pages of one piece of memory, by their numbers; returns which go on at once, one by one, and
/// which at the end.
fn add(order: &[usize]) -> (Vec<u64>, Vec<u64>) {
    let host = Host::new();
    let mut rest = host.alloc(7).unwrap().delegate(&host.rmi).done;
    let base = rest.as_ref().unwrap().range().base().raw();
    let mut pages: Vec<_> = (0..128)
        .map(|_| {
            let (page, more) = rest.take().unwrap().split(1);
            rest = more;
            page
        })
        .collect();
    let given = RefCell::new(Vec::new());
    let mut pending = Pending::new(|piece: GranuleRange<Delegated>| {
        given
            .borrow_mut()
            .push((piece.range().base().raw() - base) / 4096);
        piece
            .undelegate(&host.rmi)
            .done
            .into_iter()
            .for_each(|piece| host.free(piece));
    });
    for n in order {
        pending.add(pages[*n].take().unwrap());
    }
    let at_once = given.take();
    drop(pending);
    for page in pages.into_iter().flatten() {
        page.undelegate(&host.rmi)
            .done
            .into_iter()
            .for_each(|page| host.free(page));
    }
    host.assert_idle();
    (at_once, given.into_inner())
}

#[test]
fn who_has_waited_longest_goes_on() {
    alone(|| {
        let order: Vec<usize> = (0..35).map(|n| 2 * n).collect();
        let (at_once, mut last) = add(&order);
        assert_eq!(at_once, (0..19).map(|n| 2 * n).collect::<Vec<u64>>());
        last.sort_unstable();
        assert_eq!(last, (19..35).map(|n| 2 * n).collect::<Vec<u64>>());
    });
}

#[test]
fn neighbours_on_both_sides_become_one() {
    alone(|| {
        assert_eq!(add(&[1, 3, 9, 2, 0]), (vec![], vec![0, 9]));
    });
}
