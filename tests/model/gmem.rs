// SPDX-License-Identifier: GPL-2.0

//! A file of guest_memfd.

use super::{machine::machine, mm::Notifier, pages::Pages, prelude::*};
use std::ops::Range;
use std::sync::{Arc as StdArc, Weak};

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
