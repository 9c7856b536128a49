// SPDX-License-Identifier: GPL-2.0

//! What a VMM does to its own address space.

use std::sync::atomic::AtomicU64;

use super::ground::Moved;
use super::*;
use crate::realm::memory::check;
use realm_guest::word;

/// How long something is looked at that may not change.
const LOOK: Duration = Duration::from_millis(1);
/// A generation that nobody gets to.
const CHILD: u32 = u32::MAX;

/// Fork: both have the pages, until one of them stores.
struct Fork(Moved);

pub(super) fn fork(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    Ok(Box::new(Fork(Moved::new())))
}

impl Mover for Fork {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        self.0.by(ground, || {
            // SAFETY: The child reads and writes memory that is its own, and ends.
            let child = unsafe { libc::fork() };
            if child == 0 {
                let status = i32::from(!is_alone(ground));
                // SAFETY: Ends the child, and nothing else of it runs.
                unsafe { libc::_exit(status) };
            }
            check(child)?;
            let mut status = 0;
            // SAFETY: It writes the status.
            check(unsafe { libc::waitpid(child, &mut status, 0) })?;
            ensure!(status == 0, "a child's memory is not its own: {status:#x}");
            Ok(())
        })
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.0.count())
    }
}

/// A child's memory stays as it was, and as the child makes it.
fn is_alone(ground: &Ground<'_>) -> bool {
    let memory = ground.memory();
    let pages = || (0..memory.size()).step_by(PAGE_SIZE as usize);
    let offset = |page: u64| page + page / PAGE_SIZE % 512 * 8;
    let before: Vec<u64> = pages().map(|page| memory.read(page + 8)).collect();
    // Half of the pages it stores to, and has them to itself.
    let written = || pages().step_by(2).map(offset);
    for at in written() {
        memory.write(at, word(ground.base() + at, CHILD, false));
    }
    let start = Instant::now();
    while start.elapsed() < LOOK {}
    written().all(|at| memory.read(at) == word(ground.base() + at, CHILD, false))
        && pages()
            .zip(&before)
            .all(|(page, before)| page / PAGE_SIZE % 512 == 1 || memory.read(page + 8) == *before)
}

/// mprotect: what nobody may write does not change, and what nobody may read the realm does not find. A few
/// pages at a time, so that the others are left in peace.
struct Protect(AtomicU64);

const PIECE: u64 = 4 * PAGE_SIZE;

pub(super) fn protect(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    Ok(Box::new(Protect(AtomicU64::new(0))))
}

impl Mover for Protect {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let (memory, both) = (ground.memory(), libc::PROT_READ | libc::PROT_WRITE);
        let piece = self.0.fetch_add(1, Ordering::Relaxed) * PIECE % memory.size();
        {
            let _closed = ground.gate.write().map_err(|_| "another thread panicked")?;
            memory.protect(piece, PIECE, libc::PROT_READ)?;
            let look = || (piece..piece + PIECE).step_by(8).map(|at| memory.read(at));
            let before: Vec<u64> = look().collect();
            thread::sleep(LOOK);
            let same = look().eq(before);
            memory.protect(piece, PIECE, libc::PROT_NONE)?;
            thread::sleep(LOOK);
            memory.protect(piece, PIECE, both)?;
            ensure!(same, "the realm stores to memory that cannot be written");
        }
        thread::sleep(5 * LOOK);
        Ok(())
    }

    /// The realm has noticed.
    fn moved(&self, ground: &Ground<'_>) -> Result<u64> {
        let times = self.0.load(Ordering::Relaxed);
        Ok(times.min(ground.faults.load(Ordering::Relaxed)))
    }
}

/// mremap of the pages to `to`; what was in them is to be found there, and in their old place if the memory
/// is a file's.
fn remap_to(memory: &Mapping, to: &Mapping) -> Result<()> {
    let at = |mapping: &Mapping| mapping.address() as *mut libc::c_void;
    let size = memory.size() as usize;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED | libc::MREMAP_DONTUNMAP;
    // SAFETY: All of one mapping takes the place of all of another. Neither is referred to by Rust, and both
    // stay mapped.
    let result = unsafe { libc::mremap(at(memory), size, size, flags, at(to)) };
    ensure!(
        result != libc::MAP_FAILED,
        "mremap: {}",
        std::io::Error::last_os_error()
    );
    Ok(())
}

/// A file's mapping is moved: who touches the old place finds the same pages there.
struct Remap {
    to: Mapping,
    moved: AtomicU64,
}

pub(super) fn remap(ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    Ok(Box::new(Remap {
        to: Mapping::new(ground.memory().size(), Huge::Never)?,
        moved: AtomicU64::new(0),
    }))
}

impl Mover for Remap {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let before = ground.memory().frames()?;
        remap_to(ground.memory(), &self.to)?;
        let same = before.iter().zip(self.to.frames()?);
        let same = same
            .filter(|(before, now)| **before == *now && *now != 0)
            .count();
        self.moved.fetch_add(u64::from(same > 0), Ordering::Relaxed);
        thread::sleep(LOOK);
        Ok(())
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.moved.load(Ordering::Relaxed))
    }
}

/// Anonymous memory is moved away: in its place is nothing, and where it is nobody stores to it.
struct RemapAway {
    to: Mapping,
    moved: Moved,
}

pub(super) fn remap_away(ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    Ok(Box::new(RemapAway {
        to: Mapping::new(ground.memory().size(), Huge::Never)?,
        moved: Moved::new(),
    }))
}

impl Mover for RemapAway {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        remap_to(ground.memory(), &self.to)?;
        self.moved.add(
            self.to
                .frames()?
                .iter()
                .filter(|frame| **frame != 0)
                .count() as u64,
        );
        let look = || (0..self.to.size()).step_by(8).map(|at| self.to.read(at));
        let before: Vec<u64> = look().collect();
        thread::sleep(LOOK);
        ensure!(
            look().eq(before),
            "the realm stores to memory that was moved away"
        );
        Ok(())
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.moved.count())
    }
}
