// SPDX-License-Identifier: GPL-2.0

//! userfaultfd: pages are protected against stores, copied, taken away, and given back as they were, the
//! way a VMM saves or moves a VM that runs on.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd};

use super::ground::Moved;
use super::*;
use crate::realm::memory::check;

/// Those of linux/userfaultfd.h.
const UFFD_API: u64 = 0xaa;
const UFFD_FEATURE_PAGEFAULT_FLAG_WP: u64 = 1 << 0;
const UFFDIO_API: u64 = 0xc018_aa3f;
const UFFDIO_REGISTER: u64 = 0xc020_aa00;
const UFFDIO_COPY: u64 = 0xc028_aa03;
const UFFDIO_WRITEPROTECT: u64 = 0xc018_aa06;
const UFFDIO_REGISTER_MODE_MISSING: u64 = 1 << 0;
const UFFDIO_REGISTER_MODE_WP: u64 = 1 << 1;
const UFFDIO_COPY_MODE_WP: u64 = 1 << 1;
const UFFDIO_WRITEPROTECT_MODE_WP: u64 = 1 << 0;
const UFFD_PAGEFAULT_FLAG_WP: u64 = 1 << 1;
/// Bytes of struct uffd_msg; the flags of a page fault are its second word.
const MESSAGE: usize = 32;

/// Pages that are taken away at once.
const PIECE: u64 = 8 * PAGE_SIZE;

struct Userfault {
    fd: File,
    copy: Mapping,
    /// Faults of somebody who wanted what was not there, and who wanted to store.
    faults: [Moved; 2],
    moved: Moved,
}

/// An ioctl with words for its structure.
fn ioctl<const N: usize>(fd: &File, request: u64, words: &mut [u64; N]) -> io::Result<()> {
    // SAFETY: The structure of each of these requests is as long as the words.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), request, words.as_mut_ptr()) })
}

/// The address space changes just now.
fn is_busy(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EAGAIN)
}

pub(super) fn make(ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    let flags = libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: Makes a new file.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, flags) } as i32;
    check(fd)?;
    // SAFETY: It has just been made, for us.
    let fd = unsafe { File::from_raw_fd(fd) };
    ioctl(
        &fd,
        UFFDIO_API,
        &mut [UFFD_API, UFFD_FEATURE_PAGEFAULT_FLAG_WP, 0],
    )?;
    let memory = ground.memory();
    let mode = UFFDIO_REGISTER_MODE_MISSING | UFFDIO_REGISTER_MODE_WP;
    let mut range = [memory.address(), memory.size(), mode, 0];
    ioctl(&fd, UFFDIO_REGISTER, &mut range)?;
    Ok(Box::new(Userfault {
        fd,
        copy: Mapping::new(PIECE, Huge::Never)?,
        faults: [Moved::new(), Moved::new()],
        moved: Moved::new(),
    }))
}

impl Userfault {
    fn write_protect(&self, at: u64, protect: bool) -> Result<()> {
        let mode = if protect {
            UFFDIO_WRITEPROTECT_MODE_WP
        } else {
            0
        };
        loop {
            match ioctl(&self.fd, UFFDIO_WRITEPROTECT, &mut [at, PIECE, mode]) {
                Err(error) if is_busy(&error) => thread::yield_now(),
                result => return Ok(result?),
            }
        }
    }

    /// Gives back what was copied, protected still.
    fn give_back(&self, at: u64) -> Result<()> {
        let mut done = 0;
        while done < PIECE {
            let (to, from) = (at + done, self.copy.address() + done);
            let mut words = [to, from, PIECE - done, UFFDIO_COPY_MODE_WP, 0];
            match ioctl(&self.fd, UFFDIO_COPY, &mut words) {
                Err(error) if !is_busy(&error) => return Err(error.into()),
                // Bytes that were copied, or why there are none.
                _ => done += u64::try_from(words[4].cast_signed()).unwrap_or(0),
            }
        }
        Ok(())
    }

    /// Counts who has waited for us.
    fn read_faults(&self) -> Result<()> {
        let mut message = [0; MESSAGE];
        loop {
            match (&self.fd).read(&mut message) {
                Ok(MESSAGE) => {}
                Ok(bytes) => return Err(format!("a message of {bytes} bytes").into()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
            let stores = u64::from(message[8]) & UFFD_PAGEFAULT_FLAG_WP != 0;
            self.faults[usize::from(stores)].add(1);
        }
    }
}

impl Mover for Userfault {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let memory = ground.memory();
        for piece in (0..memory.size()).step_by(PIECE as usize) {
            let at = memory.address() + piece;
            self.moved.by(ground, || {
                self.write_protect(at, true)?;
                for offset in (0..PIECE).step_by(8) {
                    self.copy.write(offset, memory.read(piece + offset));
                }
                memory.discard(piece, PIECE)?;
                thread::sleep(Duration::from_micros(200));
                self.read_faults()?;
                self.give_back(at)?;
                thread::sleep(Duration::from_micros(200));
                self.read_faults()?;
                self.write_protect(at, false)
            })?;
        }
        Ok(())
    }

    /// Pages, if there were faults of both kinds.
    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        let both = self.faults.iter().all(|faults| faults.count() != 0);
        Ok(if both { self.moved.count() } else { 0 })
    }
}
