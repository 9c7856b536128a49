// SPDX-License-Identifier: GPL-2.0

//! Pages are given back, and what was in them is lost. The realm gets new ones, and does not store to
//! those that it had.

use std::os::unix::fs::MetadataExt;

use super::ground::{vmstat, Moved, Since};
use super::*;
use crate::realm::memory::punch_hole;

/// Pages that are given back at once.
const PIECE: u64 = 16 * PAGE_SIZE;
/// No word of the realm's or of ours.
const CANARY: u64 = 0x5a5a_0000_0000_5a5a;

struct Discard {
    gone: Moved,
    /// Other memory: it gets the pages that are free.
    other: Mapping,
}

/// MADV_DONTNEED.
pub(super) fn discard(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    Ok(Box::new(Discard {
        gone: Moved::new(),
        other: Mapping::new(PIECE, Huge::Never)?,
    }))
}

impl Mover for Discard {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let memory = ground.memory();
        for at in (0..memory.size()).step_by(PIECE as usize) {
            self.gone.by(ground, || {
                memory.discard(at, PIECE)?;
                for page in (0..PIECE).step_by(PAGE_SIZE as usize) {
                    self.other.write(page, CANARY);
                }
                thread::sleep(Duration::from_millis(1));
                for page in (0..PIECE).step_by(PAGE_SIZE as usize) {
                    let seen = self.other.read(page);
                    ensure!(seen == CANARY, "other memory of the VMM has {seen:#x}");
                }
                Ok(self.other.discard(0, PIECE)?)
            })?;
        }
        Ok(())
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.gone.count())
    }
}

struct Free<F>(Since<F>);

/// MADV_FREE, and then they are wanted.
pub(super) fn free(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    Ok(Box::new(Free(Since::new(|| vmstat("pglazyfreed"))?)))
}

impl<F: Fn() -> Result<u64> + Sync> Mover for Free<F> {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let memory = ground.memory();
        for at in (0..memory.size()).step_by(PIECE as usize) {
            memory.advise(at, PIECE, libc::MADV_FREE)?;
            memory.advise(at, PIECE, libc::MADV_PAGEOUT)?;
        }
        Ok(())
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        self.0.count()
    }
}

struct Hole(Moved);

/// Holes in a file.
pub(super) fn hole(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    Ok(Box::new(Hole(Moved::new())))
}

impl Mover for Hole {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let (file, size) = (ground.memory().file()?, ground.memory().size());
        let blocks = file.metadata()?.blocks();
        punch_hole(file, 0, size)?;
        // In 512 bytes each.
        let pages = blocks * 512 / PAGE_SIZE;
        self.0.add(pages);
        thread::sleep(Duration::from_millis(2));
        Ok(())
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.0.count())
    }
}
