// SPDX-License-Identifier: GPL-2.0

//! A file of guest_memfd.

use super::{machine::machine, mm::Notifier, prelude::*};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc as StdArc, Weak};

/// A file of guest_memfd, which VMs have in slots.
#[derive(Default)]
pub struct Gmem {
    /// The first page is number 0.
    pages: shuttle::sync::Mutex<BTreeMap<u64, u64>>,
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
        let mut pages = self.pages.lock().unwrap();
        let pa = match pages.get(&page) {
            Some(pa) => *pa,
            None => {
                let pa = machine().alloc_pages(0)?;
                pages.insert(page, pa);
                pa
            }
        };
        machine().get_page(pa);
        Ok(pa)
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
        let gone: Vec<u64> = {
            let mut all = self.pages.lock().unwrap();
            let numbers: Vec<u64> = all.range(pages.clone()).map(|(page, _)| *page).collect();
            numbers.iter().filter_map(|page| all.remove(page)).collect()
        };
        for pa in gone {
            machine().put_page(pa);
        }
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

impl Drop for Gmem {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for (_, pa) in core::mem::take(&mut *self.pages.lock().unwrap()) {
            machine().put_page(pa);
        }
    }
}
