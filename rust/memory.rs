// SPDX-License-Identifier: GPL-2.0

//! Memory of the host: pages for the RMM to look into, and granules to give away.

use crate::{
    ffi,
    rmi::{AddrRange, GranuleRange, Pages, PhysAddr, SharedPage, Undelegated, GRANULE_SIZE}, //
};
use core::ptr::NonNull;
use kernel::{
    alloc::AllocError,
    bindings,
    error::to_result,
    page::{Page, PAGE_SIZE},
    prelude::*, //
};

/// A page of the host that the RMM may read and write during a call.
///
/// # Invariants
///
/// `words` is the page in the kernel's linear map.
pub(crate) struct RmmBuffer {
    page: Page,
    words: NonNull<u64>,
}

// SAFETY: The page is owned, and reachable by every CPU.
unsafe impl Send for RmmBuffer {}

impl RmmBuffer {
    /// A zeroed page.
    pub(crate) fn new() -> Result<Self, AllocError> {
        let page = Page::alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO)?;
        // SAFETY: The page is valid.
        let words = unsafe { ffi::kvm_rmi_helper_page_address(page.as_ptr()) };
        Ok(Self {
            page,
            words: NonNull::new(words.cast()).ok_or(AllocError)?,
        })
    }

    /// Where the page is to the kernel.
    pub(crate) fn address(&self) -> *mut c_void {
        self.words.as_ptr().cast()
    }

    /// The word at byte `offset`. An offset past the page begins anew.
    fn word(&self, offset: usize) -> *mut u64 {
        let word = (offset & (PAGE_SIZE - 1)) / size_of::<u64>();
        // SAFETY: The word is in the page, by the type's invariant.
        unsafe { self.words.as_ptr().add(word) }
    }
}

impl SharedPage for RmmBuffer {
    fn pa(&self) -> PhysAddr {
        // SAFETY: The page is valid as long as `self`.
        PhysAddr::new(unsafe { ffi::kvm_rmi_helper_page_to_phys(self.page.as_ptr()) })
    }

    fn write(&mut self, offset: usize, value: u64) {
        // SAFETY: The word is the page's, and `&mut self` keeps every other access out; the RMM
        // touches the page only during calls, which borrow it as well.
        unsafe { self.word(offset).write_volatile(value) };
    }

    fn read(&self, offset: usize) -> u64 {
        // SAFETY: As above; our own writes need `&mut self`.
        unsafe { self.word(offset).read_volatile() }
    }
}

/// The kernel's page allocator, as stateful operations borrow from it.
pub(crate) struct HostPages;

impl Pages for HostPages {
    fn alloc(&self, order: u32) -> Option<GranuleRange<Undelegated>> {
        alloc(order).ok()
    }

    fn free(&self, granules: GranuleRange<Undelegated>) {
        free(granules);
    }
}

/// Allocates `1 << order` granules that are next to each other, each of which can be freed alone.
///
/// May sleep. The memory is charged to the caller's memory cgroup.
pub(crate) fn alloc(order: u32) -> Result<GranuleRange<Undelegated>, AllocError> {
    let gfp = bindings::GFP_KERNEL_ACCOUNT | bindings::__GFP_NOWARN;
    // SAFETY: May be called by whoever may sleep.
    let page = unsafe { bindings::alloc_pages(gfp, order) };
    if page.is_null() {
        return Err(AllocError);
    }
    // SAFETY: `page` is the head of an allocation of this order, not compound, and ours alone.
    unsafe { bindings::split_page(page, order) };
    // SAFETY: `page` is valid.
    let base = unsafe { ffi::kvm_rmi_helper_page_to_phys(page) };
    let top = PhysAddr::new(base + (GRANULE_SIZE << order));
    // The allocator hands out whole pages, and a page is a granule: there always is a range.
    let range = AddrRange::new(PhysAddr::new(base), top).ok_or(AllocError)?;
    // SAFETY: The pages were just allocated, so they are undelegated and nobody else's, and what
    // could reach them, the kernel's linear map, is not used.
    Ok(unsafe { GranuleRange::new(range) })
}

/// Gives granules back to the page allocator.
///
/// They must come from [`alloc`]; that they are not delegated is what the type says.
pub(crate) fn free(granules: GranuleRange<Undelegated>) {
    let range = granules.into_range();
    for n in 0..range.granules() {
        let phys = range.base().raw() + n * GRANULE_SIZE;
        // SAFETY: The only ranges of host memory in the component are those that `alloc` split
        // into single pages, so this is one page, and its owner has just given it up.
        unsafe { bindings::__free_pages(ffi::kvm_rmi_helper_phys_to_page(phys), 0) };
    }
}

/// Takes over pages of a guest_memfd file, each with a reference that the caller has.
///
/// # Safety
///
/// The `pages` from `pfn` on are the file's, not delegated, and nobody but the file and a realm of
/// its VM has them.
pub(crate) unsafe fn take(pfn: u64, pages: u64) -> Option<GranuleRange<Undelegated>> {
    let base = PhysAddr::new(pfn << crate::GRANULE_SHIFT);
    let top = PhysAddr::new((pfn + pages) << crate::GRANULE_SHIFT);
    // SAFETY: By the contract of this function. Files of guest_memfd that can be mapped to user
    // space are not used for private memory.
    AddrRange::new(base, top).map(|range| unsafe { GranuleRange::new(range) })
}

/// Drops the references that came with [`take`].
///
/// The pages are ordinary memory again, which is what the type says.
pub(crate) fn put(granules: GranuleRange<Undelegated>) {
    let range = granules.into_range();
    for n in 0..range.granules() {
        let phys = range.base().raw() + n * GRANULE_SIZE;
        // SAFETY: Whoever took the page had a reference to it, which was kept until now.
        unsafe { ffi::kvm_rmi_helper_put_page(ffi::kvm_rmi_helper_phys_to_page(phys)) };
    }
}

/// Calls `visit` for each range of the host's memory, in whole granules, until it returns an error.
pub(crate) fn for_each_ram<F: FnMut(AddrRange) -> Result>(mut visit: F) -> Result {
    /// What `kvm_rmi_walk_ram()` calls, with `arg` pointing to an `F`.
    ///
    /// # Safety
    ///
    /// `arg` points to an `F` that nobody else uses.
    unsafe extern "C" fn step<F: FnMut(AddrRange) -> Result>(
        pfn: c_ulong,
        nr_pages: c_ulong,
        arg: *mut c_void,
    ) -> c_int {
        // SAFETY: By the contract of this function.
        let visit = unsafe { &mut *arg.cast::<F>() };
        let base = PhysAddr::new((pfn as u64) << crate::GRANULE_SHIFT);
        let top = PhysAddr::new(((pfn + nr_pages) as u64) << crate::GRANULE_SHIFT);
        match AddrRange::new(base, top).map(visit) {
            Some(Err(error)) => error.to_errno(),
            _ => 0,
        }
    }

    // SAFETY: `step` has the expected signature, and `visit` outlives the call.
    to_result(unsafe {
        bindings::kvm_rmi_walk_ram(core::ptr::from_mut(&mut visit).cast(), Some(step::<F>))
    })
}
