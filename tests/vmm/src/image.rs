// SPDX-License-Identifier: GPL-2.0

//! What a kernel's file says of itself, before anything is loaded.

use crate::error::{Error, Result};

/// Bytes of a kernel's header.
pub const HEADER_SIZE: usize = 64;

/// A kernel that can be loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kernel {
    /// Where it wants to be, after an address that is a multiple of 2 MiB.
    pub text_offset: u64,
    /// Bytes that it needs when it runs, from there on; more than the file has.
    pub run_size: u64,
}

/// What the first bytes of a file say: see Documentation/arch/arm64/booting.rst in Linux.
///
/// # Errors
///
/// It is not an uncompressed arm64 kernel.
pub fn inspect(name: &str, header: &[u8]) -> Result<Kernel> {
    let compressed = |how: &str, advice: &str| {
        Err(Error::plain(format!(
            "{name}: a kernel in {how}; an uncompressed arm64 Image is needed"
        ))
        .advise(advice))
    };
    if header.starts_with(&[0x1f, 0x8b]) {
        return compressed("gzip form (Image.gz)", "gunzip it: zcat FILE >Image");
    }
    if header.starts_with(b"MZ") && header.get(4..8) == Some(b"zimg") {
        return compressed(
            "an EFI zboot wrapper (vmlinuz.efi)",
            "unpack it: the 4 bytes at 8 are where the gzip data begin, the 4 at 12 their length",
        );
    }
    if header.starts_with(b"\x7fELF") {
        return compressed("ELF form (vmlinux)", "take arch/arm64/boot/Image");
    }
    let word = |at: usize| -> Option<u64> {
        let bytes = header.get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let (Some(text_offset), Some(run_size), Some(b"ARMd")) =
        (word(8), word(16), header.get(56..60))
    else {
        return Err(Error::plain(format!("{name}: not an arm64 kernel"))
            .advise("take arch/arm64/boot/Image of an arm64 build"));
    };
    if run_size == 0 {
        return Err(Error::plain(format!("{name}: older than Linux 3.17"))
            .advise("take a kernel that knows of realms: Linux 6.13 or newer"));
    }
    Ok(Kernel {
        text_offset,
        run_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> [u8; HEADER_SIZE] {
        let mut header = [0; HEADER_SIZE];
        header[..2].copy_from_slice(b"MZ");
        header[16..24].copy_from_slice(&0x123_0000u64.to_le_bytes());
        header[56..60].copy_from_slice(b"ARMd");
        header
    }

    fn says(header: &[u8]) -> String {
        inspect("k", header).unwrap_err().to_string()
    }

    #[test]
    fn plain_image() {
        let kernel = inspect("k", &image()).unwrap();
        assert_eq!((kernel.text_offset, kernel.run_size), (0, 0x123_0000));
    }

    #[test]
    fn other_forms_are_named() {
        assert!(says(&[0x1f, 0x8b, 8, 0]).contains("gzip"));
        assert!(says(b"\x7fELF\x02\x01").contains("vmlinux"));
        let mut zboot = image();
        zboot[4..8].copy_from_slice(b"zimg");
        assert!(says(&zboot).contains("zboot"));
        assert!(says(b"#!/bin/sh").contains("not an arm64 kernel"));
        assert!(says(b"").contains("not an arm64 kernel"));
        let mut old = image();
        old[16..24].fill(0);
        assert!(says(&old).contains("3.17"));
    }
}
