// SPDX-License-Identifier: GPL-2.0

//! `vmcore`: the memory of a kernel that has panicked, with pages that were delegated then.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;

use crate::elf_core;

const PATH: &str = "/proc/vmcore";
const PAGE: u64 = 4096;

/// Where the magic number of a kernel image is, and what it is.
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";

/// Offset in the file of physical address `pa`.
fn offset(file: &File, pa: u64) -> Result<u64, Box<dyn Error>> {
    let parts = elf_core::parts(file)?;
    let has = parts
        .iter()
        .find(|part| pa.wrapping_sub(part.pa) < part.size);
    let part = has.ok_or_else(|| format!("{pa:#x} is not in {PATH}"))?;
    Ok(part.offset + (pa - part.pa))
}

/// A page, read by the kernel and then through a mapping; both see the same.
fn page(file: &File, pa: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let at = offset(file, pa)?;
    let mut read = vec![0xff; PAGE as usize];
    file.read_exact_at(&mut read, at)?;
    // SAFETY: A new mapping at an address that the kernel chooses.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            PAGE as usize,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            at.try_into()?,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(format!("mmap of {pa:#x}: {}", io::Error::last_os_error()).into());
    }
    // SAFETY: The mapping has so many bytes, and nobody changes them; or this ends with a signal,
    // which is what the test is about.
    let mapped = unsafe { std::slice::from_raw_parts(address.cast::<u8>(), PAGE as usize) };
    let same = mapped == read;
    // SAFETY: Mapped above; `mapped` is not used any more.
    unsafe { libc::munmap(address, PAGE as usize) };
    if !same {
        return Err(format!("{pa:#x} is not the same when it is mapped").into());
    }
    Ok(read)
}

/// `vmcore HELD COUNT IMAGE`: `COUNT` pages from physical address `HELD` on were delegated, the kernel
/// was at `IMAGE`. The first are zeroes, the kernel is there, and the whole file can be read.
pub(crate) fn run(held: &str, count: &str, image: &str) -> Result<(), Box<dyn Error>> {
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16);
    let (held, image) = (hex(held)?, hex(image)?);
    let mut file = File::open(PATH)?;
    for n in 0..count.parse()? {
        let pa = held + n * PAGE;
        let zeroes = page(&file, pa)?.iter().all(|byte| *byte == 0);
        if !zeroes {
            return Err(format!("{pa:#x} was delegated, and has contents").into());
        }
    }
    if !page(&file, image)?[MAGIC_AT..].starts_with(MAGIC) {
        return Err(format!("no kernel at {image:#x}").into());
    }
    file.seek(SeekFrom::Start(0))?;
    let mut buffer = vec![0; 1 << 20];
    let mut all = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => all += count as u64,
        }
    }
    println!("{PATH}: {} MiB", all >> 20);
    Ok(())
}
