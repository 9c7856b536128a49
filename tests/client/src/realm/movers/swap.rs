// SPDX-License-Identifier: GPL-2.0

//! Pages go out to the host's swap, and come back when somebody looks.

use super::ground::{vmstat, Since};
use super::*;

struct Swap<F> {
    out: Since<F>,
    back: Since<F>,
}

pub(super) fn make(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    let swaps = std::fs::read_to_string("/proc/swaps")?;
    ensure!(swaps.lines().count() > 1, "the host has no swap");
    let count = |name: &'static str| move || vmstat(name);
    Ok(Box::new(Swap {
        out: Since::new(count("pswpout"))?,
        back: Since::new(count("pswpin"))?,
    }))
}

impl<F: Fn() -> Result<u64> + Sync> Mover for Swap<F> {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let memory = ground.memory();
        Ok(memory.advise(0, memory.size(), libc::MADV_PAGEOUT)?)
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.out.count()?.min(self.back.count()?))
    }
}
