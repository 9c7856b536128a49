// SPDX-License-Identifier: GPL-2.0

//! The VMM's address space: pages that come when they are touched and can be taken away, of which MMU
//! notifiers are told.

use super::{machine::machine, pages::Pages};
use crate::rmi::GRANULE_SIZE;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Arc as StdArc, Weak};

/// Pages in a huge one.
const HUGE: u64 = 512;

/// `struct mmu_notifier`, and what guest_memfd tells a VM.
pub(super) trait Notifier: Send + Sync {
    /// Memory is about to go: addresses in the VMM's address space. Returns what the end is told.
    fn start(&self, hvas: &Range<u64>, may_block: bool) -> usize;

    /// It has gone.
    fn end(&self, begun: usize);

    /// Pages of a file of guest_memfd are about to go.
    fn start_gmem(&self, file: &super::gmem::Gmem, pages: &Range<u64>) -> usize;

    /// They have gone.
    fn end_gmem(&self, begun: usize);

    /// Something of guest_memfd has not come back.
    fn is_kept(&self) -> bool;

    /// This page of a file has not.
    fn keeps(&self, file: &super::gmem::Gmem, page: u64) -> bool;
}

/// An address space.
#[derive(Default)]
pub struct Mm {
    /// By their numbers.
    pages: shuttle::sync::Mutex<Pages>,
    /// Huge pages, by the number of their first page. All of their pages are in `pages` as well.
    huge: shuttle::sync::Mutex<BTreeMap<u64, u64>>,
    /// Pages that may not be written.
    read_only: shuttle::sync::Mutex<BTreeSet<u64>>,
    notifiers: shuttle::sync::Mutex<Vec<Weak<dyn Notifier>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<StdArc<Mm>>> = const { RefCell::new(None) };
}

/// The address space of the process that the test plays.
pub fn current() -> Option<StdArc<Mm>> {
    CURRENT.with(|current| current.borrow().clone())
}

pub(super) fn forget() {
    let mm = CURRENT.with(|current| current.borrow_mut().take());
    drop(mm);
}

impl Mm {
    /// A new address space becomes that of the process that the test plays.
    pub fn new() -> StdArc<Self> {
        let mm = StdArc::new(Self::default());
        CURRENT.with(|current| *current.borrow_mut() = Some(mm.clone()));
        mm
    }

    pub(super) fn register(&self, notifier: &StdArc<dyn Notifier>) {
        let mut notifiers = self.notifiers.lock().unwrap();
        notifiers.push(StdArc::downgrade(notifier));
    }

    /// The page at `hva`, with a reference; a new one if there is none. `None` if there is no memory.
    pub fn get(&self, hva: u64) -> Option<u64> {
        let mut pages = self.pages.lock().unwrap();
        pages.find(hva / GRANULE_SIZE).ok()
    }

    /// The page at `hva`, with a reference, if there is one already.
    pub(super) fn present(&self, hva: u64) -> Option<u64> {
        self.pages.lock().unwrap().present(hva / GRANULE_SIZE)
    }

    /// The same without a reference: the page may go at any time.
    pub fn page(&self, hva: u64) -> Option<u64> {
        let pa = self.get(hva)?;
        machine().put_page(pa);
        Some(pa)
    }

    /// The huge page that `hva` is in: its first address, and where it is.
    pub fn huge(&self, hva: u64) -> Option<(u64, u64)> {
        let first = hva / GRANULE_SIZE / HUGE * HUGE;
        let pa = *self.huge.lock().unwrap().get(&first)?;
        Some((first * GRANULE_SIZE, pa))
    }

    /// Makes a huge page of the small ones around `hva`, as khugepaged does; if there is one free.
    pub fn collapse(&self, hva: u64) {
        let first = hva / GRANULE_SIZE / HUGE * HUGE;
        let Ok(base) = machine().alloc_pages(HUGE.ilog2()) else {
            return;
        };
        self.change(first..first + HUGE, |pages| {
            let gone = pages.take(first..first + HUGE);
            pages.extend((0..HUGE).map(|n| (first + n, base + n * GRANULE_SIZE)));
            self.huge.lock().unwrap().insert(first, base);
            gone
        });
    }

    /// Makes small pages of a huge one.
    fn split(&self, page: u64) {
        let first = page / HUGE * HUGE;
        if self.huge.lock().unwrap().contains_key(&first) {
            self.change(first..first + HUGE, |_| {
                self.huge.lock().unwrap().remove(&first);
                Vec::new()
            });
        }
    }

    /// `mprotect()`: whether a page may be written from now on.
    pub fn protect(&self, hva: u64, writable: bool) {
        let page = hva / GRANULE_SIZE;
        if writable {
            self.read_only.lock().unwrap().remove(&page);
            return;
        }
        self.split(page);
        self.change(page..page + 1, |_| {
            self.read_only.lock().unwrap().insert(page);
            Vec::new()
        });
    }

    /// True if the page at `hva` may be written.
    pub(super) fn is_writable(&self, hva: u64) -> bool {
        let page = hva / GRANULE_SIZE;
        !self.read_only.lock().unwrap().contains(&page)
    }

    /// `MADV_DONTNEED`: takes pages away. When this returns they are somebody else's.
    ///
    /// # Panics
    ///
    /// A realm can reach one after the notifiers have returned.
    pub fn discard(&self, hvas: Range<u64>) {
        let range = hvas.start / GRANULE_SIZE..hvas.end.div_ceil(GRANULE_SIZE);
        self.split(range.start);
        self.split(range.end - 1);
        self.change(range.clone(), |pages| {
            let mut huge = self.huge.lock().unwrap();
            huge.retain(|first, _| !range.contains(first));
            pages.take(range.clone())
        });
    }

    /// The OOM reaper takes pages away: it does not wait for anything.
    pub fn reap(&self, hvas: Range<u64>) {
        let range = hvas.start / GRANULE_SIZE..hvas.end.div_ceil(GRANULE_SIZE);
        self.change_and(false, range.clone(), |pages| pages.take(range));
    }

    /// Changes what pages of these numbers are, between the two calls of the notifiers. `f` returns those
    /// that go.
    fn change(&self, range: Range<u64>, f: impl FnOnce(&mut Pages) -> Vec<u64>) {
        self.change_and(true, range, f);
    }

    /// The same where notifiers may not block, unless they `may_block`.
    fn change_and(
        &self,
        may_block: bool,
        range: Range<u64>,
        f: impl FnOnce(&mut Pages) -> Vec<u64>,
    ) {
        let hvas = range.start * GRANULE_SIZE..range.end * GRANULE_SIZE;
        let notifiers = self.notifiers.lock().unwrap().clone();
        let notifiers: Vec<_> = notifiers.iter().filter_map(Weak::upgrade).collect();
        // As if a lock were held.
        if !may_block {
            machine().spinning(true);
        }
        let begun: Vec<_> = notifiers
            .iter()
            .map(|n| n.start(&hvas, may_block))
            .collect();
        if !may_block {
            machine().spinning(false);
        }
        let gone = f(&mut self.pages.lock().unwrap());
        let reached = machine().reached(&gone);
        assert_eq!(
            reached, None,
            "a realm can reach a page although its notifier has returned"
        );
        machine().put_pages(&gone);
        for (notifier, begun) in notifiers.iter().zip(begun) {
            notifier.end(begun);
        }
    }
}
