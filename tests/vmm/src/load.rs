// SPDX-License-Identifier: GPL-2.0

//! Putting kernel, initial RAM disk and device tree into memory.

use std::fs::File;
use std::io::{Read, Seek};
use std::ops::Range;
use std::path::Path;

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use crate::args::Args;
use crate::error::{Error, Result, Trying};
use crate::fdt;
use crate::image::{inspect, HEADER_SIZE};
use crate::layout::{pages, place, FDT_SIZE};
use crate::machine::machine;
use crate::memory::Memory;

/// What was put into memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Loaded {
    /// Where the kernel starts.
    pub entry: u64,
    /// Where the device tree is.
    pub fdt: u64,
    /// Everything, in whole pages and in order.
    pub ranges: Vec<Range<u64>>,
}

/// Loads everything that `args` say, with a device tree that tells of it.
///
/// # Errors
///
/// A file is not what it should be, or there is too little memory.
pub fn load(memory: &Memory, args: &Args) -> Result<Loaded> {
    let memory = &memory.seen_with(0)?;
    let (name, mut kernel) = open(&args.kernel)?;
    let mut header = Vec::new();
    let head = (&mut kernel)
        .take(HEADER_SIZE as u64)
        .read_to_end(&mut header);
    head.trying(&name)?;
    let about = inspect(&name, &header)?;

    let mut initrd = args.initrd.as_deref().map(open).transpose()?;
    let initrd_size = match &mut initrd {
        Some((name, file)) => size(name, file)?,
        None => 0,
    };
    let kernel_size = size(&name, &mut kernel)?;
    let run_size = about.run_size.max(kernel_size);
    let images = place(
        args.memory,
        about.text_offset,
        run_size,
        initrd_size,
        args.initrd_at,
    )?;

    // An Image is loaded as it is.
    copy(memory, images.kernel, &name, kernel, kernel_size)?;
    let mut ranges = Vec::new();
    ranges.push(images.kernel..images.kernel + kernel_size);

    let mut machine = machine(args)?;
    machine.initrd = images.initrd.clone();
    let tree = fdt::build(&machine).map_err(|e| Error::new("the device tree", e))?;
    if tree.len() as u64 > FDT_SIZE {
        return Err(Error::plain("the device tree is too large").advise("--cmdline is too long"));
    }
    let wrote = memory.write_slice(&tree, GuestAddress(images.fdt.start));
    wrote.map_err(|e| Error::new("the device tree", e))?;
    ranges.push(images.fdt.start..images.fdt.start + tree.len() as u64);

    if let Some((name, file)) = initrd {
        copy(memory, images.initrd.start, &name, file, initrd_size)?;
        ranges.push(images.initrd);
    }
    Ok(Loaded {
        entry: images.kernel,
        fdt: images.fdt.start,
        ranges: ranges.iter().map(pages).collect(),
    })
}

/// Puts the first `size` bytes of a file at `at`.
fn copy(memory: &GuestMemoryMmap, at: u64, name: &str, mut file: File, size: u64) -> Result<()> {
    file.rewind().trying(name)?;
    let read = memory.read_exact_volatile_from(GuestAddress(at), &mut file, size as usize);
    read.map_err(|e| Error::new(name, e))
}

fn open(path: &Path) -> Result<(String, File)> {
    let name = path.display().to_string();
    let file = File::open(path).trying(&name)?;
    Ok((name, file))
}

/// Files in /proc and devices have sizes of their own: this is what can be read.
fn size(name: &str, file: &mut File) -> Result<u64> {
    file.seek(std::io::SeekFrom::End(0)).trying(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{PAGE, RAM};
    use clap::Parser;
    use std::fs;
    use vmm_sys_util::tempfile::TempFile;

    fn file(contents: &[u8]) -> TempFile {
        let file = TempFile::new().unwrap();
        fs::write(file.as_path(), contents).unwrap();
        file
    }

    /// Loads a kernel and this initial RAM disk at `at`; says what is to be populated of the latter, and
    /// what is there.
    fn loaded(contents: &[u8], at: u64) -> (Range<u64>, Vec<u8>) {
        let mut image = vec![0x11; 0x1234];
        image[..8].copy_from_slice(b"MZ\0\0\0\0\0\0");
        image[8..16].fill(0);
        image[16..24].copy_from_slice(&0x2000_u64.to_le_bytes());
        image[56..60].copy_from_slice(b"ARMd");
        let (kernel, initrd) = (file(&image), file(contents));
        let name = |file: &TempFile| file.as_path().to_str().unwrap().to_string();
        let args = Args::try_parse_from([
            "realm-vmm",
            "--memory=64",
            &format!("--kernel={}", name(&kernel)),
            &format!("--initrd={}", name(&initrd)),
            &format!("--initrd-at={at:#x}"),
        ]);
        let args = args.unwrap();
        let memory = Memory::new(args.memory).unwrap();
        let loaded = load(&memory, &args).unwrap();
        for range in &loaded.ranges {
            assert_eq!((range.start % PAGE, range.end % PAGE), (0, 0));
        }
        for two in loaded.ranges.windows(2) {
            assert!(two[0].end <= two[1].start, "{two:x?}");
        }
        assert_eq!(loaded.ranges[0], RAM..RAM + 2 * PAGE);
        let range = loaded.ranges[2].clone();
        let mut bytes = vec![0xff; (range.end - range.start) as usize];
        let view = memory.seen_with(0).unwrap();
        view.read_slice(&mut bytes, GuestAddress(range.start))
            .unwrap();
        (range, bytes)
    }

    #[test]
    fn an_initrd_of_any_size_at_any_place_is_loaded_whole() {
        for (at, size, pages) in [
            (0, 1, 0..PAGE),
            (0, PAGE, 0..PAGE),
            (0x123, 0x1000, 0..2 * PAGE),
            (0xfff, 1, 0..PAGE),
            (0xfff, 2, 0..2 * PAGE),
            (0x1801, 0x2801, PAGE..5 * PAGE),
        ] {
            let base = RAM + (8 << 20);
            let contents: Vec<u8> = (1..=250).cycle().take(size as usize).collect();
            let (range, bytes) = loaded(&contents, base + at);
            assert_eq!(
                range,
                base + pages.start..base + pages.end,
                "{at:#x} {size:#x}"
            );
            let from = (at - pages.start) as usize;
            assert_eq!(bytes[from..from + contents.len()], contents);
            // Nothing next to it: the rest of the first page, and of the last.
            assert!(bytes[..from].iter().all(|byte| *byte == 0));
            assert!(bytes[from + contents.len()..].iter().all(|byte| *byte == 0));
        }
    }
}
