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
use crate::layout::{place, FDT_SIZE, PAGE};
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
    let images = place(args.memory, about.text_offset, run_size, initrd_size)?;

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
    for range in &mut ranges {
        *range = range.start - range.start % PAGE..range.end.next_multiple_of(PAGE);
    }
    Ok(Loaded {
        entry: images.kernel,
        fdt: images.fdt.start,
        ranges,
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
