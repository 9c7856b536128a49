// SPDX-License-Identifier: GPL-2.0

//! What a crash kernel finds of realms: which granules the RMM has for their objects.
//!
//! The layout is that of `asm/kvm_rmi_dump.h`, which tools depend on. There is a list of the host's
//! realms, each of which has a list of its own. What cannot be listed for want of memory is counted; no
//! realm fails for that.
//!
//! The host looks there as well, when memory goes bad.

use super::{table_map::table_size, Layout};
use crate::{
    rmi::{Delegated, GranuleRange, Lent, PhysAddr, RttLevel, SharedPage, GRANULE_SIZE},
    sys::{memory::Page, prelude::*}, //
};

/// `struct kvm_rmi_dump_page`: byte offsets, and the size of an entry.
const NEXT: usize = 0;
const MISSING: usize = 8;
const ENTRIES: usize = 16;
const ENTRY: usize = 16;
/// `struct kvm_rmi_dump_entry`: byte offset of `what`; that of `granule` is 0.
const WHAT: usize = 8;
/// Entries in a page.
// CAST: A page is not as large.
const PER_PAGE: usize = (GRANULE_SIZE as usize - ENTRIES) / ENTRY;

/// What a granule is, as the list has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Not a granule, but the first page of a realm's list.
    Realm,
    /// The realm descriptor.
    Rd,
    /// The REC of the vCPU with that number.
    Rec(u64),
    /// A table: the level of its entries, and the first IPA that they map.
    Rtt(RttLevel, u64),
}

impl What {
    /// `KVM_RMI_DUMP_*`, with what belongs there.
    fn raw(self) -> u64 {
        match self {
            Self::Realm => 1,
            Self::Rd => 2,
            Self::Rec(vcpu) => 3 | vcpu << 12,
            Self::Rtt(level, ipa) => 4 | level.raw() << 8 | (ipa & !0xfff),
        }
    }

    /// What that stands for.
    fn from_raw(raw: u64) -> Option<Self> {
        match raw & 0xff {
            1 => Some(Self::Realm),
            2 => Some(Self::Rd),
            3 => Some(Self::Rec(raw >> 12)),
            4 => RttLevel::from_raw(raw >> 8 & 0xf).map(|level| Self::Rtt(level, raw & !0xfff)),
            _ => None,
        }
    }
}

/// A list in a dump.
///
/// A crash kernel may look at any time: an entry has its granule last, and loses it first.
pub struct List {
    pages: KVec<Page>,
    /// No entry before this one is free.
    full: usize,
    /// Where one was struck out last. Tables come and go in the order of what they map, so that the next
    /// one to go is near.
    near: usize,
}

impl List {
    /// An empty list.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        let mut pages = KVec::new();
        pages.push(Page::new()?, GFP_KERNEL_ACCOUNT)?;
        Ok(Self {
            pages,
            full: 0,
            near: 0,
        })
    }

    /// Where it begins.
    pub fn pa(&self) -> PhysAddr {
        self.pages.first().map_or(PhysAddr::new(0), Page::pa)
    }

    /// Lists a granule that is not listed.
    pub fn add(&mut self, granule: PhysAddr, what: What) {
        while self.granule(self.full).is_some_and(|there| there != 0) {
            self.full += 1;
        }
        if self.full == self.pages.len() * PER_PAGE && self.grow().is_err() {
            if let Some(first) = self.pages.first_mut() {
                let missing = first.read(MISSING);
                first.write(MISSING, missing + 1);
            }
            return;
        }
        if let Some(page) = self.pages.get_mut(self.full / PER_PAGE) {
            let at = entry(self.full);
            page.write(at + WHAT, what.raw());
            page.write(at, granule.raw());
        }
    }

    /// Strikes out a granule, if it is listed.
    pub fn remove(&mut self, granule: PhysAddr) {
        let all = self.pages.len() * PER_PAGE;
        let mut places = (self.near..all).chain(0..self.near.min(all));
        let Some(at) = places.find(|n| self.granule(*n) == Some(granule.raw())) else {
            return;
        };
        if let Some(page) = self.pages.get_mut(at / PER_PAGE) {
            page.write(entry(at), 0);
        }
        self.full = self.full.min(at);
        self.near = at;
    }

    /// Calls `each` for what is listed.
    fn for_each(&self, mut each: impl FnMut(PhysAddr, What)) {
        for page in self.pages.iter() {
            for at in (0..PER_PAGE).map(entry) {
                let (granule, what) = (page.read(at), page.read(at + WHAT));
                if let (1.., Some(what)) = (granule, What::from_raw(what)) {
                    each(PhysAddr::new(granule), what);
                }
            }
        }
    }

    /// The granule of an entry, or 0. `None` if there is no such entry.
    fn granule(&self, n: usize) -> Option<u64> {
        let page = self.pages.get(n / PER_PAGE)?;
        Some(page.read(entry(n)))
    }

    /// Adds a page.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    fn grow(&mut self) -> Result {
        let page = Page::new()?;
        let pa = page.pa();
        self.pages.push(page, GFP_KERNEL_ACCOUNT)?;
        let last = self.pages.len() - 2;
        if let Some(last) = self.pages.get_mut(last) {
            last.write(NEXT, pa.raw());
        }
        Ok(())
    }
}

/// What the RMM has for a realm.
pub struct Objects(Mutex<Option<Listed>>);

/// What there is of it, from when there is something.
struct Listed {
    list: List,
    /// What the RMM was lent for the descriptor, which crash kernels do not find.
    lent: Option<Lent>,
    /// The VM goes away: nothing is struck out any more.
    ended: bool,
}

impl Objects {
    /// There is no realm yet.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self(mutex!(None, "kvm_arm_rmi::objects")?))
    }

    /// The realm is New now: crash kernels find it in `realms`, and of it the RD and the starting tables.
    pub(super) fn begin(
        &self,
        realms: &Mutex<List>,
        (mut list, lent): (List, Option<Lent>),
        (rd, root): (PhysAddr, PhysAddr),
        layout: &Layout,
    ) {
        list.add(rd, What::Rd);
        for n in 0..1 << layout.order {
            let table = PhysAddr::new(root.raw() + n * GRANULE_SIZE);
            list.add(table, What::Rtt(layout.start, n * table_size(layout.start)));
        }
        realms.lock().add(list.pa(), What::Realm);
        *self.0.lock() = Some(Listed {
            list,
            lent,
            ended: false,
        });
    }

    /// This has been made of a granule.
    pub fn add(&self, granule: PhysAddr, what: What) {
        if let Some(listed) = &mut *self.0.lock() {
            listed.list.add(granule, what);
        }
    }

    /// Calls `each` for the granules of the realm's that are listed, and for what was lent for the descriptor
    /// as for that. False if somebody has the list, for whom this cannot wait if it may not sleep.
    pub(super) fn for_each(&self, may_sleep: bool, mut each: impl FnMut(PhysAddr, What)) -> bool {
        let listed = match may_sleep {
            true => Some(self.0.lock()),
            false => self.0.try_lock(),
        };
        let Some(listed) = listed else { return false };
        if let Some(Listed { list, lent, .. }) = &*listed {
            list.for_each(&mut each);
            let lent = lent.iter().flat_map(Lent::granules);
            lent.for_each(|granule| each(granule, What::Rd));
        }
        true
    }

    /// These granules are nothing of the realm's any more.
    pub fn remove(&self, granules: &GranuleRange<Delegated>) {
        if let Some(Listed { list, ended: false, .. }) = &mut *self.0.lock() {
            granules.range().addresses().for_each(|granule| list.remove(granule));
        }
    }

    /// The VM goes away: no crash kernel finds the realm any more, nor what is left of it. The host does, and
    /// may find more than there is: what comes back is not looked for in a list that may be long.
    pub(super) fn end(&self, realms: &Mutex<List>) {
        // Neither of the locks is taken under the other.
        let list = match &mut *self.0.lock() {
            Some(listed) => {
                listed.ended = true;
                listed.list.pa()
            }
            None => return,
        };
        realms.lock().remove(list);
    }
}

/// Offset of an entry in its page.
fn entry(n: usize) -> usize {
    ENTRIES + n % PER_PAGE * ENTRY
}
