// SPDX-License-Identifier: GPL-2.0

//! Physical memory through `/dev/mem`, the way a careless root would look at it.

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;
use std::ptr;

/// A page of physical memory in this process.
pub(crate) struct Mapping {
    address: *mut libc::c_void,
    file: File,
    pa: u64,
}

/// Bytes in a page of the test host.
pub(crate) const PAGE: usize = 4096;

impl Mapping {
    /// Maps the page at physical address `pa` for reading and writing.
    pub(crate) fn new(pa: u64) -> Result<Self, Box<dyn Error>> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/mem")?;
        // SAFETY: A new mapping at an address that the kernel chooses.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                PAGE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                pa.try_into()?,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(format!("mmap of {pa:#x}: {}", std::io::Error::last_os_error()).into());
        }
        Ok(Self { address, file, pa })
    }

    /// Where the page is in this process.
    pub(crate) fn as_ptr(&self) -> *mut libc::c_void {
        self.address
    }

    /// The first byte of the page, read by this process.
    pub(crate) fn read_byte(&self) -> u8 {
        // SAFETY: The page is mapped. If it may not be read the process gets a signal, which is
        // what some callers are after.
        unsafe { ptr::read_volatile(self.address.cast()) }
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
        unsafe { libc::munmap(self.address, PAGE) };
    }
}
