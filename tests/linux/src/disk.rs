// SPDX-License-Identifier: GPL-2.0

//! The disk: what the host wrote is read, what is written stays. In a realm every byte goes through
//! bounce buffers, because a device sees shared memory only.
//!
//! The host makes a disk of which the first half has contents, and afterwards looks for those which
//! the guest put into the second.

use crate::{pattern, Check, Context, Error, Verdict, World};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Seek, SeekFrom, Write},
    os::{fd::AsRawFd, unix::fs::OpenOptionsExt}, //
};

const DISK: &str = "/dev/vda";
const BLOCK: usize = 4096;
/// Most requests that a driver makes of this are larger than a slot of a bounce buffer.
const CHUNK: usize = 256 * 1024;
/// Makes the blocks of the guest different from those of the host.
const GUEST: u64 = 1 << 32;
/// `BLKFLSBUF` of `linux/fs.h`: forget what is cached of a block device.
const BLKFLSBUF: u64 = 0x1261;

/// Memory that a disk can be read to past the cache.
#[repr(align(4096))]
struct Aligned([u8; BLOCK]);

/// Reads the first half, in large requests and in small ones, writes the second, reads that as well.
pub(crate) fn check(world: World) -> Check {
    let Ok(mut disk) = OpenOptions::new().read(true).write(true).open(DISK) else {
        return Ok(Verdict::Skipped(format!("no {DISK}")));
    };
    let half = half(&mut disk)?;
    verify(&mut disk, 0, half, 0).context("what the host wrote")?;
    verify_by_blocks(half).context("what the host wrote, block by block")?;
    disk.seek(SeekFrom::Start(half)).context("seek")?;
    write(&mut disk, half, GUEST).context("write")?;
    disk.sync_all().context("sync")?;
    // SAFETY: the command has no argument that points anywhere.
    if unsafe { libc::ioctl(disk.as_raw_fd(), BLKFLSBUF, 0) } != 0 {
        return Err(format!("BLKFLSBUF: {}", std::io::Error::last_os_error()).into());
    }
    let checksum = verify(&mut disk, half, half, GUEST).context("what the guest wrote")?;

    let bounced = bounced();
    if world == World::Realm && bounced == Some(0) {
        return Err("no bounce buffer was ever used".into());
    }
    Ok(Verdict::Ok(format!(
        "{} KiB read, again block by block, {0} KiB written and read again, CRC {checksum:08x}{}",
        half >> 10,
        bounced.map_or(String::new(), |slots| format!(
            ", {} KiB of bounce buffers in use at most",
            slots * 2
        ))
    )))
}

/// Makes a disk for a guest: `mib` MiB, of which the first half has contents.
pub(crate) fn make(path: &str, mib: u64) -> Result<(), Error> {
    let mut file = File::create(path).context(path)?;
    file.set_len(mib << 20).context(path)?;
    write(&mut file, mib << 19, 0).context(path)
}

/// Looks for what the guest wrote.
pub(crate) fn verify_guest(path: &str) -> Result<(), Error> {
    let mut file = File::open(path).context(path)?;
    let half = half(&mut file)?;
    let checksum = verify(&mut file, half, half, GUEST).context(path)?;
    println!(
        "  {path}: the guest's {} KiB are there, CRC {checksum:08x}",
        half >> 10
    );
    Ok(())
}

/// Half the size, in whole chunks.
fn half(disk: &mut File) -> Result<u64, Error> {
    let size = disk.seek(SeekFrom::End(0))?;
    let half = size / 2 / CHUNK as u64 * CHUNK as u64;
    if half == 0 {
        return Err(format!("a disk of {size} bytes is too small").into());
    }
    Ok(half)
}

/// Fills `length` bytes from where `disk` is.
fn write(disk: &mut File, length: u64, salt: u64) -> std::io::Result<()> {
    let mut chunk = vec![0; CHUNK];
    for first in (0..length / BLOCK as u64).step_by(CHUNK / BLOCK) {
        for (n, block) in (first..).zip(chunk.chunks_exact_mut(BLOCK)) {
            pattern::fill(block, n ^ salt);
        }
        disk.write_all(&chunk)?;
    }
    Ok(())
}

/// Reads `length` bytes at `start`, and gives their checksum if they are what [`write`] wrote.
fn verify(disk: &mut File, start: u64, length: u64, salt: u64) -> Result<u32, Error> {
    let mut hash = crc32fast::Hasher::new();
    let mut chunk = vec![0; CHUNK];
    disk.seek(SeekFrom::Start(start))?;
    for first in (0..length / BLOCK as u64).step_by(CHUNK / BLOCK) {
        disk.read_exact(&mut chunk)?;
        for (n, block) in (first..).zip(chunk.chunks_exact(BLOCK)) {
            if !pattern::holds(block, n ^ salt) {
                let at = start + n * BLOCK as u64;
                return Err(format!("the block at {at:#x} is not what was written").into());
            }
        }
        hash.update(&chunk);
    }
    Ok(hash.finalize())
}

/// Reads the first `length` bytes of the disk as they are now: each block is a request, which ends before the
/// next one begins.
fn verify_by_blocks(length: u64) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    let mut disk = options.read(true).custom_flags(libc::O_DIRECT).open(DISK)?;
    let mut block = Aligned([0; BLOCK]);
    for n in 0..length / BLOCK as u64 {
        disk.read_exact(&mut block.0)?;
        if !pattern::holds(&block.0, n) {
            return Err(format!("block {n} is not what was written").into());
        }
    }
    Ok(())
}

/// How many slots of bounce buffers were in use at once at most, if the kernel counts that.
fn bounced() -> Option<u64> {
    let parameters = fs::read_to_string("/proc/cmdline").ok()?;
    if !parameters.contains("track_hiwater") {
        return None;
    }
    let text = fs::read_to_string("/sys/kernel/debug/swiotlb/io_tlb_used_hiwater").ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{make, verify, verify_guest, write, GUEST};
    use std::{
        fs::{remove_file, OpenOptions},
        io::{Seek, SeekFrom, Write},
    };

    #[test]
    fn both_halves() {
        let path = std::env::temp_dir().join(format!("realm-check-{}", std::process::id()));
        let name = path.to_str().unwrap();
        make(name, 2).unwrap();
        let mut disk = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .unwrap();
        verify(&mut disk, 0, 1 << 20, 0).unwrap();
        assert!(verify_guest(name).is_err());
        disk.seek(SeekFrom::Start(1 << 20)).unwrap();
        write(&mut disk, 1 << 20, GUEST).unwrap();
        verify_guest(name).unwrap();
        disk.seek(SeekFrom::Start((2 << 20) - 1)).unwrap();
        disk.write_all(&[0x5a]).unwrap();
        assert!(verify_guest(name).is_err());
        remove_file(path).unwrap();
    }
}
