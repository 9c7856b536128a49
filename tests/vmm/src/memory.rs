// SPDX-License-Identifier: GPL-2.0

//! The memory of this process that a guest sees: all of an ordinary guest's, and what a realm
//! shares.

use std::io;
use std::sync::Arc;

use vm_memory::mmap::MmapRegionBuilder;
use vm_memory::{GuestAddress, GuestMemoryMmap, GuestRegionMmap, MmapRegion};

use crate::error::{Error, Result, Trying};
use crate::layout::{PAGE, RAM};

/// Memory at [`RAM`], zero at first.
#[derive(Clone, Debug)]
pub struct Memory {
    region: Arc<MmapRegion>,
}

impl Memory {
    /// Maps `size` bytes, of which none is there before it is touched.
    ///
    /// # Errors
    ///
    /// The process cannot map so much.
    pub fn new(size: u64) -> Result<Self> {
        Self::with_flags(size, libc::MAP_PRIVATE)
    }

    /// The same, of which a child process has no copy.
    ///
    /// # Errors
    ///
    /// As above.
    #[cfg(test)]
    pub(crate) fn that_children_share(size: u64) -> Result<Self> {
        Self::with_flags(size, libc::MAP_SHARED)
    }

    fn with_flags(size: u64, flags: i32) -> Result<Self> {
        let what = || format!("mmap of {} MiB for the guest", size >> 20);
        let length = usize::try_from(size).map_err(|e| Error::new(what(), e))?;
        let region = MmapRegionBuilder::new(length)
            .with_mmap_prot(libc::PROT_READ | libc::PROT_WRITE)
            .with_mmap_flags(flags | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE)
            .build()
            .map_err(|e| Error::new(what(), e).advise("give the guest less: --memory"))?;
        let memory = Self {
            region: Arc::new(region),
        };
        // Not all kernels have huge pages; it works without, if slower.
        let _ = memory.advise(0, size, libc::MADV_HUGEPAGE);
        Ok(memory)
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.region.size() as u64
    }

    /// Its address in this process.
    pub fn address(&self) -> u64 {
        self.region.as_ptr().addr() as u64
    }

    /// The same memory, for those who are given guest addresses. Those of devices in a realm have
    /// the shared bit; other addresses are not theirs.
    ///
    /// # Errors
    ///
    /// It does not fit below the end of the address space.
    pub fn seen_with(&self, shared_bit: u64) -> Result<GuestMemoryMmap> {
        let base = GuestAddress(RAM | shared_bit);
        let region = GuestRegionMmap::with_arc(self.region.clone(), base);
        let region = region.ok_or_else(|| Error::plain("guest memory wraps"))?;
        GuestMemoryMmap::from_regions(vec![region]).map_err(|e| Error::new("guest memory", e))
    }

    /// Gives back what is there; it is zero again. `offset` and `size` are in whole pages.
    ///
    /// # Errors
    ///
    /// The range is not all in this memory, or the kernel does not want to.
    pub fn discard(&self, offset: u64, size: u64) -> Result<()> {
        self.advise(offset, size, libc::MADV_DONTNEED)
            .trying("madvise(MADV_DONTNEED) of guest memory")
    }

    /// The pages that are there: they have been touched, and not discarded.
    ///
    /// # Errors
    ///
    /// The kernel does not tell.
    pub fn present(&self) -> io::Result<Vec<*mut u64>> {
        let begin = self.region.as_ptr();
        let mut there = vec![0u8; self.region.size().div_ceil(PAGE as usize)];
        // SAFETY: It writes a byte for each page of the mapping.
        if unsafe { libc::mincore(begin.cast(), self.region.size(), there.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let pages = (0..).step_by(PAGE as usize).zip(there);
        let present = pages.filter(|(_, there)| there & 1 != 0);
        Ok(present
            .map(|(at, _)| begin.wrapping_add(at).cast())
            .collect())
    }

    fn advise(&self, offset: u64, size: u64, advice: i32) -> io::Result<()> {
        let inside = offset
            .checked_add(size)
            .is_some_and(|end| end <= self.size());
        if !inside || (offset | size) % PAGE != 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let at = self.region.as_ptr().wrapping_add(offset as usize);
        // SAFETY: Whole pages of the mapping. A guest changes them at any time, and so nobody
        // holds a Rust reference to what is in them; vm-memory's accesses are volatile.
        match unsafe { libc::madvise(at.cast(), size as usize, advice) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vm_memory::{Bytes, GuestMemoryBackend};

    const SIZE: u64 = 4 << 20;

    #[test]
    fn a_device_in_a_realm_sees_shared_addresses_only() {
        let memory = Memory::new(SIZE).unwrap();
        let (plain, shared) = (0, 1 << 31);
        let device = memory.seen_with(shared).unwrap();
        device.write_obj(7u32, GuestAddress(RAM | shared)).unwrap();
        assert!(device.read_obj::<u32>(GuestAddress(RAM)).is_err());
        // It is the same memory.
        let loader = memory.seen_with(plain).unwrap();
        assert_eq!(loader.read_obj::<u32>(GuestAddress(RAM)).unwrap(), 7);
        assert!(!loader.address_in_range(GuestAddress(RAM | shared)));
    }

    #[test]
    fn discarded_is_zero() {
        let memory = Memory::new(SIZE).unwrap();
        let view = memory.seen_with(0).unwrap();
        for page in 0..4 {
            view.write_obj(1u64, GuestAddress(RAM + page * PAGE))
                .unwrap();
        }
        memory.discard(PAGE, 2 * PAGE).unwrap();
        let left: Vec<u64> = (0..4)
            .map(|page| view.read_obj(GuestAddress(RAM + page * PAGE)).unwrap())
            .collect();
        assert_eq!(left, [1, 0, 0, 1]);
    }

    #[test]
    fn present_is_what_has_been_touched() {
        let memory = Memory::new(SIZE).unwrap();
        // Of a huge page all are there.
        let _ = memory.advise(0, SIZE, libc::MADV_NOHUGEPAGE);
        let view = memory.seen_with(0).unwrap();
        for page in [1, 2, 7] {
            view.write_obj(page, GuestAddress(RAM + page * PAGE))
                .unwrap();
        }
        let present = || -> Vec<u64> {
            let pages = memory.present().unwrap();
            let offset = |page: *mut u64| page.addr() as u64 - memory.address();
            pages.into_iter().map(|page| offset(page) / PAGE).collect()
        };
        assert_eq!(present(), [1, 2, 7]);
        memory.discard(2 * PAGE, PAGE).unwrap();
        assert_eq!(present(), [1, 7]);
    }

    #[test]
    fn only_what_is_there_is_discarded() {
        let memory = Memory::new(SIZE).unwrap();
        assert!(memory.discard(0, SIZE).is_ok());
        assert!(memory.discard(PAGE, SIZE).is_err());
        assert!(memory.discard(u64::MAX - PAGE + 1, PAGE).is_err());
        assert!(memory.discard(1, PAGE).is_err());
    }
}
