// SPDX-License-Identifier: GPL-2.0

//! Memory is bad that the RMM has for a realm.
//!
//! A read of it by the RMM may be the end of the machine: an external abort at Realm EL2, which an RMM need
//! not survive. So the RMM is asked nothing any more for which it would look there, not even to end the
//! realm. What it has for that reason is leaked, and as little as can be: of a table what that maps, of a REC
//! the REC, and of all of these what holds them, up to the descriptor. If that is bad itself, or more than
//! one of them, the RMM keeps all that the realm has.
//!
//! Memory of the realm's own and spare granules come back though they are bad: an RMM writes over what it gives
//! back, and does not read it.

use super::{
    dump::What,
    table_map::table_size, //
};
use crate::{
    rmi::{Fid, PhysAddr, RttLevel, GRANULE_SIZE},
    sys::{
        prelude::*,
        sync::atomic::{AtomicBool, AtomicU64, Ordering}, //
    }, //
};
use core::ops::Range;

/// What is bad.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// The REC there, or what the RMM was lent for it.
    Rec(PhysAddr),
    /// The table whose entries are of that level, and which maps memory from that IPA on.
    Table(RttLevel, u64),
}

/// What of a realm's is bad, as far as the host has looked.
pub struct Bad {
    /// The first that was found, if it is a part.
    part: SetOnce<Part>,
    /// The rest as well.
    all: AtomicBool,
    /// The first granule that was found.
    first: SetOnce<PhysAddr>,
    /// How many pages of the host were known to be bad when somebody looked last.
    known: AtomicU64,
}

/// No number of pages.
const UNKNOWN: u64 = u64::MAX;

impl Bad {
    /// Nothing is.
    pub(super) fn new() -> Self {
        Self {
            part: SetOnce::new(),
            all: AtomicBool::new(false),
            first: SetOnce::new(),
            known: AtomicU64::new(UNKNOWN),
        }
    }

    /// True if nobody has looked since the host knows of so many bad pages.
    pub(super) fn is_news(&self, known: u64) -> bool {
        self.known.load(Ordering::Acquire) != known
    }

    /// Somebody has looked, after the host knew of so many. Who finds that here finds what came of it.
    pub(super) fn looked(&self, known: u64) {
        self.known.store(known, Ordering::Release);
    }

    /// There is more to look at.
    pub(super) fn look_again(&self) {
        self.looked(UNKNOWN);
    }

    /// A granule that is bad, if there is one.
    pub fn first(&self) -> Option<PhysAddr> {
        self.first.copy()
    }

    /// The granule is bad, which is that of the realm's.
    pub(super) fn object(&self, granule: PhysAddr, what: What) {
        self.first.populate(granule);
        match what {
            What::Rec(_) => self.part(Part::Rec(granule)),
            What::Rtt(level, ipa) => self.part(Part::Table(level, ipa)),
            What::Realm | What::Rd => self.all(),
        }
    }

    /// The granule is bad, which the RMM was lent for this REC.
    pub fn lent(&self, granule: PhysAddr, rec: PhysAddr) {
        self.first.populate(granule);
        self.part(Part::Rec(rec));
    }

    /// The descriptor is bad, or what the RMM was lent for it.
    fn all(&self) {
        self.all.store(true, Ordering::Relaxed);
    }

    fn part(&self, part: Part) {
        if !self.part.populate(part) && self.part.copy() != Some(part) {
            self.all();
        }
    }

    /// True if the RMM may be asked this: it need not look at what is bad. What one CPU finds out another
    /// one may not know yet: until then it is as if memory had gone bad a little later.
    ///
    /// With a part that is bad no more is asked than what takes a realm apart.
    pub fn may_ask(&self, fid: Fid, args: &[u64]) -> bool {
        let arg = |n: usize| args.get(n).copied().unwrap_or(0);
        let all = self.all.load(Ordering::Relaxed);
        match (fid, self.part.copy()) {
            _ if is_of_no_object(fid) => true,
            (_, None) => !all,
            _ if all => false,
            (Fid::REALM_TERMINATE | Fid::REALM_DESTROY, _) => true,
            (Fid::REC_DESTROY, Some(Part::Rec(rec))) => arg(0) != rec.raw(),
            (Fid::REC_DESTROY, Some(Part::Table(..))) => true,
            (_, Some(Part::Rec(_))) => takes_memory(fid) || fid == Fid::RTT_DESTROY,
            // The arguments are the RD, an IPA, and a level or where a range ends.
            (Fid::RTT_DESTROY, Some(Part::Table(level, ipa))) => {
                arg(2) < level.raw() || !overlaps(arg(1)..arg(1).saturating_add(1), level, ipa)
            }
            (_, Some(Part::Table(level, ipa))) => {
                let end = arg(2).max(arg(1).saturating_add(GRANULE_SIZE));
                takes_memory(fid) && !overlaps(arg(1)..end, level, ipa)
            }
        }
    }
}

/// True of a command that names neither a realm nor anything of one. An operation that has begun goes on.
fn is_of_no_object(fid: Fid) -> bool {
    matches!(
        fid,
        Fid::GRANULE_DELEGATE
            | Fid::GRANULE_UNDELEGATE
            | Fid::GRANULE_RANGE_DELEGATE
            | Fid::GRANULE_RANGE_UNDELEGATE
            | Fid::OP_CONTINUE
            | Fid::OP_MEM_DONATE
            | Fid::OP_MEM_RECLAIM
            | Fid::OP_CANCEL
    )
}

/// True of a command that unmaps memory.
fn takes_memory(fid: Fid) -> bool {
    matches!(
        fid,
        Fid::RTT_DATA_UNMAP
            | Fid::DATA_DESTROY
            | Fid::RTT_UNPROT_UNMAP
            | Fid::RTT_UNMAP_UNPROTECTED
    )
}

/// True if the range has some of what the table maps.
fn overlaps(range: Range<u64>, level: RttLevel, ipa: u64) -> bool {
    range.start < ipa.saturating_add(table_size(level)) && ipa < range.end
}
