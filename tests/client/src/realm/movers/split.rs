// SPDX-License-Identifier: GPL-2.0

//! Huge pages are split, and pages become huge ones.

use std::sync::atomic::AtomicU64;

use super::ground::{set, vmstat, Since};
use super::*;

struct Split<F> {
    split: Since<F>,
    collapsed: Since<F>,
    steps: AtomicU64,
}

pub(super) fn make(_ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    let count = |name: &'static str| move || vmstat(name);
    Ok(Box::new(Split {
        split: Since::new(count("thp_split_page"))?,
        collapsed: Since::new(count("thp_collapse_alloc"))?,
        steps: AtomicU64::new(0),
    }))
}

impl<F: Fn() -> Result<u64> + Sync> Mover for Split<F> {
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let memory = ground.memory();
        let (start, size) = (memory.address(), memory.size());
        if self.steps.fetch_add(1, Ordering::Relaxed) % 2 == 0 {
            let range = format!("{},{start:#x},{:#x}", std::process::id(), start + size);
            return set("/sys/kernel/debug/split_huge_pages", &range);
        }
        match memory.advise(0, size, libc::MADV_COLLAPSE) {
            // Somebody has the pages just now.
            Err(error)
                if [Some(libc::EAGAIN), Some(libc::EBUSY)].contains(&error.raw_os_error()) =>
            {
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.split.count()?.min(self.collapsed.count()?))
    }
}
