// SPDX-License-Identifier: GPL-2.0

//! Lists of memory that a command takes, or answers with.

use crate::fake::{rmm, status, success, Fake, Page};
use crate::lending::a_realm;
use crate::world::Shared;
use kvm_arm_rmi::rmi::cmd::data::{self, Pieces};
use kvm_arm_rmi::rmi::cmd::unprot::{unprot_map_granules, Access, MemAttr};
use kvm_arm_rmi::rmi::{
    Broken, Error, Fid, IpaRange, IpaSpace, Pages, PhysAddr, Protected, Regs, Rmi, RttLevel,
    SharedPage, Status, GRANULE_SIZE,
};
use std::cell::RefCell;
use std::rc::Rc;

fn range(granules: u64) -> IpaRange<Protected> {
    let space = IpaSpace::new(39).unwrap();
    space.protected(0, granules * GRANULE_SIZE).unwrap()
}

/// An RMM that does all of a range, and notes the flags and the address that it is called with.
type Told = Rc<RefCell<Vec<(u64, u64)>>>;

fn host(told: &Told, world: &Shared) -> Rmi<Fake<impl FnMut(Fid, &Regs) -> Regs>> {
    let (told, gpt) = (told.clone(), world.clone());
    rmm(move |fid, args| match fid {
        Fid::RTT_DATA_MAP => {
            told.borrow_mut().push((args.x(4), args.x(5)));
            success(&[args.x(3)])
        }
        _ => gpt.move_granules(fid, args),
    })
}

/// One piece is in a register, several are in a list, and there is no command for none.
#[test]
fn memory_that_is_mapped() {
    for count in 0..3 {
        let (told, world, mut list) = (Told::default(), Shared::new(100), Page::new());
        let rmi = host(&told, &world);
        let mut pieces = Pieces::new();
        let (mut words, mut given, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..count {
            let piece = world.alloc(1).unwrap().delegate(&rmi).done.unwrap();
            words.push(piece.range().base().raw() | 2 << 2);
            given.push(piece.range());
            pieces.push(piece).unwrap();
        }
        let range = range(2 * count.max(1));
        let level = RttLevel::L3;
        let each = |piece| gone.push(piece);
        let result = data::map(&rmi, a_realm(), range, &mut pieces, level, &mut list, each);
        assert_eq!(gone, given);
        let expected = match &words[..] {
            [] => None,
            [one] => Some((1 | 1 << 2, *one)),
            all => Some((2 | (all.len() as u64) << 2, list.pa().raw())),
        };
        assert_eq!(told.borrow().first().copied(), expected);
        match expected {
            None => {
                let error = Error::Broken(Fid::RTT_DATA_MAP, Broken::Range { top: 0 });
                assert_eq!(result, Err(error));
            }
            Some(_) => assert_eq!(result, Ok(range.top())),
        }
        if count > 1 {
            assert_eq!(list.0[..words.len()], words);
        }
        assert_eq!(pieces.bytes(), 0);
    }
}

/// Granules that are shared are in a list, in the form that the RMM takes.
#[test]
fn memory_that_is_shared() {
    let space = IpaSpace::new(39).unwrap();
    let range = space.unprotected(0, 3 * GRANULE_SIZE).unwrap();
    let granules = [7, 3, 9].map(|n| PhysAddr::new(n * GRANULE_SIZE));
    for (form, tries) in [(1 << 63, 1), (1 << 62, 2)] {
        let (told, mut list) = (Told::default(), Page::new());
        let calls = told.clone();
        let rmi = rmm(move |fid, args| {
            assert_eq!((fid, args.x(3)), (Fid::RTT_UNPROT_MAP, range.top()));
            calls.borrow_mut().push((args.x(4), args.x(5)));
            match calls.borrow().len() < tries {
                true => status(Status::ErrorInput),
                false => success(&[args.x(2) + 2 * GRANULE_SIZE]),
            }
        });
        let how = (MemAttr::Normal, Access::Read);
        let done = unprot_map_granules(&rmi, a_realm(), range, &granules, how, &mut list);
        assert_eq!(done, Ok(range.base() + 2 * GRANULE_SIZE));
        // A list, of three; write-back, to be read.
        let flags = 2 | 3 << 2 | 6 << 16 | 2 << 19;
        assert_eq!(*told.borrow(), vec![(flags, list.pa().raw()); tries]);
        let words = granules.map(|pa| form | pa.raw() | 1 << 2);
        assert_eq!(list.0[..3], words);
    }
}

/// A list that comes back may be full, and is read to its end; longer than a page it cannot be.
#[test]
fn memory_that_is_unmapped() {
    const FULL: u64 = 512;
    for entries in [1, FULL - 1, FULL, FULL + 1] {
        let mut list = Page::new();
        for n in 0..512 {
            // Every other granule.
            list.0[n as usize] = (0x8_0000 + 2 * n) * GRANULE_SIZE | 1 << 2;
        }
        let rmi = rmm(move |fid, args| {
            assert_eq!((fid, args.x(4)), (Fid::RTT_DATA_UNMAP, 2 | FULL << 2));
            success(&[args.x(3), 0, entries])
        });
        let mut count = 0;
        let result = data::unmap(&rmi, a_realm(), range(FULL), &mut list, |_| count += 1);
        let expected = match entries {
            0..=FULL => Ok(FULL * GRANULE_SIZE),
            _ => Err(Error::Broken(
                Fid::RTT_DATA_UNMAP,
                Broken::Count { entries },
            )),
        };
        assert_eq!(result, expected);
        assert_eq!(count, if entries > FULL { 0 } else { entries });
    }
}

/// What has come back may be less than was unmapped, and not more: it would stand for what an earlier command
/// has kept.
#[test]
fn memory_that_was_not_unmapped() {
    for (entries, good) in [(3, true), (4, true), (5, false)] {
        let mut list = Page::new();
        for n in 0..entries {
            list.0[n as usize] = (0x8_0000 + 2 * n) * GRANULE_SIZE | 1 << 2;
        }
        let rmi = rmm(move |_, args| success(&[args.x(2) + 4 * GRANULE_SIZE, 0, entries]));
        let mut count = 0;
        let result = data::unmap(&rmi, a_realm(), range(8), &mut list, |_| count += 1);
        let broken = Error::Broken(Fid::RTT_DATA_UNMAP, Broken::Count { entries });
        let expected = match good {
            true => Ok(4 * GRANULE_SIZE),
            false => Err(broken),
        };
        assert_eq!((result, count), (expected, entries.min(4)));
    }
}

/// A piece that is no number of blocks has no descriptor, and would put the next one elsewhere.
#[test]
fn memory_that_is_no_number_of_blocks() {
    let (told, world) = (Told::default(), Shared::new(4000));
    let rmi = host(&told, &world);
    for (granules, good) in [(512, true), (513, false)] {
        let piece = world.alloc(10).unwrap().delegate(&rmi).done.unwrap();
        let (piece, _) = piece.split(granules);
        let mut pieces = Pieces::new();
        pieces.push(piece.unwrap()).unwrap();
        let (range, level) = (range(granules), RttLevel::L2);
        let result = data::map(
            &rmi,
            a_realm(),
            range,
            &mut pieces,
            level,
            &mut Page::new(),
            |_| {},
        );
        assert_eq!(result.is_ok(), good, "{granules}");
        assert_eq!(told.borrow().len(), 1);
    }
}
