// SPDX-License-Identifier: GPL-2.0

//! Parting a realm from its memory, on the embedded RMM: whenever `mmu_lock` could be had what the RMM
//! has mapped is noted, and a page is delegated no longer than its granule is noted.

use crate::alone::alone;
use crate::life::Guest;
use crate::machine::{Host, Smc};
use kvm_arm_rmi::mmu::{self, Step, COMMANDS};
use kvm_arm_rmi::mmu::{Kept, Part, Parting, BATCH, MERGED};
use kvm_arm_rmi::realm::bitmap::Bitmap;
use kvm_arm_rmi::realm::{count, next_span, note};
use kvm_arm_rmi::rmi::cmd::rtt::{self, EntryState};
use kvm_arm_rmi::rmi::cmd::unprot::{Access, MemAttr};
use kvm_arm_rmi::rmi::{
    AddrRange, Conduit, Delegated, Fid, GranuleRange, Pages, PhysAddr, Regs, RttLevel, Status,
};
use proptest::prelude::*;
use std::cell::RefCell;
use std::ops::Range;

const PAGE: u64 = 0x1000;
const TABLE: u64 = 512;
/// Host memory that is shared; the model does not care that nothing is there.
const SHARED: u64 = 0x1_4000_0000;

/// A realm with notes of both halves.
struct Noted<'h> {
    guest: Guest<'h>,
    pages: Bitmap,
    shared: Bitmap,
}

impl<'h> Noted<'h> {
    fn new(host: &'h Host) -> Self {
        Self {
            guest: Guest::new(host),
            pages: Bitmap::new().unwrap(),
            shared: Bitmap::new().unwrap(),
        }
    }

    fn reserve(set: &Bitmap, gfns: &Range<u64>) {
        for gfn in gfns.clone() {
            set.reserve(gfn / 32);
        }
    }

    /// Notes and shares memory that is next to each other, in entries of `level`.
    fn share(&self, gfns: Range<u64>, level: RttLevel) -> Step {
        Self::reserve(&self.shared, &gfns);
        note(&self.shared, &gfns);
        let guest = &self.guest;
        let (base, top) = (gfns.start * PAGE, gfns.end * PAGE);
        let range = guest.space.unprotected(base, top).unwrap();
        let memory = PhysAddr::new(SHARED + base)..PhysAddr::new(SHARED + top);
        let memory = AddrRange::new(memory.start, memory.end).unwrap();
        let how = (MemAttr::Normal, Access::ReadWrite);
        self.make_tables(gfns.clone().map(|gfn| self.shared_ipa(gfn)), level);
        let (rmi, tables) = (&guest.host.rmi, guest.tables());
        mmu::map_unprotected(rmi, guest.rd(), &tables, range, memory, level, how)
    }

    fn make_tables(&self, ipas: impl Iterator<Item = u64>, level: RttLevel) {
        for ipa in ipas {
            while let Some(table) = self.guest.tables().missing(ipa, level) {
                self.guest.make_table(table);
            }
        }
    }

    fn parting<'a>(&'a self, notes: &'a Bitmap) -> Parting<'a, Smc> {
        Parting {
            rmi: &self.guest.host.rmi,
            rd: self.guest.rd(),
            tables: self.guest.tables(),
            space: self.guest.space,
            notes,
        }
    }

    /// What the RMM has at an IPA: nothing, or where it is mapped to.
    fn mapped(&self, ipa: u64) -> Option<u64> {
        let (rmi, rd) = (&self.guest.host.rmi, self.guest.rd());
        let entry = rtt::read_entry(rmi, rd, ipa, RttLevel::L3).unwrap();
        let args = [rd.raw(), ipa, 3];
        let regs = Regs::new(Fid::RTT_READ_ENTRY.raw().into(), &args);
        let size = entry.level.block_size();
        let address = rmi.conduit().smc(&regs).x(3) & 0xf_ffff_ffff_f000;
        (entry.state == EntryState::Assigned).then(|| (address & !(size - 1)) | ipa & (size - 1))
    }

    fn shared_ipa(&self, gfn: u64) -> u64 {
        gfn * PAGE | self.guest.space.unprotected_bit()
    }

    /// The granules of `all` that the RMM has mapped as shared, and those that are noted.
    fn shared_state(&self, all: Range<u64>) -> (Vec<u64>, Vec<u64>) {
        let mapped = all
            .clone()
            .filter(|gfn| self.mapped(self.shared_ipa(*gfn)).is_some());
        let noted = all
            .clone()
            .filter(|gfn| count(&self.shared, &(*gfn..gfn + 1)) == 1);
        (mapped.collect(), noted.collect())
    }

    /// Maps private memory that is next to each other.
    fn map(&mut self, gfns: Range<u64>) {
        Self::reserve(&self.pages, &gfns);
        note(&self.pages, &gfns);
        self.make_tables(gfns.clone().map(|gfn| gfn * PAGE), RttLevel::L3);
        self.guest.map(
            gfns.start * PAGE,
            (gfns.end - gfns.start) * PAGE,
            0,
            RttLevel::L3,
        );
    }

    /// Takes out a part, as [`Parting::private`] has it.
    fn take(&mut self, gfns: &Range<u64>, mut give: impl FnMut(GranuleRange<Delegated>)) -> Part {
        let mut list = self.guest.list.take().unwrap();
        let give = |pages| {
            give(pages);
            true
        };
        let part = self
            .parting(&self.pages)
            .private(gfns, &mut list, give, |_| false);
        self.guest.list = Some(list);
        part.expect("something is noted")
    }
}

/// Undelegates and frees.
fn give_back(host: &Host, granules: GranuleRange<Delegated>) {
    let back = granules.undelegate(&host.rmi);
    assert!(back.error.is_none() && back.rest.is_none());
    back.done.into_iter().for_each(|done| host.free(done));
}

/// Calls of a command are refused from now on.
fn refuse(host: &Host, fid: Fid, mut which: impl FnMut(u64) -> bool + 'static) {
    let mut number = 0;
    host.rmi.conduit().replace(move |args, rmm| {
        if args.x(0) != u64::from(fid.raw()) {
            return rmm(args);
        }
        number += 1;
        match which(number) {
            true => Regs::new(u64::from(Status::ErrorInput.raw()), &[]),
            false => rmm(args),
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever of pages and blocks is shared, and whatever is taken away of it: after each command what
    /// is mapped is noted; at the end nothing of the range is mapped, and all that is outside of it is
    /// as it was, but for the rest of a block.
    #[test]
    fn shared_memory_is_noted_until_it_is_unmapped(
        tables in prop::collection::vec(0u8..4, 4),
        first in 0..3 * TABLE,
        length in 1..2 * TABLE,
    ) {
        alone(move || {
            let host = Host::new();
            let noted = Noted::new(&host);
            for (n, kind) in (0u64..).zip(tables.iter()) {
                let start = n * TABLE;
                let (gfns, level) = match kind {
                    0 => continue,
                    1 => (start..start + TABLE, RttLevel::L2),
                    2 => (start + 3..start + 90, RttLevel::L3),
                    _ => (start..start + TABLE, RttLevel::L3),
                };
                assert_eq!(noted.share(gfns, level), Step::Done);
            }
            let all = 0..4 * TABLE;
            let before = noted.shared_state(all.clone()).0;
            let gfns = first..first + length;
            let mut left = gfns.clone();
            while let Some(part) = noted.parting(&noted.shared).shared(&left) {
                assert!(part.kept.is_none() && part.top > left.start);
                left.start = part.top;
                let (mapped, noted) = noted.shared_state(all.clone());
                assert_eq!(mapped, noted);
            }
            let is_block = |gfn: &u64| tables.get((gfn / TABLE) as usize) == Some(&1);
            let blocks = |gfn: &u64| {
                let start = gfn / TABLE * TABLE;
                is_block(gfn) && start < gfns.end && gfns.start < start + TABLE
            };
            let expected: Vec<u64> = before
                .into_iter()
                .filter(|gfn| !gfns.contains(gfn) && !blocks(gfn))
                .collect();
            assert_eq!(noted.shared_state(all).0, expected);
            noted.guest.tear_down();
            host.assert_idle();
            assert_eq!(host.failed(), []);
        });
    }

    /// Pieces of memory come out as they went in, as few as possible, where not too many lie apart.
    #[test]
    fn pieces_wait_for_their_neighbours(
        mut order in Just((0u64..64).collect::<Vec<_>>()).prop_shuffle(),
        gap in 1u64..64,
    ) {
        alone(move || {
            order.retain(|n| n % 8 != 0 || n % gap != 0);
            let host = Host::new();
            let pages = host.alloc(6).unwrap();
            let mut pieces: Vec<_> = (0..64).map(|_| None).collect();
            let mut rest = pages.delegate(&host.rmi).done;
            for piece in &mut pieces {
                (*piece, rest) = rest.unwrap().split(1);
            }
            let given = RefCell::new(Vec::new());
            let mut pending = kvm_arm_rmi::rmi::Pending::new(|piece: GranuleRange<Delegated>| {
                given.borrow_mut().push(piece.range());
                give_back(&host, piece);
            });
            for n in &order {
                pending.add(pieces[*n as usize].take().unwrap());
            }
            drop(pending);
            let total: u64 = given.borrow().iter().map(AddrRange::granules).sum();
            assert_eq!(total, order.len() as u64);
            pieces.into_iter().flatten().for_each(|piece| give_back(&host, piece));
            host.assert_idle();
        });
    }
}

/// One command does not take out more than its bound, and the notes go with what it has done.
#[test]
fn one_command_unmaps_a_table() {
    alone(|| {
        let host = Host::new();
        let noted = Noted::new(&host);
        assert_eq!(noted.share(0..3 * TABLE, RttLevel::L3), Step::Done);
        let part = noted.parting(&noted.shared).shared(&(0..3 * TABLE));
        assert_eq!(part.unwrap().top, TABLE);
        assert_eq!(count(&noted.shared, &(0..3 * TABLE)), 2 * TABLE);
        noted.guest.tear_down();
    });
}

/// Blocks go together, but not without end: what one command does is done under a lock that spins.
#[test]
fn one_command_unmaps_so_many_blocks() {
    alone(|| {
        let host = Host::new();
        let noted = Noted::new(&host);
        let all = 0..(MERGED + 4) * TABLE;
        assert_eq!(noted.share(all.clone(), RttLevel::L2), Step::Done);
        let part = noted.parting(&noted.shared).shared(&all).unwrap();
        assert_eq!(part.gone, 0..MERGED * TABLE);
        let part = noted.parting(&noted.shared).shared(&(part.top..all.end));
        assert_eq!(part.unwrap().gone, MERGED * TABLE..all.end);
        noted.guest.tear_down();
    });
}

/// Others who take memory out get their turn.
#[test]
fn private_memory_is_taken_out_in_batches() {
    alone(|| {
        let host = Host::new();
        let mut noted = Noted::new(&host);
        for gfn in [3, BATCH + 2, BATCH + 3] {
            noted.map(gfn..gfn + 1);
        }
        let all = 0..2 * BATCH;
        let part = noted.take(&all, |piece| give_back(&host, piece));
        // A block at its end is not cut in two.
        assert_eq!((part.granules, part.top), (1, BATCH));
        let part = noted.take(&(part.top..all.end), |piece| give_back(&host, piece));
        assert_eq!((part.granules, part.top), (2, all.end));
        noted.guest.tear_down();
        host.assert_idle();
    });
}

/// What the RMM will not unmap stays noted, and is not unmapped by saying so.
#[test]
fn what_stays_shared_stays_noted() {
    alone(|| {
        let host = Host::new();
        let noted = Noted::new(&host);
        assert_eq!(noted.share(0..3 * TABLE, RttLevel::L3), Step::Done);
        refuse(&host, Fid::RTT_UNPROT_UNMAP, |n| n == 2);
        let mut left = 0..3 * TABLE;
        let mut kept = 0;
        while let Some(part) = noted.parting(&noted.shared).shared(&left) {
            left.start = part.top;
            kept += u32::from(part.kept.is_some());
            let (mapped, noted) = noted.shared_state(0..3 * TABLE);
            assert_eq!(mapped, noted);
        }
        assert_eq!(kept, 1);
        assert_ne!(count(&noted.shared, &(0..3 * TABLE)), 0);
        noted.guest.tear_down();
    });
}

/// Pages are noted until they are undelegated, and those that are next to each other come back in one
/// piece, from whatever tables.
#[test]
fn a_note_outlasts_the_undelegation() {
    alone(|| {
        let host = Host::new();
        let mut noted = Noted::new(&host);
        let gfns = TABLE - 40..TABLE + 40;
        noted.map(gfns.start - 2..gfns.end + 3);
        noted.map(2 * TABLE..2 * TABLE + 1);
        let pages = std::mem::replace(&mut noted.pages, Bitmap::new().unwrap());
        let mut list = noted.guest.list.take().unwrap();
        let mut pieces = Vec::new();
        let give = |piece: GranuleRange<Delegated>| {
            assert_eq!(count(&pages, &gfns), 80, "struck out too early");
            pieces.push(piece.range().granules());
            give_back(&host, piece);
            true
        };
        let no_table = |_| false;
        let part = noted
            .parting(&pages)
            .private(&gfns, &mut list, give, no_table);
        let part = part.unwrap();
        assert_eq!((part.kept, part.top, part.granules), (None, gfns.end, 80));
        assert_eq!(pieces, [80]);
        assert_eq!(count(&pages, &(0..4 * TABLE)), 6, "what is next to it");
        for gfn in gfns.start - 4..gfns.end + 4 {
            let beside = (gfns.start - 2..gfns.end + 3).contains(&gfn) && !gfns.contains(&gfn);
            assert_eq!(noted.mapped(gfn * PAGE).is_some(), beside, "{gfn:#x}");
        }
        assert!(noted.mapped(2 * TABLE * PAGE).is_some());
        noted.guest.list = Some(list);
        noted.guest.tear_down();
        host.assert_idle();
    });
}

/// The RMM refuses to unmap the second of three tables: that one stays noted, and the others go.
#[test]
fn what_stays_private_stays_noted() {
    alone(|| {
        let host = Host::new();
        let mut noted = Noted::new(&host);
        for table in 0..3 {
            noted.map(table * TABLE + 5..table * TABLE + 9);
        }
        refuse(&host, Fid::RTT_DATA_UNMAP, |n| n == 2);
        let mut back = 0;
        let all = 0..3 * TABLE;
        let part = noted.take(&all, |piece| {
            back += piece.range().granules();
            give_back(&host, piece);
        });
        assert!(matches!(part.kept, Some(Kept::Refused(_))), "{part:?}");
        assert_eq!((back, part.top), (4, TABLE + 9));
        let second = TABLE + 5..TABLE + 9;
        assert_eq!(next_span(&noted.pages, &all), Some(second.clone()));
        let part = noted.take(&(part.top..all.end), |piece| give_back(&host, piece));
        assert_eq!((part.kept, part.top), (None, all.end));
        assert_eq!(next_span(&noted.pages, &all), Some(second));
        assert_eq!(count(&noted.pages, &all), 4);
        // At the end it is tried again.
        assert!(noted
            .take(&all, |piece| give_back(&host, piece))
            .kept
            .is_none());
        noted.guest.tear_down();
        host.assert_idle();
    });
}

/// The RMM says of four granules that they are unmapped, and does not give them back; and with the next four says
/// what makes no sense. Those do not stand for the others: none is struck out.
#[test]
fn granules_that_stand_for_no_others() {
    alone(|| {
        let host = Host::new();
        let mut noted = Noted::new(&host);
        noted.map(0..8);
        let mut number = 0;
        host.rmi.conduit().replace(move |args, rmm| {
            if args.x(0) != u64::from(Fid::RTT_DATA_UNMAP.raw()) {
                return rmm(args);
            }
            number += 1;
            let (mut args, half) = (*args, 4 * PAGE);
            if number == 1 {
                args.0[3] = half;
            }
            let mut regs = rmm(&args);
            match number {
                1 => regs.0[3] = 0,
                _ => regs.0[1] = 9 * PAGE,
            }
            regs
        });
        let mut back = 0;
        let part = noted.take(&(0..8), |piece| {
            back += piece.range().granules();
            give_back(&host, piece);
        });
        assert!(matches!(part.kept, Some(Kept::Refused(_))), "{part:?}");
        assert_eq!((back, part.granules), (4, 0));
        assert_eq!(count(&noted.pages, &(0..8)), 8);
    });
}

/// An RMM that maps one granule at a time: each goes where it belongs, and it is over after a number of
/// commands that does not depend on the range.
#[test]
fn an_rmm_that_maps_little_by_little() {
    alone(|| {
        let host = Host::new();
        let noted = Noted::new(&host);
        host.rmi.conduit().replace(|args, rmm| {
            let mut args = *args;
            if args.x(0) == u64::from(Fid::RTT_UNPROT_MAP.raw()) {
                args.0[3] = args.x(2) + PAGE;
            }
            rmm(&args)
        });
        assert_eq!(noted.share(3..90, RttLevel::L3), Step::Done);
        let end = 90 + u64::from(COMMANDS);
        let step = noted.share(90..2 * TABLE, RttLevel::L3);
        assert_eq!(step, Step::Until(noted.shared_ipa(end)));
        for gfn in 0..2 * TABLE {
            let expected = (3..end).contains(&gfn).then_some(SHARED + gfn * PAGE);
            assert_eq!(noted.mapped(noted.shared_ipa(gfn)), expected, "{gfn:#x}");
        }
        noted.guest.tear_down();
        host.assert_idle();
    });
}

/// The RMM will not fold a table: it is still there, and known to be.
#[test]
fn a_table_that_is_not_folded_is_not_forgotten() {
    alone(|| {
        let host = Host::new();
        let guest = Guest::new(&host);
        while let Some(table) = guest.tables().missing(0, RttLevel::L3) {
            guest.make_table(table);
        }
        refuse(&host, Fid::RTT_FOLD, |n| n == 1);
        let table = kvm_arm_rmi::realm::MissingTable {
            level: RttLevel::L3,
            ipa: 0,
        };
        let (rmi, tables) = (&host.rmi, guest.tables());
        assert!(tables.fold(rmi, guest.rd(), table).is_err());
        assert_eq!(tables.depth(0), RttLevel::L3);
        give_back(&host, tables.fold(rmi, guest.rd(), table).unwrap());
        assert_eq!(tables.depth(0), RttLevel::L2);
        guest.tear_down();
        host.assert_idle();
    });
}
