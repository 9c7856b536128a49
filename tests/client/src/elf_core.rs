// SPDX-License-Identifier: GPL-2.0

//! Memory as an ELF core has it: `/proc/kcore`, `/proc/vmcore`.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where an ELF header has the offset of the program headers, their size and their number.
const E_PHOFF: u64 = 0x20;
const E_PHENTSIZE: u64 = 0x36;
const E_PHNUM: u64 = 0x38;
/// Where a program header has its type, offset in the file, physical address and size there.
const P_TYPE: u64 = 0;
const P_OFFSET: u64 = 8;
const P_PADDR: u64 = 24;
const P_FILESZ: u64 = 32;
/// Types of program headers.
pub(crate) const PT_LOAD: u32 = 1;
pub(crate) const PT_NOTE: u32 = 4;

/// What a program header is about: a part of memory, or a note.
pub(crate) struct Part {
    /// Where the file has it.
    pub(crate) offset: u64,
    /// Its physical address, or `u64::MAX`.
    pub(crate) pa: u64,
    /// Bytes in the file.
    pub(crate) size: u64,
}

fn bytes<const N: usize>(file: &File, at: u64) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// All that the file has of a type.
pub(crate) fn parts(file: &File, kind: u32) -> io::Result<Vec<Part>> {
    let half = |at| Ok::<_, io::Error>(u64::from(u16::from_le_bytes(bytes(file, at)?)));
    let word = |at| Ok::<_, io::Error>(u64::from_le_bytes(bytes(file, at)?));
    let (first, size) = (word(E_PHOFF)?, half(E_PHENTSIZE)?);
    let mut parts = Vec::new();
    for n in 0..half(E_PHNUM)? {
        let header = first + n * size;
        if u32::from_le_bytes(bytes(file, header + P_TYPE)?) == kind {
            parts.push(Part {
                offset: word(header + P_OFFSET)?,
                pa: word(header + P_PADDR)?,
                size: word(header + P_FILESZ)?,
            });
        }
    }
    Ok(parts)
}
