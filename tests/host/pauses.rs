// SPDX-License-Identifier: GPL-2.0

//! Work that takes as many commands as there are granules, on an RMM that does one at a time: between any
//! two of them others can run. (What is no operation of this host's own may sleep there.)

use crate::alone::alone;
use crate::fake::{incomplete, rmm, success, Fake, Page};
use crate::lending::a_realm;
use crate::world::Shared;
use kvm_arm_rmi::mmu::{self, Step};
use kvm_arm_rmi::realm::table_map::TableMap;
use kvm_arm_rmi::realm::{destroy_tables, MissingTable, Tables};
use kvm_arm_rmi::rmi::cmd::data::Pieces;
use kvm_arm_rmi::rmi::cmd::realm::RdName;
use kvm_arm_rmi::rmi::cmd::rec::RecName;
use kvm_arm_rmi::rmi::cmd::rmm::activate;
use kvm_arm_rmi::rmi::cmd::unprot::{Access, MemAttr};
use kvm_arm_rmi::rmi::{
    check_ram, AddrRange, Delegated, Fid, GranuleRange, IpaRange, IpaSpace, Pages, PhysAddr,
    Protected, Regs, Rmi, RttLevel, Status, Unprotected, GRANULE_SIZE,
};

const GRANULES: u64 = 8;

/// Does something on such an RMM: that takes so many commands.
fn does<R>(
    answer: impl FnMut(Fid, &Regs) -> Regs,
    commands: u64,
    work: impl FnOnce(&Rmi<Fake<Counted<'_>>>) -> R,
) -> R {
    let mut answer = answer;
    let calls = std::cell::Cell::new(0);
    let counted: Counted<'_> = Box::new(|fid, args| {
        calls.set(calls.get() + 1);
        answer(fid, args)
    });
    let rmi = rmm(counted);
    let result = work(&rmi);
    assert_eq!(calls.get(), commands);
    assert!(rmi.conduit().pauses() + 1 >= commands);
    result
}

type Counted<'a> = Box<dyn FnMut(Fid, &Regs) -> Regs + 'a>;

/// A granule of a range that begins with this register.
fn one_from(register: usize) -> impl FnMut(Fid, &Regs) -> Regs {
    move |_, args| success(&[args.x(register) + GRANULE_SIZE])
}

fn memory() -> AddrRange {
    let top = GRANULES * GRANULE_SIZE;
    AddrRange::new(PhysAddr::new(0x8000_0000), PhysAddr::new(0x8000_0000 + top)).unwrap()
}

#[test]
fn delegation() {
    let world = Shared::new(GRANULES);
    let granules = world.alloc(3).unwrap();
    let moved = does(one_from(1), GRANULES, |rmi| granules.delegate(rmi));
    let granules: GranuleRange<Delegated> = moved.done.unwrap();
    let moved = does(one_from(1), GRANULES, |rmi| granules.undelegate(rmi));
    world.free(moved.done.unwrap());
}

/// A realm with tables down to granules.
fn with_tables(test: impl FnOnce(RdName, &Tables<'_>) + Send + 'static) {
    alone(|| {
        let set = TableMap::new().unwrap();
        for half in [0, 1 << 38] {
            for level in [RttLevel::L2, RttLevel::L3] {
                let table = MissingTable { level, ipa: half };
                assert!(set.reserve(table));
                set.insert(table);
            }
        }
        let tables = Tables {
            set: &set,
            start: RttLevel::L1,
        };
        test(a_realm(), &tables);
    });
}

fn space() -> IpaSpace {
    IpaSpace::new(39).unwrap()
}

fn protected() -> IpaRange<Protected> {
    space().protected(0, GRANULES * GRANULE_SIZE).unwrap()
}

fn unprotected() -> IpaRange<Unprotected> {
    space().unprotected(0, GRANULES * GRANULE_SIZE).unwrap()
}

#[test]
fn memory_of_the_realms() {
    with_tables(|rd, tables| {
        let world = Shared::new(GRANULES);
        let gpt = world.clone();
        let rmi = rmm(move |fid, args| gpt.move_granules(fid, args));
        let mut pieces = Pieces::new();
        let piece = world.alloc(3).unwrap().delegate(&rmi).done.unwrap();
        pieces.push(piece).unwrap();
        let (range, page) = (protected(), &mut Page::new());
        let step = does(one_from(2), GRANULES, |rmi| {
            mmu::map_protected(
                rmi,
                rd,
                tables,
                range,
                (&mut pieces, |_| {}),
                RttLevel::L3,
                page,
            )
        });
        assert_eq!(step, Step::Done);
        let step = does(one_from(2), GRANULES, |rmi| {
            mmu::unmap_protected(rmi, rd, tables, range, page, drop)
        });
        assert_eq!(step, Step::Done);
    });
}

#[test]
fn memory_that_it_shares() {
    with_tables(|rd, tables| {
        let how = (MemAttr::Normal, Access::ReadWrite);
        let step = does(one_from(2), GRANULES, |rmi| {
            let (range, level) = (unprotected(), RttLevel::L3);
            mmu::map_unprotected(rmi, rd, tables, range, memory(), level, how)
        });
        assert_eq!(step, Step::Done);
    });
}

/// What it takes its memory for; half of that was destroyed, and each granule is looked at.
#[test]
fn ripas() {
    with_tables(|rd, tables| {
        let rec = RecName::from_raw(0x9000_0000);
        let step = does(one_from(3), GRANULES, |rmi| {
            mmu::set_ripas(rmi, rd, rec, tables, protected())
        });
        assert_eq!(step, Step::Done);
        let step = does(one_from(2), GRANULES, |rmi| {
            mmu::init_ripas(rmi, rd, tables, protected())
        });
        assert_eq!(step, Step::Done);
        let destroyed = |fid, _: &Regs| match fid {
            Fid::RTT_READ_ENTRY => success(&[3, 0, 0, 2]),
            _ => Regs::new(Status::ErrorRtt.raw().into(), &[]),
        };
        let rmi = rmm(destroyed);
        let step = mmu::init_ripas(&rmi, rd, tables, protected());
        assert_eq!(step, Step::Done);
        // After each that is passed over.
        assert_eq!(rmi.conduit().pauses(), GRANULES - 1);
    });
}

#[test]
fn tables() {
    with_tables(|rd, tables| {
        let (mut count, all) = (0, 4);
        let gone = does(
            |_, _| success(&[0x8000_0000]),
            all,
            |rmi| destroy_tables(rmi, rd, tables, |_| count += 1),
        );
        assert_eq!((gone, count), (Ok(()), all));
    });
}

/// An RMM that is busy, and an operation that takes several steps: between any two calls.
#[test]
#[expect(
    clippy::redundant_closure,
    reason = "the function by itself is one of a single lifetime"
)]
fn an_rmm_that_has_others_to_serve() {
    let mut calls = 0;
    let busy = move |_, _: &Regs| {
        calls += 1;
        match calls {
            1..GRANULES => Regs::new(Status::Busy.raw().into(), &[]),
            _ => success(&[]),
        }
    };
    assert_eq!(does(busy, GRANULES, |rmi| activate(rmi)), Ok(()));
    let mut calls = 0;
    let in_steps = move |_, _: &Regs| {
        calls += 1;
        match calls {
            1..GRANULES => incomplete(0, false, 0),
            _ => success(&[]),
        }
    };
    assert_eq!(does(in_steps, GRANULES, |rmi| activate(rmi)), Ok(()));
}

/// All of the host's memory is looked at.
#[test]
fn memory_of_the_host() {
    let one = |_, args: &Regs| success(&[0, 2, args.x(1) + GRANULE_SIZE]);
    assert_eq!(does(one, GRANULES, |rmi| check_ram(rmi, memory())), Ok(()));
}
