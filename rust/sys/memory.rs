// SPDX-License-Identifier: GPL-2.0

//! Memory of the host: pages for the RMM to look into, and granules to give away.
//!
//! An undelegated [`GranuleRange`] owns a reference to each of its pages, and [`put`] drops them:
//! whether they came from the page allocator or from a file of guest_memfd.

use super::ffi;
use super::kernel::{
    alloc::AllocError,
    bindings,
    error::to_result,
    page::{self, PAGE_SIZE},
    prelude::*, //
};
use crate::rmi::{AddrRange, GranuleRange, PhysAddr, SharedPage, Undelegated, GRANULE_SIZE};
use core::{num::NonZeroU64, ptr::NonNull};

/// A page of the host that the RMM may read and write during a call.
///
/// # Invariants
///
/// `words` is the page in the kernel's linear map.
pub struct Page {
    page: page::Page,
    words: NonNull<u64>,
}

// SAFETY: The page is owned, and reachable by every CPU.
unsafe impl Send for Page {}

impl Page {
    /// A zeroed page.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        let page = page::Page::alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO)?;
        // SAFETY: The page is valid.
        let words = unsafe { ffi::kvm_rmi_helper_page_address(page.as_ptr()) };
        Ok(Self {
            page,
            words: NonNull::new(words.cast()).ok_or(AllocError)?,
        })
    }

    /// Where the page is to the kernel.
    pub(super) fn address(&self) -> *mut c_void {
        self.words.as_ptr().cast()
    }

    /// The word at byte `offset`. An offset past the page begins anew.
    fn word(&self, offset: usize) -> *mut u64 {
        let word = (offset & (PAGE_SIZE - 1)) / size_of::<u64>();
        // SAFETY: The word is in the page, by the type's invariant.
        unsafe { self.words.as_ptr().add(word) }
    }
}

impl SharedPage for Page {
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

/// Allocates `1 << order` granules that are next to each other, each of which can be freed alone.
///
/// May sleep. The memory is charged to the caller's memory cgroup.
///
/// # Errors
///
/// `ENOMEM`.
pub fn alloc(order: u32) -> Result<GranuleRange<Undelegated>> {
    let gfp = bindings::GFP_KERNEL_ACCOUNT | bindings::__GFP_NOWARN;
    // SAFETY: May be called by whoever may sleep.
    let page = unsafe { bindings::alloc_pages(gfp, order) };
    if page.is_null() {
        return Err(ENOMEM);
    }
    // SAFETY: `page` is the head of an allocation of this order, not compound, and ours alone.
    unsafe { bindings::split_page(page, order) };
    // SAFETY: `page` is valid.
    let base = unsafe { ffi::kvm_rmi_helper_page_to_phys(page) };
    // The allocator hands out whole pages, and a page is a granule: there always is a range.
    let range = range(base, GRANULE_SIZE << order).ok_or(ENOMEM)?;
    // SAFETY: The pages were just allocated, so they are undelegated and nobody else's, and what
    // could reach them, the kernel's linear map, is not used.
    Ok(unsafe { GranuleRange::new(range) })
}

fn range(base: u64, bytes: u64) -> Option<AddrRange> {
    AddrRange::new(PhysAddr::new(base), PhysAddr::new(base.checked_add(bytes)?))
}

/// A page of a file of guest_memfd, with a reference.
///
/// # Invariants
///
/// This has the reference. The page is not delegated but for a realm of the VM that the file belongs to.
pub struct GmemPage(NonZeroU64);

impl GmemPage {
    /// # Safety
    ///
    /// The caller has a reference to the page, which this takes. The page is not delegated but for a
    /// realm of the VM that the file belongs to.
    pub(super) unsafe fn new(pfn: u64) -> Option<Self> {
        // INVARIANT: By the contract of this function.
        NonZeroU64::new(pfn << crate::GRANULE_SHIFT).map(Self)
    }

    /// Where it is.
    pub fn pa(&self) -> PhysAddr {
        PhysAddr::new(self.0.get())
    }

    /// Pages that follow each other in memory, as one range. Those that do not are dropped.
    pub fn join(mut pages: impl Iterator<Item = Self>) -> Option<GranuleRange<Undelegated>> {
        let first = pages.next()?;
        let (base, mut bytes) = (first.0.get(), GRANULE_SIZE);
        core::mem::forget(first);
        for page in pages {
            if page.0.get() == base + bytes {
                bytes += GRANULE_SIZE;
                core::mem::forget(page);
            }
        }
        // SAFETY: By the type's invariant the references are ours, and go on with the range. Files of
        // guest_memfd that can be mapped to user space are not used for private memory, and the kernel
        // itself does not look into what is a realm's. Should a page be that realm's already the RMM
        // does not delegate it again.
        range(base, bytes).map(|range| unsafe { GranuleRange::new(range) })
    }
}

impl Drop for GmemPage {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { ffi::kvm_rmi_helper_put_pages(self.0.get(), 1, false) };
    }
}

/// Pages of a file of guest_memfd that follow each other, as one range.
///
/// # Safety
///
/// The caller has a reference to each, which this takes. They are not delegated but for a realm of the VM
/// that the file belongs to.
pub(super) unsafe fn gmem_pages(pfn: u64, pages: u64) -> Option<GranuleRange<Undelegated>> {
    let range = range(pfn << crate::GRANULE_SHIFT, pages << crate::GRANULE_SHIFT)?;
    // SAFETY: By the contract of this function; for the rest see `GmemPage::join()`.
    Some(unsafe { GranuleRange::new(range) })
}

/// Loads words that begin in `page`, which is one granule, and run over its end as `load_unaligned_zeropad()`
/// may: what is behind it cannot be read, because it is delegated.
///
/// # Errors
///
/// `EIO` unless they have what is in `page`, and zeroes of what is behind it.
#[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
pub fn loads_zeroes_behind(page: &GranuleRange<Undelegated>) -> Result {
    let end = page.range().top().raw();
    // SAFETY: The memory before `end` is the range's, with nothing in it, and is used in there only.
    match unsafe { ffi::kvm_rmi_helper_loads_zeroes_from(end) } {
        true => Ok(()),
        false => Err(EIO),
    }
}

/// Drops the references that come with granules: memory of the host that nobody else has is free.
pub fn put(granules: GranuleRange<Undelegated>) {
    let range = granules.into_range();
    // SAFETY: An undelegated range owns a reference to each of its pages.
    unsafe { ffi::kvm_rmi_helper_put_pages(range.base().raw(), range.granules(), false) };
}

/// What has been mapped is left to the file of guest_memfd that it is from: drops the references that came
/// with its pages. Huge pages of the file can be split then, and others know that nobody is at work.
///
/// The file has references of its own. It drops none before who asks for the page has come back from the
/// component with its consent (`Component::unmap`). That nobody else has it drop any the pages are dirty: what
/// is clean, and in no use, may be forgotten at any time.
pub fn leave_to_file(range: AddrRange) {
    // SAFETY: The references came with what was delegated, and nobody else has them: whoever mapped it
    // has given it up.
    unsafe { ffi::kvm_rmi_helper_put_pages(range.base().raw(), range.granules(), true) };
}

/// Takes references to pages that were left to their file and have been unmapped. False if one of them is
/// nobody's: then it is not known to how many.
pub fn take_from_file(range: AddrRange) -> bool {
    // SAFETY: May be called with any address.
    unsafe { ffi::kvm_rmi_helper_get_pages(range.base().raw(), range.granules()) }
}

/// Whole pages as a range.
pub(super) fn pages(pfn: c_ulong, nr_pages: c_ulong) -> Option<AddrRange> {
    range(
        (pfn as u64) << crate::GRANULE_SHIFT,
        (nr_pages as u64) << crate::GRANULE_SHIFT,
    )
}

/// True if the host has been told that the page is bad, or if it is no memory of the host's, which an RMM can
/// name all the same. It may be told at any time; the page allocator does not hand out such pages, nor take
/// them back.
pub fn is_bad(pa: PhysAddr) -> bool {
    // SAFETY: Any address will do.
    unsafe { ffi::kvm_rmi_helper_is_bad(pa.raw()) }
}

/// How many pages the host has been told of that are bad. Who finds another number here than before finds the
/// pages bad.
pub fn bad_pages() -> u64 {
    // SAFETY: May be called anywhere.
    // CAST: It counts pages up and down, and is not negative.
    unsafe { bindings::kvm_rmi_bad_pages() as u64 }
}

/// The first address from the base of `range` on that is of memory which is online, or its top.
pub fn next_online(range: AddrRange) -> PhysAddr {
    let (base, top) = (range.base().raw(), range.top().raw());
    // SAFETY: Any addresses will do.
    PhysAddr::new(unsafe { ffi::kvm_rmi_helper_next_online(base, top) })
}

/// Calls `visit` for each range of the host's memory, online or not, in whole granules, until it returns an
/// error.
///
/// # Errors
///
/// The first that `visit` returns.
pub fn for_each_ram<F: FnMut(AddrRange) -> Result>(mut visit: F) -> Result {
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
        match pages(pfn, nr_pages).map(visit) {
            Some(Err(error)) => error.to_errno(),
            _ => 0,
        }
    }

    // SAFETY: `step` has the expected signature, and `visit` outlives the call.
    to_result(unsafe {
        bindings::kvm_rmi_walk_ram(core::ptr::from_mut(&mut visit).cast(), Some(step::<F>))
    })
}

/// Pages of user space, pinned.
///
/// # Invariants
///
/// Each of them was pinned by `pin_user_pages_fast()`.
pub struct Pinned(KVec<*mut bindings::page>);

impl Pinned {
    /// Pins `wanted` pages of the current task's from `address` on, or as many of them as there are.
    /// May take as long as user space likes.
    ///
    /// # Errors
    ///
    /// `EFAULT` if the first cannot be read, `ENOMEM`.
    pub fn new(address: u64, wanted: usize) -> Result<Self> {
        let mut pages = KVec::with_capacity(wanted, GFP_KERNEL)?;
        // SAFETY: There is room for as many pages as are wanted.
        let pinned = unsafe {
            bindings::pin_user_pages_fast(
                address as c_ulong,
                wanted as c_int,
                0,
                pages.spare_capacity_mut().as_mut_ptr().cast(),
            )
        };
        let pinned = usize::try_from(pinned).map_err(|_| EFAULT)?;
        // SAFETY: So many were written, and not more than there is room for.
        unsafe { pages.inc_len(pinned.min(wanted)) };
        match pages.is_empty() {
            true => Err(EFAULT),
            // INVARIANT: They were pinned right here.
            false => Ok(Self(pages)),
        }
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there always is one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Where page `n` is.
    pub fn pa(&self, n: usize) -> Option<PhysAddr> {
        let page = self.0.get(n)?;
        // SAFETY: The page is pinned.
        Some(PhysAddr::new(unsafe {
            ffi::kvm_rmi_helper_page_to_phys(*page)
        }))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant, and nobody has unpinned them.
        unsafe { bindings::unpin_user_pages(self.0.as_mut_ptr(), self.0.len() as c_ulong) };
    }
}
