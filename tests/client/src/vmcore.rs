// SPDX-License-Identifier: GPL-2.0

//! `vmcore`: the memory of a kernel that has panicked, with pages that were delegated then.
//!
//! Realms are found as a tool would find them: from VMCOREINFO by what `asm/kvm_rmi_dump.h` says, and with
//! nothing else of that kernel.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::ptr;

use crate::elf_core::{self, PT_LOAD, PT_NOTE};
use crate::realm::eyes;

const PATH: &str = "/proc/vmcore";
const PAGE: u64 = 4096;

/// Where the magic number of a kernel image is, and what it is.
const MAGIC_AT: usize = 56;
const MAGIC: &[u8] = b"ARM\x64";

/// Offset in the file of physical address `pa`.
fn offset(file: &File, pa: u64) -> Result<u64, Box<dyn Error>> {
    let parts = elf_core::parts(file, PT_LOAD)?;
    let has = parts
        .iter()
        .find(|part| pa.wrapping_sub(part.pa) < part.size);
    let part = has.ok_or_else(|| format!("{pa:#x} is not in {PATH}"))?;
    Ok(part.offset + (pa - part.pa))
}

/// A number that VMCOREINFO has for `name`.
fn vmcoreinfo(file: &File, name: &str) -> Result<u64, Box<dyn Error>> {
    for part in elf_core::parts(file, PT_NOTE)? {
        let mut notes = vec![0; part.size.try_into()?];
        file.read_exact_at(&mut notes, part.offset)?;
        let text = String::from_utf8_lossy(&notes);
        let value = text.split(['\n', '\0']).find_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix('=')?;
            u64::from_str_radix(value.trim_start_matches("0x"), 16).ok()
        });
        if let Some(value) = value {
            return Ok(value);
        }
    }
    Err(format!("VMCOREINFO has no {name}").into())
}

/// A word of memory.
fn memory(file: &File, pa: u64) -> Result<u64, Box<dyn Error>> {
    let mut bytes = [0; 8];
    file.read_exact_at(&mut bytes, offset(file, pa)?)?;
    Ok(u64::from_le_bytes(bytes))
}

/// The entries of a list: granules, and what they are.
fn list(file: &File, first: u64) -> Result<Vec<(u64, u64)>, Box<dyn Error>> {
    let (mut entries, mut at) = (Vec::new(), first);
    while at != 0 {
        let bytes = page(file, at)?;
        let mut words = bytes.chunks_exact(8).map(|word| {
            word.iter()
                .rev()
                .fold(0, |all, byte| all << 8 | u64::from(*byte))
        });
        let (next, missing) = (words.next(), words.next());
        if missing != Some(0) {
            return Err("something is missing in a list".into());
        }
        while let (Some(granule), Some(what)) = (words.next(), words.next()) {
            entries.push((granule, what));
        }
        at = next.unwrap_or(0);
    }
    entries.retain(|(granule, _)| *granule != 0);
    Ok(entries)
}

/// `vmcore realms`: a line for each realm, with what there is of it: the address of its RD, how many RECs,
/// and how many tables at each level. All of that memory is zeroes.
pub(crate) fn realms() -> Result<(), Box<dyn Error>> {
    let file = File::open(PATH)?;
    let symbol = vmcoreinfo(&file, "SYMBOL(kvm_rmi_dump)")?;
    let anchor = symbol.wrapping_sub(vmcoreinfo(&file, "NUMBER(kimage_voffset)")?);
    for (realm, what) in list(&file, memory(&file, anchor)?)? {
        if what != 1 {
            return Err(format!("{what:#x} is no realm").into());
        }
        let (mut rd, mut recs, mut tables) = (0, 0, [0; 4]);
        for (granule, what) in list(&file, realm)? {
            if page(&file, granule)?.iter().any(|byte| *byte != 0) {
                return Err(format!("{granule:#x}, {what:#x}, has contents").into());
            }
            match (what & 0xff, what >> 8 & 0xf) {
                (2, _) => rd = granule,
                (3, _) => recs += 1,
                (4, level @ 0..=3) => tables[level as usize] += 1,
                _ => return Err(format!("{what:#x} is nothing of a realm's").into()),
            }
        }
        let [t0, t1, t2, t3] = tables;
        println!("{rd:#x}:{recs}:{t0}:{t1}:{t2}:{t3}");
    }
    Ok(())
}

/// A page, as the kernel reads it. It cannot be mapped, which tells tools to read.
fn page(file: &File, pa: u64) -> Result<Vec<u8>, Box<dyn Error>> {
    let at = offset(file, pa)?;
    let mut read = vec![0xff; PAGE as usize];
    file.read_exact_at(&mut read, at)?;
    // SAFETY: A new mapping at an address that the kernel chooses, which nobody uses.
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
    let error = io::Error::last_os_error();
    if address != libc::MAP_FAILED || error.raw_os_error() != Some(libc::EAGAIN) {
        return Err(format!("mmap of {pa:#x}: {address:?}, {error}").into());
    }
    Ok(read)
}

/// `vmcore HELD COUNT IMAGE`: `COUNT` pages from physical address `HELD` on were delegated, the kernel
/// was at `IMAGE`. The first are zeroes, the kernel is there, and the whole file can be read: of what a realm
/// has written it has all that was shared, and nothing that was private.
pub(crate) fn run(held: &str, count: &str, image: &str) -> Result<(), Box<dyn Error>> {
    let hex = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16);
    let (held, image) = (hex(held)?, hex(image)?);
    let file = File::open(PATH)?;
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
    let found = eyes::look_at_all(File::open(PATH)?).map_err(|e| -> Box<dyn Error> { e })?;
    found.check(PATH).map_err(|e| -> Box<dyn Error> { e })?;
    println!("{PATH}: {} MiB", found.bytes >> 20);
    Ok(())
}
