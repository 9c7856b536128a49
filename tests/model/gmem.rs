// SPDX-License-Identifier: GPL-2.0

//! A file of guest_memfd.

use super::{machine::machine, mm::Notifier, pages::Pages, prelude::*};
use crate::rmi::GRANULE_SIZE;
use std::ops::Range;
use std::sync::{Arc as StdArc, Weak};

/// Pages that enter a file at once, in truth one by one.
const RUN_STEP: usize = 128;

/// A file of guest_memfd, which VMs have in slots.
#[derive(Default)]
pub struct Gmem {
    /// The first page is number 0.
    pages: shuttle::sync::Mutex<Pages>,
    invalidate_lock: shuttle::sync::Mutex<()>,
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
        if self.closed.load(core::sync::atomic::Ordering::SeqCst) {
            return Err(EFAULT);
        }
        if self.page(page).is_none() {
            machine().take_a_while();
        }
        self.pages.lock().unwrap().find(page)
    }

    /// `kvm_gmem_get_run()`: so many pages next to each other in memory, each with a reference, as far as
    /// they enter the file before somebody else's. There are none if a page is there already.
    pub(super) fn get_run(&self, first: u64, order: u32) -> Result<Vec<u64>> {
        machine().may_sleep("pages of guest_memfd");
        if self.closed.load(core::sync::atomic::Ordering::SeqCst) {
            return Err(EFAULT);
        }
        let numbers = first..first + (1 << order);
        let is_there = self
            .pages
            .lock()
            .unwrap()
            .range(numbers.clone())
            .next()
            .is_some();
        let base = match is_there {
            true => return Ok(Vec::new()),
            false => machine().alloc_pages(order),
        };
        let Ok(base) = base else {
            return Ok(Vec::new());
        };
        machine().take_a_while();
        let pa = |number: u64| base + (number - first) * GRANULE_SIZE;
        let mut got = 0;
        for some in numbers.clone().step_by(RUN_STEP) {
            // What they are charged to may have too little left.
            if machine().allocate().is_err() {
                break;
            }
            let mut pages = self.pages.lock().unwrap();
            let some = some..numbers.end.min(some + RUN_STEP as u64);
            let end = pages
                .range(some.clone())
                .next()
                .map_or(some.end, |(number, _)| *number);
            for number in some.start..end {
                pages.insert(number, pa(number));
                machine().get_page(pa(number));
            }
            got = end - first;
            if end != some.end {
                break;
            }
        }
        let (entered, rest): (Vec<u64>, Vec<u64>) = numbers
            .map(pa)
            .partition(|pa| *pa < base + got * GRANULE_SIZE);
        machine().put_pages(&rest);
        Ok(entered)
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

    /// `FALLOC_FL_PUNCH_HOLE`. When this returns the pages are somebody else's.
    pub fn punch(&self, pages: Range<u64>) {
        let _invalidating = self.invalidate_lock.lock().unwrap();
        let bound = self.bound.lock().unwrap().clone();
        let bound: Vec<_> = bound.iter().filter_map(Weak::upgrade).collect();
        let begun: Vec<_> = bound.iter().map(|vm| vm.start_gmem(self, &pages)).collect();
        let gone = self.pages.lock().unwrap().take(pages);
        machine().put_pages(&gone);
        for (vm, begun) in bound.iter().zip(begun) {
            vm.end_gmem(begun);
        }
    }

    /// The last descriptor is closed.
    pub fn close(&self) {
        self.closed
            .store(true, core::sync::atomic::Ordering::SeqCst);
        self.punch(0..u64::MAX);
    }
}
