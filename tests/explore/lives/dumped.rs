// SPDX-License-Identifier: GPL-2.0

//! What a crash kernel finds, whenever it looks: what the RMM has made of the host's granules.

use super::*;
use kvm_arm_rmi::realm::dump::{List, What};
use kvm_arm_rmi::rmi::PhysAddr;
use kvm_arm_rmi::sys::machine::machine;

/// The entries of a list, which begins there, and how many are missing. As a tool reads a dump: with
/// nothing but the layout in `asm/kvm_rmi_dump.h`.
fn read(list: u64) -> (Vec<(u64, u64)>, u64) {
    let word = |pa: u64| machine().firmware().read(pa);
    let (mut entries, mut page) = (Vec::new(), list);
    while page != 0 {
        for at in (page + 16..page + GRANULE_SIZE).step_by(16) {
            entries.push((word(at), word(at + 8)));
        }
        page = word(page);
    }
    entries.retain(|(granule, _)| *granule != 0);
    (entries, word(list + 8))
}

/// What is listed of all realms, in the order of addresses.
fn listed() -> Vec<(u64, u64)> {
    let (realms, missing) = read(machine().dump());
    assert_eq!(missing, 0);
    let mut all = Vec::new();
    for (list, what) in realms {
        assert_eq!(what, 1);
        let (entries, missing) = read(list);
        assert_eq!(missing, 0);
        all.extend(entries);
    }
    all.sort_unstable();
    all
}

/// What the RMM has made of granules, as the kinds of the list.
fn made() -> Vec<(u64, u64)> {
    let kind = |(pa, state)| match state {
        State::Rd => Some((pa, 2)),
        State::Rec => Some((pa, 3)),
        State::Rtt => Some((pa, 4)),
        _ => None,
    };
    granules().into_iter().filter_map(kind).collect()
}

/// The list and the RMM agree. Returns how many granules there are.
#[track_caller]
fn assert_all_listed() -> usize {
    let listed: Vec<_> = listed()
        .into_iter()
        .map(|(pa, what)| (pa, what & 0xff))
        .collect();
    assert_eq!(listed, made());
    listed.len()
}

#[test]
fn a_dump_has_what_realms_are_made_of() {
    on_host(Dialect::Main, |host| {
        assert_eq!(assert_all_listed(), 0);
        let bystander = host.bystander();
        let few = assert_all_listed();
        let world = host.vm().unwrap();
        assert_eq!(assert_all_listed(), few, "it is no realm yet");
        let far = Gmem::new();
        let vm = &world.vm;
        vm.add_slot(ALONE..ALONE + 512, 0x5000_0000, Some((&far, 0)))
            .unwrap();
        vm.set_private(ALONE..ALONE + 512, true).unwrap();
        world.populate(0x10..0x12).unwrap();
        assert_all_listed();
        run(&world, 0, private(ALONE..ALONE + 4)).unwrap();
        run(&world, 0, shared(SHARED..SHARED + 1)).unwrap();
        let most = assert_all_listed();
        // Where the tables are: all there is from that address on is what the level has entries for.
        let tables = |level: u64, ipa: u64| {
            let what = 4 | level << 8 | ipa;
            listed().iter().filter(|entry| entry.1 == what).count()
        };
        assert_eq!(tables(3, ALONE * GRANULE_SIZE), 1);
        // A table is folded, and its granule kept for another one.
        let ops = vec![ripas(ALONE..ALONE + 512, false, true)];
        run(&world, 0, ops).unwrap();
        assert_eq!(assert_all_listed(), most - 1);
        assert_eq!(tables(3, ALONE * GRANULE_SIZE), 0);
        let numbers = |kind: u64| {
            let entries = listed().into_iter();
            let of_kind = entries.filter(move |(_, what)| what & 0xff == kind);
            of_kind.map(|(_, what)| what >> 12).collect::<Vec<_>>()
        };
        let mut recs = numbers(3);
        recs.sort_unstable();
        assert_eq!(recs, [0, 1], "the bystander has no RECs yet");
        world.end();
        assert_eq!(assert_all_listed(), few);
        bystander.end();
        assert_eq!(assert_all_listed(), 0);
        assert_eq!(read(machine().dump()), (Vec::new(), 0));
    });
}

/// Without a component nobody finds anything.
#[test]
fn no_component_no_list() {
    once(|| {
        machine::on(Embedded::new(), |machine| {
            let all = start();
            assert_ne!(machine.dump(), 0);
            drop(all);
            assert_eq!(machine.dump(), 0);
        });
    });
}

/// A list has as many pages as it takes, and uses its free places before it takes another. What there is
/// no memory for is counted.
#[test]
fn a_list_that_grows() {
    const PER_PAGE: u64 = 255;
    let granule = |n: u64| PhysAddr::new((n + 1) * GRANULE_SIZE);
    once(move || {
        machine::on(Embedded::new(), |machine| {
            let before = machine.pages_in_use();
            let mut list = List::new().unwrap();
            let pages = || machine.pages_in_use() - before;
            for n in 0..2 * PER_PAGE {
                list.add(granule(n), What::Rec(n));
            }
            assert_eq!(pages(), 2);
            for n in 10..PER_PAGE + 10 {
                list.remove(granule(n));
            }
            list.remove(granule(3 * PER_PAGE));
            for n in 10..PER_PAGE + 10 {
                list.add(granule(n), What::Rec(n));
            }
            assert_eq!(pages(), 2);
            machine.fail_allocation(1);
            list.add(granule(2 * PER_PAGE), What::Rd);
            list.add(granule(2 * PER_PAGE), What::Rec(2 * PER_PAGE));
            assert_eq!(pages(), 3);
            let (mut entries, missing) = read(list.pa().raw());
            entries.sort_unstable();
            let all = (0..=2 * PER_PAGE).map(|n| (granule(n).raw(), 3 | n << 12));
            assert_eq!(entries, all.collect::<Vec<_>>());
            assert_eq!(missing, 1);
            drop(list);
            assert_eq!(pages(), 0);
        });
    });
}
