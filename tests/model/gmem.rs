// SPDX-License-Identifier: GPL-2.0

//! A file of guest_memfd.

use super::{machine::machine, mm::Notifier, pages::Pages, prelude::*};
use crate::rmi::GRANULE_SIZE;
use std::ops::Range;
use std::sync::{Arc as StdArc, Weak};

/// A file of guest_memfd, which VMs have in slots.
#[derive(Default)]
pub struct Gmem {
    /// The first page is number 0.
    pages: shuttle::sync::Mutex<Pages>,
    invalidate_lock: shuttle::sync::RwLock<()>,
    bound: shuttle::sync::Mutex<Vec<Weak<dyn Notifier>>>,
    closed: shuttle::sync::atomic::AtomicBool,
}

impl Gmem {
    /// An empty file.
    pub fn new() -> StdArc<Self> {
        StdArc::default()
    }

    pub(super) fn bind(&self, vm: &StdArc<dyn Notifier>) {
        self.bound.lock().unwrap().push(StdArc::downgrade(vm));
    }

    /// `kvm_gmem_get_pfn()`: a page, with a reference; a new one if there is none.
    pub(super) fn get(&self, page: u64) -> Result<u64> {
        machine().may_sleep("a page of guest_memfd");
        if self.is_closed() {
            return Err(EFAULT);
        }
        if self.page(page).is_none() {
            machine().take_a_while();
        }
        self.pages.lock().unwrap().find(page)
    }

    /// `kvm_gmem_get_run()`: so many pages next to each other in memory, each with a reference, if they are
    /// there, or nothing is and there is such memory.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while a hole is made.
    pub(super) fn get_run(&self, first: u64, order: u32) -> Result<Option<Vec<u64>>> {
        machine().may_sleep("pages of guest_memfd");
        let (numbers, bytes) = (first..first + (1 << order), GRANULE_SIZE << order);
        if first % (1 << order) != 0 || self.is_closed() {
            return Ok(None);
        }
        if self.is_empty(&numbers) && !self.add_run(&numbers, order)? {
            return Ok(None);
        }
        // What is there by now.
        let Ok(base) = self.get(first) else {
            return Ok(None);
        };
        machine().put_page(base);
        let pages = self.pages.lock().unwrap();
        let is_next =
            |number: u64| pages.get(&number) == Some(&(base + (number - first) * GRANULE_SIZE));
        if base % bytes != 0 || !numbers.clone().all(is_next) {
            return Ok(None);
        }
        let all: Vec<u64> = (base..base + bytes)
            .step_by(GRANULE_SIZE as usize)
            .collect();
        all.iter().for_each(|pa| machine().get_page(*pa));
        Ok(Some(all))
    }

    fn is_closed(&self) -> bool {
        self.closed.load(core::sync::atomic::Ordering::SeqCst)
    }

    fn is_empty(&self, numbers: &Range<u64>) -> bool {
        let pages = self.pages.lock().unwrap();
        let is_empty = pages.range(numbers.clone()).next().is_none();
        is_empty
    }

    /// Puts new pages that follow each other into an empty part of the file. False if that cannot be.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while a hole is made.
    fn add_run(&self, numbers: &Range<u64>, order: u32) -> Result<bool> {
        let _no_hole = self.invalidate_lock.try_read().map_err(|_| EAGAIN)?;
        let Ok(base) = machine().alloc_pages(order) else {
            return Ok(false);
        };
        machine().take_a_while();
        // What they are charged to has enough left for them; and who is at work on a file keeps it from being
        // closed.
        let is_wanted = machine().allocate().is_ok() && !self.is_closed();
        let all = (0..1 << order).map(|n| base + n * GRANULE_SIZE);
        if !is_wanted || !self.is_empty(numbers) {
            machine().put_pages(&all.collect::<Vec<_>>());
            return Ok(false);
        }
        let mut pages = self.pages.lock().unwrap();
        for (number, pa) in numbers.clone().zip(all) {
            pages.insert(number, pa);
        }
        Ok(true)
    }

    /// `fallocate()`: there are pages with these numbers.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn fill(&self, pages: Range<u64>) -> Result {
        for number in pages {
            machine().put_page(self.pages.lock().unwrap().find(number)?);
        }
        Ok(())
    }

    /// The page with this number, if there is one.
    pub fn page(&self, page: u64) -> Option<u64> {
        self.pages.lock().unwrap().get(&page).copied()
    }

    /// `FALLOC_FL_PUNCH_HOLE`. When this returns the pages are somebody else's, unless a VM has strays.
    pub fn punch(&self, pages: Range<u64>) {
        let _invalidating = self.invalidate_lock.write().unwrap();
        let bound = self.bound.lock().unwrap().clone();
        let bound: Vec<_> = bound.iter().filter_map(Weak::upgrade).collect();
        let begun: Vec<_> = bound.iter().map(|vm| vm.start_gmem(self, &pages)).collect();
        if !bound.iter().any(|vm| vm.is_kept()) {
            let gone = self.pages.lock().unwrap().take(pages);
            machine().put_pages(&gone);
        }
        for (vm, begun) in bound.iter().zip(begun) {
            vm.end_gmem(begun);
        }
    }

    /// `kvm_gmem_keep()`: what has not come back has a reference from now on that nobody drops.
    pub(super) fn keep(&self, pages: Range<u64>) {
        let bound = self.bound.lock().unwrap().clone();
        let bound = bound
            .iter()
            .filter_map(Weak::upgrade)
            .filter(|vm| vm.is_kept());
        let bound: Vec<_> = bound.collect();
        let all: Vec<_> = self
            .pages
            .lock()
            .unwrap()
            .range(pages)
            .map(|(n, pa)| (*n, *pa))
            .collect();
        for (number, pa) in all {
            if bound.iter().any(|vm| vm.keeps(self, number)) {
                machine().get_page(pa);
            }
        }
    }

    /// The last descriptor is closed.
    pub fn close(&self) {
        self.closed
            .store(true, core::sync::atomic::Ordering::SeqCst);
        self.punch(0..u64::MAX);
        self.keep(0..u64::MAX);
    }
}
