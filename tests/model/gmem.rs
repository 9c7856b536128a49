// SPDX-License-Identifier: GPL-2.0

//! A file of guest_memfd.

use super::{machine::machine, mm::Notifier, pages::Pages, prelude::*};
use crate::rmi::GRANULE_SIZE;
use std::ops::Range;
use std::sync::{Arc as StdArc, Weak};

/// Pages that enter a file at once, in truth one by one.
const RUN_STEP: u64 = 128;

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

    /// `kvm_gmem_get_run()`: so many pages next to each other in memory, each with a reference, if they all
    /// enter the file before anybody else's.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the file is closed.
    pub(super) fn get_run(&self, first: u64, order: u32) -> Result<Option<Vec<u64>>> {
        machine().may_sleep("pages of guest_memfd");
        if self.closed.load(core::sync::atomic::Ordering::SeqCst) {
            return Err(EFAULT);
        }
        let numbers = first..first + (1 << order);
        let is_there = {
            let pages = self.pages.lock().unwrap();
            let there = pages.range(numbers.clone()).next().is_some();
            there
        };
        if is_there {
            return Ok(None);
        }
        let Ok(base) = machine().alloc_pages(order) else {
            return Ok(None);
        };
        machine().take_a_while();
        let pa = |number: u64| base + (number - first) * GRANULE_SIZE;
        let all: Vec<u64> = numbers.clone().map(pa).collect();
        let mut end = numbers.start;
        while end < numbers.end && machine().allocate().is_ok() {
            // What they are charged to has enough left for these.
            let mut pages = self.pages.lock().unwrap();
            let some = end..numbers.end.min(end + RUN_STEP);
            let others = pages.range(some.clone()).next();
            end = others.map_or(some.end, |(number, _)| *number);
            for number in some.start..end {
                pages.insert(number, pa(number));
                machine().get_page(pa(number));
            }
            if end != some.end {
                break;
            }
        }
        if end == numbers.end {
            return Ok(Some(all));
        }
        machine().put_pages(&all);
        // `invalidate_mapping_pages()`: unless somebody else has found them meanwhile.
        let mut pages = self.pages.lock().unwrap();
        for number in numbers.start..end {
            let is_ours = pages.get(&number) == Some(&pa(number));
            if is_ours && machine().references(pa(number)) == 1 {
                pages.remove(&number);
                machine().put_page(pa(number));
            }
        }
        Ok(None)
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
