// SPDX-License-Identifier: GPL-2.0

//! Memory of a realm's becomes the host's, and the realm's again, as with a balloon: by way of the
//! heap of DMA buffers that Linux shares with the host when they are made, and takes back when they
//! are freed.

use crate::{pattern, Check, Context, Error, Verdict, World};
use std::{
    fs::{File, OpenOptions},
    io::ErrorKind,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    ptr::NonNull,
};

const HEAP: &str = "/dev/dma_heap/system_cc_shared";
const SIZE: usize = 2 << 20;
const ROUNDS: u64 = 4;
const PAGE: usize = 4096;

/// `struct dma_heap_allocation_data` of `linux/dma-heap.h`.
#[repr(C)]
struct Allocation {
    len: u64,
    fd: u32,
    fd_flags: u32,
    heap_flags: u64,
}

/// `DMA_HEAP_IOCTL_ALLOC`: `_IOWR('H', 0, struct dma_heap_allocation_data)`
const DMA_HEAP_IOCTL_ALLOC: u64 =
    (3 << 30) | ((size_of::<Allocation>() as u64) << 16) | ((b'H' as u64) << 8);

/// Shares and takes back the same amount several times.
pub(crate) fn check(world: World) -> Check {
    let heap = match OpenOptions::new().read(true).write(true).open(HEAP) {
        Ok(heap) => heap,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Ok(Verdict::Skipped(match world {
                World::Realm => format!("this kernel has no {HEAP}"),
                World::Ordinary => "only realms do that".into(),
            }));
        }
        Err(error) => return Err(format!("{HEAP}: {error}").into()),
    };
    for round in 0..ROUNDS {
        // Gone at the end of each round.
        let mut buffer = Mapping::new(&allocate(&heap)?)?;
        let memory = buffer.bytes();
        if let Some(n) = memory.chunks_exact(PAGE).position(|page| page != [0; PAGE]) {
            return Err(format!("round {round}: page {n} is not clear").into());
        }
        for (n, page) in (round << 32..).zip(memory.chunks_exact_mut(PAGE)) {
            pattern::fill(page, n);
        }
        for (n, page) in (round << 32..).zip(memory.chunks_exact(PAGE)) {
            if !pattern::holds(page, n) {
                return Err(format!("round {round}: a page is not what was written").into());
            }
        }
    }
    Ok(Verdict::Ok(format!("{} MiB, {ROUNDS} times", SIZE >> 20)))
}

fn allocate(heap: &File) -> Result<OwnedFd, Error> {
    let mut data = Allocation {
        len: SIZE as u64,
        fd: 0,
        fd_flags: (libc::O_RDWR | libc::O_CLOEXEC) as u32,
        heap_flags: 0,
    };
    // SAFETY: the command reads and writes one such structure.
    if unsafe { libc::ioctl(heap.as_raw_fd(), DMA_HEAP_IOCTL_ALLOC, &mut data) } != 0 {
        return Err(std::io::Error::last_os_error()).context("DMA_HEAP_IOCTL_ALLOC");
    }
    let fd = i32::try_from(data.fd)?;
    // SAFETY: the call succeeded, so this is a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A buffer in this process.
struct Mapping(NonNull<u8>);

impl Mapping {
    fn new(buffer: &OwnedFd) -> Result<Self, Error> {
        // SAFETY: asks for a new mapping, anywhere.
        let address = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                buffer.as_raw_fd(),
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error()).context("mmap of a DMA buffer");
        }
        Ok(Self(
            NonNull::new(address.cast()).ok_or("mmap gave address 0")?,
        ))
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is that long and lives as long as `self`; no device knows of it.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_ptr(), SIZE) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is ours, and nobody has a reference into it.
        unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}
