// SPDX-License-Identifier: GPL-2.0

//! Physical memory through `/dev/mem`, the way a careless root would look at it.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::ptr;

/// A page of physical memory in this process, right behind one of its own.
pub(crate) struct Mapping {
    own: *mut libc::c_void,
    file: File,
    pa: u64,
}

/// Bytes in a page of the test host.
pub(crate) const PAGE: usize = 4096;

impl Mapping {
    /// Maps the page at physical address `pa` for reading and writing.
    pub(crate) fn new(pa: u64) -> Result<Self, Box<dyn Error>> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/mem")?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: A new mapping at an address that the kernel chooses.
        let own = unsafe { libc::mmap(ptr::null_mut(), 2 * PAGE, protection, flags, -1, 0) };
        if own == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        let mapping = Self { own, file, pa };
        let (at, flags) = (mapping.as_ptr(), libc::MAP_SHARED | libc::MAP_FIXED);
        let fd = mapping.file.as_raw_fd();
        // SAFETY: It takes the place of the second page of what was just mapped, which is ours.
        let mapped = unsafe { libc::mmap(at, PAGE, protection, flags, fd, pa.try_into()?) };
        if mapped == libc::MAP_FAILED {
            return Err(format!("mmap of {pa:#x}: {}", std::io::Error::last_os_error()).into());
        }
        Ok(mapping)
    }

    /// Where the page is in this process.
    pub(crate) fn as_ptr(&self) -> *mut libc::c_void {
        self.own.wrapping_byte_add(PAGE)
    }

    /// Puts `bytes` where they end with that page. Returns where they are.
    pub(crate) fn put_before(&self, bytes: &[u8]) -> *const libc::c_char {
        assert!(bytes.len() <= PAGE);
        let at = self.as_ptr().wrapping_byte_sub(bytes.len());
        // SAFETY: In the page that is this process's own, of which there are no references.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at.cast(), bytes.len()) };
        at.cast()
    }

    /// The first byte of the page, read by this process.
    pub(crate) fn read_byte(&self) -> u8 {
        // SAFETY: The page is mapped. If it may not be read the process gets a signal, which is
        // what some callers are after.
        unsafe { ptr::read_volatile(self.as_ptr().cast()) }
    }

    /// Reads the page through `read(2)` on `/dev/mem`: the kernel loads from its own mapping.
    pub(crate) fn read_by_kernel(&self) -> std::io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(&mut [0; PAGE], self.pa)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: Mapped by `new` with this size, and borrowed by nobody.
        unsafe { libc::munmap(self.own, 2 * PAGE) };
    }
}
