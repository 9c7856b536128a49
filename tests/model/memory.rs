// SPDX-License-Identifier: GPL-2.0

//! Memory of the host: pages for the RMM to look into, and granules to give away.

use super::{machine::machine, mm, prelude::*};
use crate::rmi::{AddrRange, GranuleRange, PhysAddr, SharedPage, Undelegated, GRANULE_SIZE};
use std::ops::Range;

/// A page of the host that the RMM may read and write during a call.
#[derive(Debug)]
pub struct Page(u64);

impl Page {
    /// A zeroed page.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        let pa = machine().alloc_pages(0)?;
        machine().firmware().clear(pa);
        Ok(Self(pa))
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        machine().put_page(self.0);
    }
}

impl SharedPage for Page {
    fn pa(&self) -> PhysAddr {
        PhysAddr::new(self.0)
    }

    fn write(&mut self, offset: usize, value: u64) {
        machine().firmware().write(self.0 + offset as u64, value);
    }

    fn read(&self, offset: usize) -> u64 {
        machine().firmware().read(self.0 + offset as u64)
    }
}

fn granules(base: u64, bytes: u64) -> GranuleRange<Undelegated> {
    let range = AddrRange::new(PhysAddr::new(base), PhysAddr::new(base + bytes));
    // SAFETY: The memory is the model's, which keeps account of it.
    unsafe { GranuleRange::new(range.expect("whole pages")) }
}

/// Allocates `1 << order` granules that are next to each other.
///
/// # Errors
///
/// `ENOMEM`.
pub fn alloc(order: u32) -> Result<GranuleRange<Undelegated>> {
    let base = machine().alloc_pages(order)?;
    Ok(granules(base, GRANULE_SIZE << order))
}

/// A page of a file of guest_memfd, with a reference.
#[derive(Debug)]
pub struct GmemPage(u64);

impl GmemPage {
    /// Takes over a reference.
    pub(super) fn new(pa: u64) -> Self {
        Self(pa)
    }

    /// Where it is.
    pub fn pa(&self) -> PhysAddr {
        PhysAddr::new(self.0)
    }

    /// Pages that follow each other in memory, as one range. Those that do not are dropped.
    pub fn join(mut pages: impl Iterator<Item = Self>) -> Option<GranuleRange<Undelegated>> {
        let first = pages.next()?;
        let (base, mut bytes) = (first.0, GRANULE_SIZE);
        core::mem::forget(first);
        for page in pages {
            if page.0 == base + bytes {
                bytes += GRANULE_SIZE;
                core::mem::forget(page);
            }
        }
        Some(granules(base, bytes))
    }
}

impl Drop for GmemPage {
    fn drop(&mut self) {
        machine().put_page(self.0);
    }
}

/// Drops the references that come with granules.
pub fn put(granules: GranuleRange<Undelegated>) {
    let range = granules.into_range();
    pages(range).for_each(|pa| machine().put_page(pa));
}

fn pages(range: AddrRange) -> impl Iterator<Item = u64> {
    (range.base().raw()..range.top().raw()).step_by(GRANULE_SIZE as usize)
}

/// What has been mapped is left to the file of guest_memfd that it is from: drops the references that came
/// with its pages.
pub fn leave_to_file(range: AddrRange) {
    pages(range).for_each(|pa| machine().put_page(pa));
}

/// Takes references to pages that were left to their file and have been unmapped. False if one of them is
/// nobody's.
pub fn take_from_file(range: AddrRange) -> bool {
    pages(range).all(|pa| machine().try_get_page(pa))
}

/// True if the host has been told that the page is bad, or if it is no memory of its.
pub fn is_bad(pa: PhysAddr) -> bool {
    let machine = machine();
    let ram = machine.firmware().ram();
    !ram.iter().any(|range| range.contains(&pa.raw())) || machine.is_bad(pa.raw())
}

/// How many pages the host has been told of.
pub fn bad_pages() -> u64 {
    machine().bad_pages()
}

/// The first address from the base of `range` on that is of memory which is online, or its top.
pub fn next_online(range: AddrRange) -> PhysAddr {
    PhysAddr::new(machine().next_online(range.base().raw()..range.top().raw()))
}

/// Calls `visit` for each range of the host's memory.
///
/// # Errors
///
/// The first that `visit` returns.
pub fn for_each_ram(visit: impl FnMut(AddrRange) -> Result) -> Result {
    let ram = machine().firmware().ram().into_iter();
    let range = |ram: Range<u64>| AddrRange::new(PhysAddr::new(ram.start), PhysAddr::new(ram.end));
    ram.filter_map(range).try_for_each(visit)
}

/// Pages of user space, pinned.
#[derive(Debug)]
pub struct Pinned(Vec<u64>);

impl Pinned {
    /// Pins `wanted` pages of the current task's from `address` on.
    ///
    /// # Errors
    ///
    /// `EFAULT` if there is no user space, `ENOMEM` if there is no memory for the first page.
    pub fn new(address: u64, wanted: usize) -> Result<Self> {
        machine().may_sleep("a fault of user space");
        let mm = mm::current().ok_or(EFAULT)?;
        let pages = (0..wanted as u64).map_while(|n| mm.get(address + n * GRANULE_SIZE));
        match pages.collect::<Vec<_>>() {
            pages if pages.is_empty() => Err(ENOMEM),
            pages => Ok(Self(pages)),
        }
    }

    /// How many there are.
    #[allow(clippy::len_without_is_empty, reason = "there always is one")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Where page `n` is.
    pub fn pa(&self, n: usize) -> Option<PhysAddr> {
        self.0.get(n).copied().map(PhysAddr::new)
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        for pa in &self.0 {
            machine().put_page(*pa);
        }
    }
}
