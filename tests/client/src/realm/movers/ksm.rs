// SPDX-License-Identifier: GPL-2.0

//! Pages that are alike become one, and two again when somebody stores to them.

use std::sync::Mutex;

use super::ground::{number, set, Moved};
use super::*;

const KSM: &str = "/sys/kernel/mm/ksm";

struct Ksm {
    /// Held by who decides what is to be merged.
    turn: Mutex<()>,
    merged: Moved,
}

pub(super) fn make(ground: &Ground<'_>) -> Result<Box<dyn Mover>> {
    for (file, value) in [
        ("sleep_millisecs", "0"),
        ("pages_to_scan", "1000"),
        ("smart_scan", "0"),
    ] {
        set(&format!("{KSM}/{file}"), value)?;
    }
    mergeable(ground, true)?;
    set(&format!("{KSM}/run"), "1")?;
    Ok(Box::new(Ksm {
        turn: Mutex::new(()),
        merged: Moved::new(),
    }))
}

fn mergeable(ground: &Ground<'_>, yes: bool) -> Result<()> {
    let advice = match yes {
        true => libc::MADV_MERGEABLE,
        false => libc::MADV_UNMERGEABLE,
    };
    Ok(ground.memory().advise(0, ground.memory().size(), advice)?)
}

/// Pages that are not there any more because another is like them.
fn saved() -> Result<u64> {
    number(&format!("{KSM}/pages_sharing"))
}

impl Mover for Ksm {
    /// Takes what is merged apart, a little later than the realm has begun to do so itself.
    fn step(&self, ground: &Ground<'_>) -> Result<()> {
        let _mine = self.turn.lock().map_err(|_| "another thread panicked")?;
        thread::sleep(Duration::from_millis(2));
        mergeable(ground, false)?;
        mergeable(ground, true)
    }

    /// Everything is alike: most of it becomes one page.
    fn quiet(&self, _ground: &Ground<'_>) -> Result<()> {
        let _mine = self.turn.lock().map_err(|_| "another thread panicked")?;
        let start = Instant::now();
        while saved()? < ground::PAGES / 2 {
            ensure!(start.elapsed() < PATIENCE, "{} pages are merged", saved()?);
            thread::sleep(Duration::from_millis(1));
        }
        self.merged.add(saved()?);
        Ok(())
    }

    fn moved(&self, _ground: &Ground<'_>) -> Result<u64> {
        Ok(self.merged.count())
    }
}

impl Drop for Ksm {
    fn drop(&mut self) {
        // Takes everything apart. What cannot be written the test has failed at before.
        let _ = set(&format!("{KSM}/run"), "2");
        let _ = set(&format!("{KSM}/run"), "0");
    }
}
