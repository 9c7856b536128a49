// SPDX-License-Identifier: GPL-2.0

//! Memory for stateful operations: RECs as TF-RMM makes them, and RMMs that do it badly.

use crate::fake::{incomplete, rmm, status, success, Page};
use crate::world::Shared;
use kvm_arm_rmi::rmi::cmd::realm::{self, HashAlgorithm, Rd, RealmGranules, Vmid};
use kvm_arm_rmi::rmi::cmd::rec;
use kvm_arm_rmi::rmi::{
    Broken,
    Conduit,
    Error,
    Fid,
    Form,
    MemState,
    Pages,
    RangeDesc,
    Regs,
    Rmi,
    RttLevel,
    SharedPage,
    Status,
    GRANULE_SIZE, //
};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub(crate) const REALM: realm::Params = realm::Params {
    s2sz: 39,
    lpa2: false,
    sve_vq: None,
    breakpoints: 2,
    watchpoints: 2,
    pmu_counters: None,
    hash: HashAlgorithm::Sha256,
    rpv: [0; 8],
    rtt_level_start: 1,
};

pub(crate) const REC: rec::Params = rec::Params {
    runnable: true,
    mpidr: 0,
    pc: 0,
    gprs: [0; 8],
};

/// The list page, which the RMM of a test can see.
#[derive(Clone)]
pub(crate) struct List(Rc<RefCell<Page>>);

impl List {
    pub(crate) fn new() -> Self {
        Self(Rc::new(RefCell::new(Page::new())))
    }

    /// The descriptors that the host wrote, decoded.
    fn granules(&self, entries: u64) -> Vec<u64> {
        let page = self.0.borrow();
        let ranges = page.0[..entries as usize].iter().map(|word| {
            let (range, state) = RangeDesc::from_raw(*word).decode().expect("a descriptor");
            assert_eq!(state, MemState::Delegated);
            range
        });
        ranges
            .flat_map(|range| (range.base().raw()..range.top().raw()).step_by(4096))
            .collect()
    }
}

impl SharedPage for List {
    fn pa(&self) -> kvm_arm_rmi::rmi::PhysAddr {
        self.0.borrow().pa()
    }
    fn write(&mut self, offset: usize, value: u64) {
        self.0.borrow_mut().write(offset, value);
    }
    fn read(&self, offset: usize) -> u64 {
        self.0.borrow().read(offset)
    }
}

/// `RmiOpMemDonateReq` for `count` granules that are to be delegated.
fn request(count: u64) -> u64 {
    count << 2
}

/// INCOMPLETE that asks for memory: `x1` is a handle or a count.
pub(crate) fn donate(x1: u64, count: u64, can_cancel: bool) -> Regs {
    let mut regs = incomplete(1, can_cancel, x1);
    regs.0[2] = request(count);
    regs
}

pub(crate) fn delegated<C: Conduit>(
    rmi: &Rmi<C>,
    world: &Shared,
) -> kvm_arm_rmi::rmi::GranuleRange<kvm_arm_rmi::rmi::Delegated> {
    world.alloc(0).unwrap().delegate(rmi).done.unwrap()
}

/// A realm on an RMM that takes REALM_CREATE for granted.
pub(crate) fn make_realm<C: Conduit>(rmi: &Rmi<C>, world: &Shared) -> Rd {
    let granules = RealmGranules {
        rd: delegated(rmi, world),
        roots: delegated(rmi, world),
        vmid: Vmid::new(0),
    };
    let mut page = Page::new();
    realm::create(rmi, granules, &REALM, &mut page, world, &mut List::new()).unwrap()
}

/// The name of a realm, for an RMM that does not look.
pub(crate) fn a_realm() -> realm::RdName {
    let world = Shared::new(2);
    let any = world.clone();
    let rmi = rmm(move |fid, args| match fid {
        Fid::REALM_CREATE => success(&[]),
        _ => any.move_granules(fid, args),
    });
    make_realm(&rmi, &world).name()
}

/// TF-RMM's way: it wants `wanted` granules, takes at most `step` at once, and gives them back
/// merged.
fn tf_rmm(world: Shared, list: List, wanted: u64, step: u64) -> impl FnMut(Fid, &Regs) -> Regs {
    let mut has: Vec<u64> = Vec::new();
    let handle = 0;
    move |fid, args| match fid {
        Fid::GRANULE_RANGE_DELEGATE | Fid::GRANULE_RANGE_UNDELEGATE => {
            world.move_granules(fid, args)
        }
        Fid::REALM_CREATE => success(&[]),
        Fid::REC_CREATE => donate(handle, wanted, false),
        Fid::OP_MEM_DONATE => {
            assert_eq!(args.x(1), handle);
            let offer = list.granules(args.x(3));
            let left = wanted - has.len() as u64;
            assert!(offer.len() as u64 <= left, "more than it asked for");
            let taken = step.min(offer.len() as u64);
            has.extend(&offer[..taken as usize]);
            match wanted - has.len() as u64 {
                0 => incomplete(0, false, taken),
                left => donate(taken, left, false),
            }
        }
        Fid::OP_CONTINUE => success(&[]),
        Fid::REC_DESTROY => incomplete(2, false, handle),
        Fid::OP_MEM_RECLAIM => {
            let mut words = Vec::new();
            has.sort_unstable();
            while let Some(first) = has.first().copied() {
                let run =
                    (0..).take_while(|n| has.get(*n as usize) == Some(&(first + n * GRANULE_SIZE)));
                let run = run.count();
                has.drain(..run);
                words.push(first | ((run as u64) << 2));
            }
            list.0.borrow_mut().0[..words.len()].copy_from_slice(&words);
            incomplete(0, false, words.len() as u64)
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_rec_gets_what_it_asks_for_and_all_of_it_comes_back() {
    for (wanted, step) in [(16, 16), (16, 1), (16, 5), (1, 1), (40, 64), (100, 64)] {
        let world = Shared::new(1000);
        let mut list = List::new();
        let rmi = rmm(tf_rmm(world.clone(), list.clone(), wanted, step));
        let rd = make_realm(&rmi, &world);
        let before = world.allocated();

        let granule = delegated(&rmi, &world);
        let rec = rec::create(
            &rmi,
            rd.name(),
            granule,
            &REC,
            &mut Page::new(),
            &world,
            &mut list,
        );
        let mut slot = Some(rec.expect("created"));
        let more = 1 + wanted as usize;
        assert_eq!(world.allocated(), before + more, "{wanted} by {step}");
        assert_eq!(
            rmi.conduit().counts().delegated() as usize,
            world.delegated()
        );

        let granule = rec::destroy(&rmi, &mut slot, &world, &mut list)
            .unwrap()
            .unwrap();
        world.free(granule.undelegate(&rmi).done.unwrap());
        assert_eq!(world.allocated(), before);
        assert_eq!(
            rmi.conduit().counts().delegated() as usize,
            world.delegated()
        );
        assert_eq!(rmi.conduit().counts().leaked(), 0);
    }
}

#[test]
fn one_allocation_one_delegation_and_one_donation_are_enough_for_tf_rmms_rec() {
    let world = Shared::new(1000);
    let mut list = List::new();
    let rmi = rmm(tf_rmm(world.clone(), list.clone(), 16, 16));
    let rd = make_realm(&rmi, &world);
    let granule = delegated(&rmi, &world);
    let _rec = rec::create(
        &rmi,
        rd.name(),
        granule,
        &REC,
        &mut Page::new(),
        &world,
        &mut list,
    )
    .unwrap();
    let calls = |fid| {
        rmi.conduit()
            .counts()
            .commands()
            .find(|(f, ..)| *f == fid)
            .map_or(0, |(_, n, _)| n)
    };
    assert_eq!(calls(Fid::OP_MEM_DONATE), 1);
    assert_eq!(
        calls(Fid::GRANULE_RANGE_DELEGATE),
        4,
        "RD, root, REC and the loan"
    );
}

/// Answers REC_CREATE by `answer`, everything else as a good RMM.
fn create_rec(
    memory: u64,
    mut answer: impl FnMut(Fid, &Regs) -> Regs,
) -> (Option<Error>, Shared, u64, u64) {
    let world = Shared::new(memory);
    let gpt = world.clone();
    let rmi = rmm(move |fid, args| match fid {
        Fid::GRANULE_RANGE_DELEGATE | Fid::GRANULE_RANGE_UNDELEGATE => gpt.move_granules(fid, args),
        Fid::REALM_CREATE => success(&[]),
        _ => answer(fid, args),
    });
    let rd = make_realm(&rmi, &world);
    let granule = delegated(&rmi, &world);
    let result = rec::create(
        &rmi,
        rd.name(),
        granule,
        &REC,
        &mut Page::new(),
        &world,
        &mut List::new(),
    );
    let error = match result {
        Ok(_) => None,
        Err(failed) => {
            if let Some(granule) = failed.granules {
                world.free(granule.undelegate(&rmi).done.unwrap());
            }
            Some(failed.error)
        }
    };
    let (held, leaked) = (
        rmi.conduit().counts().delegated(),
        rmi.conduit().counts().leaked(),
    );
    assert_eq!(held as usize, world.delegated());
    (error, world, held, leaked)
}

#[test]
fn a_refusal_gives_the_granule_back() {
    let (error, world, held, leaked) = create_rec(100, |_, _| status(Status::ErrorRealm));
    assert_eq!(error.unwrap().status(), Some(Status::ErrorRealm));
    assert_eq!((world.allocated(), held, leaked), (2, 2, 0));
}

#[test]
fn without_memory_an_operation_is_cancelled() {
    // The realm and the REC take 3 granules. Either there are no more, or the RMM wants none.
    for memory in [3, 100] {
        let cancelled = Rc::new(Cell::new(false));
        let seen = cancelled.clone();
        let (error, world, held, leaked) = create_rec(memory, move |fid, _| match fid {
            Fid::REC_CREATE => donate(4, 20, true),
            Fid::OP_MEM_DONATE => donate(0, 20, true),
            Fid::OP_CANCEL => {
                seen.set(true);
                success(&[])
            }
            other => panic!("{other}"),
        });
        assert_eq!(error, Some(Error::NoMemory(Fid::REC_CREATE)));
        assert!(cancelled.get());
        assert_eq!((world.allocated(), held, leaked), (2, 2, 0));
    }
}

#[test]
fn memory_that_cannot_be_delegated_is_as_good_as_none() {
    for (can_cancel, error, leaked) in [
        (true, Error::NoMemory(Fid::REC_CREATE), 0),
        (false, Error::Broken(Fid::REC_CREATE, Broken::Stuck), 1),
    ] {
        let world = Shared::new(100);
        let gpt = world.clone();
        let (mut delegations, cancelled) = (0, Rc::new(Cell::new(false)));
        let seen = cancelled.clone();
        let rmi = rmm(move |fid, args| match fid {
            Fid::GRANULE_RANGE_DELEGATE => {
                delegations += 1;
                // The first are the realm's and the REC's own.
                match delegations {
                    1..=3 => gpt.move_granules(fid, args),
                    _ => status(Status::ErrorInput),
                }
            }
            Fid::GRANULE_RANGE_UNDELEGATE => gpt.move_granules(fid, args),
            Fid::REALM_CREATE => success(&[]),
            Fid::REC_CREATE => donate(4, 16, can_cancel),
            // What it cannot take is no reason to end.
            Fid::OP_MEM_DONATE => status(Status::ErrorInput),
            Fid::OP_CANCEL => {
                seen.set(true);
                success(&[])
            }
            other => panic!("{other}"),
        });
        let rd = make_realm(&rmi, &world);
        let granule = delegated(&rmi, &world);
        let (page, list) = (&mut Page::new(), &mut List::new());
        let failed = rec::create(&rmi, rd.name(), granule, &REC, page, &world, list).unwrap_err();
        assert_eq!(failed.error, error);
        assert_eq!(failed.granules.is_some(), can_cancel);
        assert_eq!(cancelled.get(), can_cancel);
        assert_eq!(world.allocated(), 3);
        assert_eq!(rmi.conduit().counts().leaked(), leaked);
    }
}

#[test]
fn an_operation_that_is_not_cancelled_takes_its_object_with_it() {
    let (error, world, held, leaked) = create_rec(3, |fid, _| match fid {
        Fid::REC_CREATE => donate(4, 16, true),
        _ => status(Status::Busy),
    });
    assert_eq!(error, Some(Error::Broken(Fid::REC_CREATE, Broken::Stuck)));
    assert_eq!((world.allocated(), held, leaked), (3, 3, 1));
}

/// There is no memory, and the operation cannot be cancelled. It is offered what it cannot take: it ends
/// for that, as TF-RMM's do; or goes on to ask; or says that it has it.
#[test]
fn an_operation_that_cannot_be_cancelled_is_made_to_fail() {
    let stuck = Error::Broken(Fid::REC_CREATE, Broken::Stuck);
    for (answer, error, allocated, leaked) in [
        (
            incomplete(2, false, 0),
            Error::NoMemory(Fid::REC_CREATE),
            2,
            0,
        ),
        // What it says of an offer that ends the operation is not how much of it was taken.
        (
            incomplete(2, false, 5),
            Error::NoMemory(Fid::REC_CREATE),
            2,
            0,
        ),
        (donate(0, 16, false), stuck, 3, 1),
        (incomplete(0, false, 1), stuck, 3, 1),
    ] {
        let (result, world, held, lost) = create_rec(3, move |fid, args| match fid {
            Fid::REC_CREATE => donate(4, 16, false),
            Fid::OP_MEM_DONATE => {
                assert_eq!((args.x(1), args.x(3)), (4, 1));
                answer
            }
            Fid::OP_MEM_RECLAIM => incomplete(0, false, 0),
            Fid::OP_CONTINUE => status(Status::ErrorInput),
            other => panic!("{other}"),
        });
        assert_eq!(result, Some(error));
        assert_eq!((world.allocated(), lost), (allocated, leaked));
        assert_eq!(held as usize, allocated);
    }
}

#[test]
fn requests_that_make_no_sense_get_nothing() {
    let requests = [
        0,                       // no granules
        request(16) | 1,         // blocks
        request(16) | (1 << 17), // of the host's own memory
        request(16) | (1 << 18),
        request(3) | (1 << 16),    // in one piece, which is no power of two
        request(4096) | (1 << 16), // in one piece, huge
    ];
    for raw in requests {
        let (error, world, _, leaked) = create_rec(10_000, move |fid, _| match fid {
            Fid::REC_CREATE => {
                let mut regs = donate(0, 0, true);
                regs.0[2] = raw;
                regs
            }
            Fid::OP_CANCEL => success(&[]),
            other => panic!("{other}"),
        });
        assert_eq!(error, Some(Error::NoMemory(Fid::REC_CREATE)), "{raw:#x}");
        assert_eq!((world.allocated(), leaked), (2, 0));
    }
}

/// The largest piece that is lent at once.
#[test]
fn as_much_in_one_piece_as_is_lent_at_once() {
    let (error, world, held, leaked) = create_rec(1000, move |fid, _| match fid {
        Fid::REC_CREATE => {
            let mut regs = donate(0, 64, true);
            regs.0[2] |= 1 << 16;
            regs
        }
        Fid::OP_MEM_DONATE => incomplete(0, false, 64),
        Fid::OP_CONTINUE => success(&[]),
        other => panic!("{other}"),
    });
    assert_eq!(error, None);
    assert_eq!((world.allocated(), held, leaked), (3 + 64, 3 + 64, 0));
}

/// It takes a granule of each offer: no more than can be written down is lent, and all of it comes back.
#[test]
fn more_pieces_than_can_be_written_down() {
    let mut list = List::new();
    let page = list.clone();
    let world = Shared::new(1000);
    let gpt = world.clone();
    let mut has = Vec::new();
    let rmi = rmm(move |fid, args| match fid {
        Fid::GRANULE_RANGE_DELEGATE | Fid::GRANULE_RANGE_UNDELEGATE => gpt.move_granules(fid, args),
        Fid::REALM_CREATE => success(&[]),
        Fid::REC_CREATE => donate(0, 100, true),
        Fid::OP_MEM_DONATE => {
            has.push(page.granules(1)[0] | 1 << 2);
            donate(1, 100, true)
        }
        Fid::OP_CANCEL => incomplete(2, false, 0),
        Fid::OP_MEM_RECLAIM => {
            assert_eq!(has.len(), 16);
            page.0.borrow_mut().0[..16].copy_from_slice(&has);
            incomplete(0, false, 16)
        }
        Fid::OP_CONTINUE => status(Status::ErrorInput),
        other => panic!("{other}"),
    });
    let rd = make_realm(&rmi, &world);
    let granule = delegated(&rmi, &world);
    let page = &mut Page::new();
    let failed = rec::create(&rmi, rd.name(), granule, &REC, page, &world, &mut list).unwrap_err();
    assert_eq!(failed.error, Error::NoMemory(Fid::REC_CREATE));
    assert_eq!(rmi.conduit().counts().leaked(), 0);
    assert_eq!((world.allocated(), world.delegated()), (3, 3));
}

/// Of what is allocated a part can be delegated and the rest cannot: that is not offered.
#[test]
fn memory_that_can_be_delegated_in_part() {
    let world = Shared::new(100);
    let gpt = world.clone();
    let mut delegations = 0;
    let rmi = rmm(move |fid, args| match fid {
        Fid::GRANULE_RANGE_DELEGATE => {
            delegations += 1;
            let mut args = *args;
            match delegations {
                // The first are the realm's and the REC's own.
                1..=3 => {}
                4 => args.0[2] = args.x(1) + 5 * GRANULE_SIZE,
                _ => return status(Status::ErrorInput),
            }
            gpt.move_granules(fid, &args)
        }
        Fid::GRANULE_RANGE_UNDELEGATE => gpt.move_granules(fid, args),
        Fid::REALM_CREATE | Fid::OP_CANCEL => success(&[]),
        Fid::REC_CREATE => donate(4, 16, true),
        other => panic!("{other}"),
    });
    let rd = make_realm(&rmi, &world);
    let granule = delegated(&rmi, &world);
    let (page, list) = (&mut Page::new(), &mut List::new());
    let failed = rec::create(&rmi, rd.name(), granule, &REC, page, &world, list).unwrap_err();
    assert_eq!(failed.error, Error::NoMemory(Fid::REC_CREATE));
    assert_eq!((world.allocated(), world.delegated()), (3, 3));
    assert_eq!(rmi.conduit().counts().leaked(), 0);
}

/// It takes the offer and then wants to give back memory: the host does not touch what is taken until it
/// has come back.
#[test]
fn what_is_taken_by_an_operation_that_fails_comes_back() {
    let mut list = List::new();
    let page = list.clone();
    let world = Shared::new(100);
    let gpt = world.clone();
    let (mut offer, mut reclaimed) = (0, false);
    let rmi = rmm(move |fid, args| match fid {
        Fid::GRANULE_RANGE_UNDELEGATE => {
            assert!(reclaimed, "the RMM has it");
            gpt.move_granules(fid, args)
        }
        Fid::GRANULE_RANGE_DELEGATE => gpt.move_granules(fid, args),
        Fid::REALM_CREATE => success(&[]),
        Fid::REC_CREATE => donate(0, 16, false),
        Fid::OP_MEM_DONATE => {
            offer = page.granules(1)[0];
            incomplete(2, false, 0)
        }
        Fid::OP_MEM_RECLAIM => {
            reclaimed = true;
            page.0.borrow_mut().0[0] = offer | 16 << 2;
            incomplete(0, false, 1)
        }
        Fid::OP_CONTINUE => status(Status::ErrorRealm),
        other => panic!("{other}"),
    });
    let rd = make_realm(&rmi, &world);
    let granule = delegated(&rmi, &world);
    let page = &mut Page::new();
    let failed = rec::create(&rmi, rd.name(), granule, &REC, page, &world, &mut list).unwrap_err();
    assert_eq!(failed.error.status(), Some(Status::ErrorRealm));
    assert_eq!((world.allocated(), world.delegated()), (3, 3));
    assert_eq!(rmi.conduit().counts().leaked(), 0);
}

#[test]
fn a_count_beyond_the_offer_is_no_more_than_the_offer() {
    for taken in [17, u64::MAX] {
        let (error, world, held, leaked) = create_rec(100, move |fid, _| match fid {
            Fid::REC_CREATE => donate(0, 16, false),
            Fid::OP_MEM_DONATE => incomplete(0, false, taken),
            Fid::OP_CONTINUE => success(&[]),
            other => panic!("{other}"),
        });
        assert_eq!(error, None);
        assert_eq!((world.allocated(), held, leaked), (3 + 16, 3 + 16, 0));
    }
}

/// Makes a REC with 16 granules, and destroys it on an RMM that gives back what `answer` says.
fn destroy_rec(
    words: impl Fn(u64) -> Vec<u64> + 'static,
    count: impl Fn(usize) -> u64 + 'static,
) -> (Option<Error>, u64, u64) {
    let world = Shared::new(1000);
    let mut list = List::new();
    let (gpt, page) = (world.clone(), list.clone());
    let mut base = 0;
    let rmi = rmm(move |fid, args| match fid {
        Fid::GRANULE_RANGE_DELEGATE | Fid::GRANULE_RANGE_UNDELEGATE => gpt.move_granules(fid, args),
        Fid::REALM_CREATE => success(&[]),
        Fid::REC_CREATE => donate(0, 16, false),
        Fid::OP_MEM_DONATE => {
            base = page.granules(1)[0];
            incomplete(0, false, 16)
        }
        Fid::OP_CONTINUE => success(&[]),
        Fid::REC_DESTROY => incomplete(2, false, 0),
        Fid::OP_MEM_RECLAIM => {
            let words = words(base);
            page.0.borrow_mut().0[..words.len()].copy_from_slice(&words);
            incomplete(0, false, count(words.len()))
        }
        other => panic!("{other}"),
    });
    let rd = make_realm(&rmi, &world);
    let granule = delegated(&rmi, &world);
    let rec = rec::create(
        &rmi,
        rd.name(),
        granule,
        &REC,
        &mut Page::new(),
        &world,
        &mut list,
    )
    .unwrap();
    let result = rec::destroy(&rmi, &mut Some(rec), &world, &mut list);
    if let Ok(Some(granule)) = &result {
        assert_eq!(granule.range().granules(), 1);
    }
    assert_eq!(
        rmi.conduit().counts().delegated() as usize,
        world.delegated()
    );
    (
        result.err(),
        rmi.conduit().counts().delegated(),
        rmi.conduit().counts().leaked(),
    )
}

#[test]
fn memory_that_was_never_lent_frees_nothing() {
    let all = |base| vec![base | (16 << 2)];
    // The realm's two, and the REC's granule which the caller has.
    assert_eq!(destroy_rec(all, |n| n as u64), (None, 3, 0));
    // The realm's own memory; the same granule twice; one too many; a zero; all ones.
    let foreign = |base: u64| vec![base | (15 << 2), (base - 0x4000) | (1 << 2)];
    assert_eq!(destroy_rec(foreign, |n| n as u64), (None, 4, 1));
    let twice = |base: u64| vec![base | (15 << 2), base | (1 << 2)];
    assert_eq!(destroy_rec(twice, |n| n as u64), (None, 4, 1));
    let beyond = |base: u64| vec![base | (17 << 2)];
    assert_eq!(destroy_rec(beyond, |n| n as u64), (None, 19, 16));
    let nothing = |_| vec![0, u64::MAX];
    assert_eq!(destroy_rec(nothing, |n| n as u64), (None, 19, 16));
}

#[test]
fn more_entries_than_a_list_has_are_not_read() {
    let (error, held, leaked) = destroy_rec(|base| vec![base | (16 << 2)], |_| 513);
    let broken = Broken::Count { entries: 513 };
    assert_eq!(error, Some(Error::Broken(Fid::OP_MEM_RECLAIM, broken)));
    assert_eq!((held, leaked), (19, 17));
}

#[test]
fn descriptors_describe_what_they_were_made_of() {
    let range = |base: u64, top: u64| {
        kvm_arm_rmi::rmi::AddrRange::new(
            kvm_arm_rmi::rmi::PhysAddr::new(base),
            kvm_arm_rmi::rmi::PhysAddr::new(top),
        )
        .unwrap()
    };
    for (base, top, level, part) in [
        (0x8000_0000, 0x8000_1000, RttLevel::L3, 0x8000_1000),
        (0x8000_0000, 0x9000_0000, RttLevel::L3, 0x803f_f000),
        (0x8000_0000, 0x8040_1000, RttLevel::L2, 0x8040_0000),
        (0x8000_0000, 0x1_0000_0000, RttLevel::L1, 0x1_0000_0000),
    ] {
        let (descriptor, described) = RangeDesc::new(range(base, top), level).unwrap();
        assert_eq!(described, range(base, part));
        let delegated = (described, MemState::Delegated);
        assert_eq!(descriptor.decode(), Some(delegated));
        for (form, bits) in [(Form::Bit, 1 << 63), (Form::Field, 1 << 62)] {
            let undelegated = descriptor.undelegated(form);
            assert_eq!(undelegated.raw(), descriptor.raw() | bits);
            let decoded = undelegated.decode();
            assert_eq!(decoded, Some((described, MemState::Undelegated)));
        }
    }
    assert!(RangeDesc::new(range(0x8000_1000, 0x8040_0000), RttLevel::L2).is_none());
    assert!(RangeDesc::new(range(0x8000_0000, 0x8010_0000), RttLevel::L2).is_none());
    let beyond = 1 << 52;
    assert!(RangeDesc::new(range(beyond, beyond + 4096), RttLevel::L3).is_none());
    for raw in [0, u64::MAX, (3 << 62) | (1 << 2) | 0x8000_0000, 0x8000_0000] {
        assert_eq!(RangeDesc::from_raw(raw).decode(), None, "{raw:#x}");
    }
}
