// SPDX-License-Identifier: GPL-2.0

//! Memory slots, and `kvm->slots_lock`.

use super::{
    gmem::Gmem,
    kvm::{Kvm, MmuReadLock},
    machine::machine,
    memory::GmemPage,
    mm,
    prelude::*, //
};
use crate::rmi::{GranuleRange, PhysAddr, Undelegated};
use std::ops::Range;

/// Pages that [`Memslot::with_present`] looks for at once.
pub const PRESENT: usize = 16;

/// What a slot consists of.
#[derive(Clone)]
pub struct SlotState {
    /// Its granules.
    pub gfns: Range<u64>,
    /// Where the shared half is in the VMM's address space.
    pub hva: u64,
    /// The file that has the private half, and the first page there.
    pub gmem: Option<(std::sync::Arc<Gmem>, u64)>,
    /// It is about to go.
    pub(super) invalid: bool,
}

/// The slots of a VM at a time. Whoever looks at them has a reference, and those who change them wait
/// until that has gone, as for SRCU.
pub type SlotArray = Vec<SlotState>;

/// A read section of `kvm->srcu`: the memory slots that are there stay.
pub struct Slots<'a> {
    slots: std::sync::Arc<SlotArray>,
    _kvm: &'a Kvm,
}

impl<'a> Slots<'a> {
    /// Begins to look at the memory slots of a VM.
    pub fn read(kvm: &'a Kvm) -> Self {
        let slots = kvm.0.slots.lock().unwrap().clone();
        Self { slots, _kvm: kvm }
    }

    /// The slot that granule `gfn` is in.
    pub fn find(&self, gfn: u64) -> Option<Memslot<'_>> {
        self.first(&(gfn..gfn + 1))
    }

    /// The first slot, from the bottom, that has any of the granules `gfns`.
    pub fn first(&self, gfns: &Range<u64>) -> Option<Memslot<'_>> {
        let overlaps = |slot: &&SlotState| slot.gfns.start < gfns.end && gfns.start < slot.gfns.end;
        let all = self.slots.iter().filter(overlaps);
        all.min_by_key(|slot| slot.gfns.start).map(Memslot)
    }

    /// Which granules of slots have their shared half at `hvas`.
    pub(super) fn at_hvas(&self, hvas: &Range<u64>) -> Vec<Range<u64>> {
        let size = crate::rmi::GRANULE_SIZE;
        let part = |slot: &SlotState| {
            let first = hvas.start.max(slot.hva).saturating_sub(slot.hva) / size;
            let end = hvas.end.saturating_sub(slot.hva).div_ceil(size);
            let end = slot.gfns.end.min(slot.gfns.start.saturating_add(end));
            slot.gfns.start + first..end
        };
        let parts = self.slots.iter().map(part);
        parts.filter(|gfns| gfns.start < gfns.end).collect()
    }

    /// Which granules of slots have their private half in `pages` of a file.
    pub(super) fn in_file(&self, file: &Gmem, pages: &Range<u64>) -> Vec<Range<u64>> {
        let part = |slot: &SlotState| {
            let (this, offset) = slot.gmem.as_ref()?;
            if !core::ptr::eq(&**this, file) {
                return None;
            }
            let first = pages.start.max(*offset) - offset;
            let end = pages.end.saturating_sub(*offset);
            let end = slot.gfns.end.min(slot.gfns.start.saturating_add(end));
            Some(slot.gfns.start + first..end)
        };
        let parts = self.slots.iter().filter_map(part);
        parts.filter(|gfns| gfns.start < gfns.end).collect()
    }
}

/// A memory slot.
pub struct Memslot<'a>(&'a SlotState);

impl Memslot<'_> {
    /// The slot's granules.
    pub fn gfns(&self) -> Range<u64> {
        self.0.gfns.clone()
    }

    /// True if the slot has private memory.
    pub fn has_gmem(&self) -> bool {
        self.0.gmem.is_some()
    }

    /// `KVM_MEMSLOT_INVALID`: the slot is about to go, or to be moved.
    pub fn is_invalid(&self) -> bool {
        self.0.invalid
    }

    /// Nothing is logged here.
    pub fn is_logged(&self) -> bool {
        false
    }

    /// Calls `map` with the pages that user space has for `gfns` already, from the first one on, as long as
    /// there is one that is as `writable` as it ought to be. Returns how many there were.
    pub fn with_present(
        &self,
        gfns: Range<u64>,
        writable: bool,
        _lock: &MmuReadLock<'_>,
        map: impl FnOnce(&[PhysAddr]) -> usize,
    ) -> usize {
        let mm = mm::current().expect("a process");
        let pages: Vec<_> = gfns
            .take(PRESENT)
            .map_while(|gfn| {
                let hva = self.hva(gfn)?;
                let page = mm.present(hva)?;
                let allowed = !writable || mm.is_writable(hva);
                if !allowed {
                    machine().put_page(page);
                }
                allowed.then_some(PhysAddr::new(page))
            })
            .collect();
        if !pages.is_empty() {
            assert!(map(&pages) <= pages.len());
        }
        pages.iter().for_each(|page| machine().put_page(page.raw()));
        pages.len()
    }

    /// The page of granule `gfn`, which is in the slot, with a reference. It is zeroed if it is new.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or `EFAULT` if there is no file.
    pub fn get_page(&self, gfn: u64) -> Result<GmemPage> {
        let (file, first) = self.0.gmem.as_ref().ok_or(EFAULT)?;
        let pa = file.get(first + (gfn - self.0.gfns.start))?;
        Ok(GmemPage::new(pa))
    }

    /// `1 << order` pages from granule `gfn` on, next to each other in memory and aligned to their number,
    /// each with a reference. `None` if the file has others, or there is no such memory.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while a part of the file is being taken away.
    pub fn get_run(&self, gfn: u64, order: u32) -> Result<Option<GranuleRange<Undelegated>>> {
        assert!(self.0.gfns.start <= gfn && gfn + (1 << order) <= self.0.gfns.end);
        let Some((file, first)) = self.0.gmem.as_ref() else {
            return Ok(None);
        };
        let pages = file.get_run(first + (gfn - self.0.gfns.start), order)?;
        Ok(pages.and_then(|pages| GmemPage::join(pages.into_iter().map(GmemPage::new))))
    }

    pub(super) fn hva(&self, gfn: u64) -> Option<u64> {
        let offset = gfn.checked_sub(self.0.gfns.start)?;
        (!self.0.invalid).then_some(self.0.hva + offset * crate::rmi::GRANULE_SIZE)
    }
}

/// A memory slot that is about to be made or moved.
pub struct NewSlot {
    /// Its granules. The end may be past what a number can hold.
    pub first: u64,
    /// How many.
    pub granules: u64,
    /// The realm must not write.
    pub read_only: bool,
    /// User space can map its file of guest_memfd.
    pub gmem_only: bool,
}

/// `kvm->slots_lock`.
pub struct SlotsLock<'a> {
    kvm: &'a Kvm,
    _guard: shuttle::sync::MutexGuard<'a, ()>,
}

impl<'a> SlotsLock<'a> {
    /// Takes the lock of a VM.
    ///
    /// # Errors
    ///
    /// `EINTR` for a signal.
    pub fn new(kvm: &'a Kvm) -> Result<Self> {
        machine().may_sleep("slots_lock");
        let guard = kvm.0.slots_lock.lock().unwrap();
        Ok(Self { kvm, _guard: guard })
    }

    /// The VM.
    pub fn kvm(&self) -> &'a Kvm {
        self.kvm
    }

    /// Calls `visit` for the granules of each slot that has private memory.
    ///
    /// # Errors
    ///
    /// The first that `visit` returns.
    pub fn for_each_gmem(&self, visit: impl FnMut(Range<u64>) -> Result) -> Result {
        let slots = self.kvm.0.slots.lock().unwrap().clone();
        let gmem = slots.iter().filter(|slot| slot.gmem.is_some());
        gmem.map(|slot| slot.gfns.clone()).try_for_each(visit)
    }

    /// Puts other slots in the place of those that there are, while no MMU notifier is between its
    /// beginning and its end, and waits for who looks at them.
    pub(super) fn replace(&self, change: impl FnOnce(&mut SlotArray)) {
        while self
            .kvm
            .0
            .notifying
            .load(core::sync::atomic::Ordering::SeqCst)
            != 0
        {
            shuttle::thread::yield_now();
        }
        let old = {
            let mut slots = self.kvm.0.slots.lock().unwrap();
            let mut new = (**slots).clone();
            change(&mut new);
            core::mem::replace(&mut *slots, std::sync::Arc::new(new))
        };
        while std::sync::Arc::strong_count(&old) > 1 {
            shuttle::thread::yield_now();
        }
    }
}
