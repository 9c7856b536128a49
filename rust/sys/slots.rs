// SPDX-License-Identifier: GPL-2.0

//! Memory slots, and `kvm->slots_lock`.

use super::kernel::{
    bindings,
    error::{from_result, to_result},
    prelude::*,
    types::NotThreadSafe, //
};
use super::{
    ffi,
    kvm::{Kvm, MmuReadLock},
    memory::{self, GmemPage}, //
};
use crate::rmi::{GranuleRange, PhysAddr, Undelegated};
use core::{marker::PhantomData, ops::Range};

/// Pages that [`Memslot::with_present`] looks for at once.
pub const PRESENT: usize = 16;

/// A read section of `kvm->srcu`: the memory slots that are there stay.
pub struct Slots<'a> {
    kvm: &'a Kvm,
    index: c_int,
    _task: NotThreadSafe,
}

impl<'a> Slots<'a> {
    /// Begins to look at the memory slots of a VM.
    pub fn read(kvm: &'a Kvm) -> Self {
        // SAFETY: The VM is alive.
        let index = unsafe { bindings::srcu_read_lock(&raw mut (*kvm.as_ptr()).srcu) };
        Self {
            kvm,
            index,
            _task: NotThreadSafe,
        }
    }

    /// The slot that granule `gfn` is in.
    pub fn find(&self, gfn: u64) -> Option<Memslot<'_>> {
        // SAFETY: This is a read section, and the VM is alive.
        let slot = unsafe { ffi::kvm_rmi_helper_gfn_to_memslot(self.kvm.as_ptr(), gfn) };
        self.slot(slot)
    }

    /// The first slot, from the bottom, that has any of the granules `gfns`.
    pub fn first(&self, gfns: &Range<u64>) -> Option<Memslot<'_>> {
        let kvm = self.kvm.as_ptr();
        // SAFETY: This is a read section, and the VM is alive.
        let slot = unsafe { ffi::kvm_rmi_helper_first_memslot(kvm, gfns.start, gfns.end) };
        self.slot(slot)
    }

    fn slot(&self, slot: *mut bindings::kvm_memory_slot) -> Option<Memslot<'_>> {
        // INVARIANT: Slots that are found in a read section are valid until it ends.
        (!slot.is_null()).then_some(Memslot {
            kvm: self.kvm,
            slot,
            _slots: PhantomData,
        })
    }
}

impl Drop for Slots<'_> {
    fn drop(&mut self) {
        // SAFETY: Ends the section that this began.
        unsafe { bindings::srcu_read_unlock(&raw mut (*self.kvm.as_ptr()).srcu, self.index) };
    }
}

/// A memory slot.
///
/// # Invariants
///
/// `slot` is a slot of `kvm`, and valid for `'a`.
pub struct Memslot<'a> {
    kvm: &'a Kvm,
    slot: *mut bindings::kvm_memory_slot,
    _slots: PhantomData<&'a ()>,
}

impl Memslot<'_> {
    /// The slot's granules.
    pub fn gfns(&self) -> Range<u64> {
        // SAFETY: By the type's invariant; these fields do not change.
        let (base, pages) = unsafe { ((*self.slot).base_gfn, (*self.slot).npages) };
        base..base + pages as u64
    }

    /// True if the slot has private memory.
    pub fn has_gmem(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { (*self.slot).flags & bindings::KVM_MEM_GUEST_MEMFD != 0 }
    }

    /// `KVM_MEMSLOT_INVALID`: the slot is about to go, or to be moved.
    pub fn is_invalid(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { (*self.slot).flags & bindings::KVM_MEMSLOT_INVALID != 0 }
    }

    /// `KVM_MEM_LOG_DIRTY_PAGES`: what of its shared memory is written is logged.
    pub fn is_logged(&self) -> bool {
        // SAFETY: By the type's invariant.
        unsafe { (*self.slot).flags & bindings::KVM_MEM_LOG_DIRTY_PAGES != 0 }
    }

    /// Calls `map` with the pages of user space that `gfns`, which are in the slot, share: from the first one
    /// on, as long as user space has a page there already, which it may write if it is to be `writable`;
    /// [`PRESENT`] at most. It says how many it has mapped. Nothing is brought in. Returns how many pages
    /// there were.
    ///
    /// The pages stay where they are until `lock` is dropped: whoever takes one away announces it to KVM's
    /// notifier first, which needs the lock for writing.
    pub fn with_present(
        &self,
        gfns: Range<u64>,
        writable: bool,
        _lock: &MmuReadLock<'_>,
        map: impl FnOnce(&[PhysAddr]) -> usize,
    ) -> usize {
        let mut pages = [core::ptr::null_mut(); PRESENT];
        let wanted = (gfns.end - gfns.start).min(PRESENT as u64) as c_int;
        // SAFETY: By the type's invariant, and there is room for as many pages as are wanted.
        let there = unsafe {
            ffi::kvm_rmi_helper_get_present_pages(
                self.slot,
                gfns.start,
                wanted,
                writable,
                pages.as_mut_ptr(),
            )
        };
        let pages = &pages[..usize::try_from(there).unwrap_or(0).min(PRESENT)];
        if pages.is_empty() {
            return 0;
        }
        let mut pas = [PhysAddr::new(0); PRESENT];
        for (pa, page) in pas.iter_mut().zip(pages) {
            // SAFETY: The page came with a reference.
            *pa = PhysAddr::new(unsafe { ffi::kvm_rmi_helper_page_to_phys(*page) });
        }
        let mapped = map(&pas[..pages.len()]);
        for (n, page) in pages.iter().enumerate() {
            // SAFETY: The reference is ours, and the lock is held.
            unsafe { ffi::kvm_rmi_helper_release_page(*page, writable && n < mapped) };
        }
        pages.len()
    }

    /// The page of granule `gfn`, which is in the slot, with a reference. It is zeroed if it is new.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, `EHWPOISON`, or `EFAULT` if the file was closed.
    pub fn get_page(&self, gfn: u64) -> Result<GmemPage> {
        let mut pfn = 0;
        let mut page = core::ptr::null_mut();
        // SAFETY: By the type's invariant, and `gfn` is in the slot. The results have room.
        let result = unsafe {
            bindings::kvm_gmem_get_pfn(
                self.kvm.as_ptr(),
                self.slot,
                gfn,
                &mut pfn,
                &mut page,
                core::ptr::null_mut(),
            )
        };
        to_result(result)?;
        // SAFETY: The page came with a reference, from a file that is bound to this VM alone.
        unsafe { GmemPage::new(pfn) }.ok_or(EFAULT)
    }

    /// `1 << order` pages from granule `gfn` on, all of which are in the slot: pages that follow each other
    /// in memory and are aligned to their number, each with a reference. They are new, and zeroed, or all of
    /// them are there already. `None` if the file has others, or there is no such memory.
    ///
    /// # Errors
    ///
    /// `EAGAIN` while a part of the file is being taken away, for which nobody waits here.
    pub fn get_run(&self, gfn: u64, order: u32) -> Result<Option<GranuleRange<Undelegated>>> {
        let mut pfn = 0;
        // SAFETY: By the type's invariant, and the granules are in the slot. The result has room.
        let got = unsafe { bindings::kvm_gmem_get_run(self.slot, gfn, order, &mut pfn) };
        match u64::try_from(got) {
            Err(_) => Err(EAGAIN),
            Ok(0) => Ok(None),
            // SAFETY: So many pages came with a reference each, from a file that is bound to this VM alone.
            Ok(pages) => Ok(unsafe { memory::gmem_pages(pfn, pages) }),
        }
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

impl NewSlot {
    /// # Safety
    ///
    /// `slot` is valid.
    pub(super) unsafe fn of(slot: *const bindings::kvm_memory_slot) -> Self {
        // SAFETY: By the contract of this function.
        let slot = unsafe { &*slot };
        Self {
            first: slot.base_gfn,
            granules: slot.npages as u64,
            read_only: slot.flags & bindings::KVM_MEM_READONLY != 0,
            gmem_only: slot.flags & bindings::KVM_MEMSLOT_GMEM_ONLY != 0,
        }
    }
}

/// `kvm->slots_lock`.
pub struct SlotsLock<'a> {
    kvm: &'a Kvm,
    _task: NotThreadSafe,
}

impl<'a> SlotsLock<'a> {
    /// Takes the lock of a VM.
    ///
    /// # Errors
    ///
    /// `EINTR` for a signal: ioctls that take long hold it.
    pub fn new(kvm: &'a Kvm) -> Result<Self> {
        // SAFETY: The VM is alive.
        to_result(unsafe { ffi::kvm_rmi_helper_lock_slots_interruptible(kvm.as_ptr()) })?;
        Ok(Self {
            kvm,
            _task: NotThreadSafe,
        })
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
    pub fn for_each_gmem<F: FnMut(Range<u64>) -> Result>(&self, mut visit: F) -> Result {
        /// # Safety
        ///
        /// `slot` is a slot, and `arg` points to an `F` that nobody else uses.
        unsafe extern "C" fn step<F: FnMut(Range<u64>) -> Result>(
            slot: *mut bindings::kvm_memory_slot,
            arg: *mut c_void,
        ) -> c_int {
            // SAFETY: By the contract of this function.
            let (flags, base, pages, visit) = unsafe {
                (
                    (*slot).flags,
                    (*slot).base_gfn,
                    (*slot).npages as u64,
                    &mut *arg.cast::<F>(),
                )
            };
            match flags & bindings::KVM_MEM_GUEST_MEMFD {
                0 => 0,
                _ => from_result(|| visit(base..base + pages).map(|()| 0)),
            }
        }
        // SAFETY: The VM is alive, its `slots_lock` is held, and `visit` outlives the call.
        to_result(unsafe {
            ffi::kvm_rmi_helper_walk_memslots(
                self.kvm.as_ptr(),
                core::ptr::from_mut(&mut visit).cast(),
                step::<F>,
            )
        })
    }
}

impl Drop for SlotsLock<'_> {
    fn drop(&mut self) {
        // SAFETY: This took the lock.
        unsafe { bindings::mutex_unlock(&raw mut (*self.kvm.as_ptr()).slots_lock) };
    }
}
