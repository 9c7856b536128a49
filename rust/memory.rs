// SPDX-License-Identifier: GPL-2.0

//! Memory of the host: pages for the RMM to look into, and granules to give away.

use crate::{
    ffi,
    rmi::{AddrRange, GranuleRange, PhysAddr, SharedPage, Undelegated, GRANULE_SIZE}, //
};
use kernel::{
    alloc::AllocError,
    bindings,
    error::to_result,
    page::Page,
    prelude::*, //
};

/// A page of the host that the RMM may read and write during a call.
pub(crate) struct RmmBuffer(Page);

impl RmmBuffer {
    /// A zeroed page.
    pub(crate) fn new() -> Result<Self, AllocError> {
        Ok(Self(Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?))
    }
}

impl SharedPage for RmmBuffer {
    fn pa(&self) -> PhysAddr {
        // SAFETY: The page is valid as long as `self`.
        PhysAddr::new(unsafe { ffi::kvm_rmi_helper_page_to_phys(self.0.as_ptr()) })
    }

    fn write(&mut self, offset: usize, value: u64) {
        let bytes = value.to_le_bytes();
        // SAFETY: `bytes` holds 8 bytes, and `&mut self` keeps every other access out; the RMM
        // touches the page only during calls, which borrow it as well.
        let written = unsafe { self.0.write_raw(bytes.as_ptr(), offset, bytes.len()) };
        debug_assert!(written.is_ok(), "offset {offset} is not in the page");
    }

    fn read(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        // SAFETY: `bytes` holds 8 bytes. Nobody writes while this runs: our own writes need
        // `&mut self`, and the RMM's happen only during calls that borrow the page mutably.
        let read = unsafe { self.0.read_raw(bytes.as_mut_ptr(), offset, bytes.len()) };
        debug_assert!(read.is_ok(), "offset {offset} is not in the page");
        u64::from_le_bytes(bytes)
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
