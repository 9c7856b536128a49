// SPDX-License-Identifier: GPL-2.0

//! Memory of this process, and guest_memfd.

use std::fs::File;
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};

use realm_guest::PAGE_SIZE;

/// Huge pages for a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Huge {
    /// None, even where the kernel would.
    Never,
    /// Wherever the kernel can.
    Always,
}

/// Bytes in a huge page of the test host.
const HUGE_PAGE: u64 = 0x20_0000;

/// Private anonymous memory, zero at first, given back with its owner. It begins at a multiple of
/// the size of a huge page.
///
/// A VM may change it at any time, so this process only looks at it word by word.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    size: u64,
    /// What was mapped, of which the rest is there for alignment only.
    whole: (*mut libc::c_void, usize),
    /// The file that it is of, if it is not anonymous.
    file: Option<File>,
}

// SAFETY: The mapping belongs to the process, not to a thread, and is accessed as atomic words.
unsafe impl Send for Mapping {}
// SAFETY: As above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps `size` bytes.
    pub(crate) fn new(size: u64, huge: Huge) -> Result<Self> {
        let length = usize::try_from(size + HUGE_PAGE).map_err(Error::other)?;
        // SAFETY: A new mapping at an address that the kernel chooses.
        let whole = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if whole == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let start = whole
            .cast::<u8>()
            .map_addr(|at| at.next_multiple_of(HUGE_PAGE as usize));
        let mapping = Self {
            start: NonNull::new(start).ok_or_else(|| Error::other("mapped at 0"))?,
            size,
            whole: (whole, length),
            file: None,
        };
        mapping.set_huge(0, size, huge)?;
        Ok(mapping)
    }

    /// Maps a new file in memory, shared: of huge pages out of the host's pool, or of ordinary ones.
    /// It begins at a multiple of the page size that it has.
    pub(crate) fn of_file(size: u64, hugetlb: bool) -> Result<Self> {
        const NAME: &[u8] = b"shared\0";
        let flags = if hugetlb { libc::MFD_HUGETLB } else { 0 };
        // SAFETY: Makes a new file.
        let fd = unsafe { libc::memfd_create(NAME.as_ptr().cast(), flags) };
        check(fd)?;
        // SAFETY: It has just been made, for us.
        let file = unsafe { File::from_raw_fd(fd) };
        file.set_len(size)?;
        let length = size as usize;
        // SAFETY: A new mapping at an address that the kernel chooses.
        let whole = unsafe {
            libc::mmap(
                ptr::null_mut(),
                length,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd,
                0,
            )
        };
        if whole == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        Ok(Self {
            start: NonNull::new(whole.cast()).ok_or_else(|| Error::other("mapped at 0"))?,
            size,
            whole: (whole, length),
            file: Some(file),
        })
    }

    /// The file that it is of.
    pub(crate) fn file(&self) -> Result<&File> {
        self.file
            .as_ref()
            .ok_or_else(|| Error::other("the mapping is of no file"))
    }

    /// The number of the page frame that each page has; 0 where none is mapped.
    pub(crate) fn frames(&self) -> Result<Vec<u64>> {
        const PRESENT: u64 = 1 << 63;
        const FRAME: u64 = (1 << 55) - 1;
        let mut bytes = vec![0; (self.size / PAGE_SIZE * 8) as usize];
        let pagemap = File::open("/proc/self/pagemap")?;
        pagemap.read_exact_at(&mut bytes, self.address() / PAGE_SIZE * 8)?;
        let words = bytes.chunks_exact(8).map(|chunk| {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let frame = |word: u64| if word & PRESENT != 0 { word & FRAME } else { 0 };
        Ok(words.map(frame).collect())
    }

    /// One that begins with `contents`.
    pub(crate) fn with_contents(contents: &[u8], size: u64) -> Result<Self> {
        let mapping = Self::new(size, Huge::Never)?;
        if contents.len() as u64 > size {
            return Err(Error::other("the contents do not fit"));
        }
        // SAFETY: The mapping is as large, and nobody else's yet.
        unsafe {
            ptr::copy_nonoverlapping(contents.as_ptr(), mapping.start.as_ptr(), contents.len());
        };
        Ok(mapping)
    }

    /// Address in this process.
    pub(crate) fn address(&self) -> u64 {
        self.start.as_ptr().addr() as u64
    }

    /// Bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    fn word(&self, offset: u64) -> &AtomicU64 {
        assert!(offset % 8 == 0 && offset < self.size, "{offset:#x}");
        // SAFETY: In the mapping, which lives as long as `self`, and aligned. All accesses from
        // here are atomic.
        unsafe { AtomicU64::from_ptr(self.start.as_ptr().add(offset as usize).cast()) }
    }

    /// The word at an offset that is a multiple of 8.
    pub(crate) fn read(&self, offset: u64) -> u64 {
        self.word(offset).load(Ordering::SeqCst)
    }

    /// Changes the word at an offset that is a multiple of 8.
    pub(crate) fn write(&self, offset: u64, value: u64) {
        self.word(offset).store(value, Ordering::SeqCst);
    }

    /// Gives back what is there; it is zero again.
    pub(crate) fn discard(&self, offset: u64, size: u64) -> Result<()> {
        self.advise(offset, size, libc::MADV_DONTNEED)
    }

    /// Says what to do about huge pages.
    pub(crate) fn set_huge(&self, offset: u64, size: u64, huge: Huge) -> Result<()> {
        let advice = match huge {
            Huge::Never => libc::MADV_NOHUGEPAGE,
            Huge::Always => libc::MADV_HUGEPAGE,
        };
        self.advise(offset, size, advice)
    }

    /// Takes the pages' right to be read or written away, or gives it back.
    pub(crate) fn protect(&self, offset: u64, size: u64, protection: i32) -> Result<()> {
        let (at, size) = self.part(offset, size);
        // SAFETY: Whole pages of the mapping, of which Rust holds no references.
        check(unsafe { libc::mprotect(at, size, protection) })
    }

    /// Unmaps pages. Nothing may be read or written there any more.
    pub(crate) fn punch(&self, offset: u64, size: u64) -> Result<()> {
        let (at, size) = self.part(offset, size);
        // SAFETY: As in `protect`. What is mapped there next is not ours, and `drop` unmaps it
        // too: tests that do this do not map anything in between.
        check(unsafe { libc::munmap(at, size) })
    }

    /// Anything else that madvise does with pages.
    pub(crate) fn advise(&self, offset: u64, size: u64, advice: i32) -> Result<()> {
        let (at, size) = self.part(offset, size);
        // SAFETY: Whole pages of the mapping, of which Rust holds no references; what this does to
        // them is what the callers are for.
        check(unsafe { libc::madvise(at, size, advice) })
    }

    fn part(&self, offset: u64, size: u64) -> (*mut libc::c_void, usize) {
        assert!(offset + size <= self.size && (offset | size) % PAGE_SIZE == 0);
        let at = self.start.as_ptr().wrapping_add(offset as usize);
        (at.cast(), size as usize)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let (address, length) = self.whole;
        // SAFETY: Mapped by `new`, and borrowed by nobody.
        unsafe { libc::munmap(address, length) };
    }
}

/// Makes `size` bytes at `offset` of a guest_memfd disappear.
pub(crate) fn punch_hole(memfd: &File, offset: u64, size: u64) -> Result<()> {
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    let offset = offset.try_into().map_err(Error::other)?;
    let size = size.try_into().map_err(Error::other)?;
    // SAFETY: It changes the file only.
    check(unsafe { libc::fallocate(memfd.as_raw_fd(), mode, offset, size) })
}

/// What a system call that returns 0 or -1 means.
pub(crate) fn check(result: i32) -> Result<()> {
    match result {
        0.. => Ok(()),
        _ => Err(Error::last_os_error()),
    }
}
