// SPDX-License-Identifier: GPL-2.0

//! Pages by their numbers, of an address space or of a file: each is there from its first use on.

use super::{machine::machine, prelude::*};
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut, Range};

/// Where they are. This has a reference to each.
#[derive(Default)]
pub(super) struct Pages(BTreeMap<u64, u64>);

impl Pages {
    /// The page with that number, with a reference; a new one if there is none.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(super) fn find(&mut self, number: u64) -> Result<u64> {
        let pa = match self.get(&number) {
            Some(pa) => *pa,
            None => {
                let pa = machine().alloc_pages(0)?;
                self.insert(number, pa);
                pa
            }
        };
        machine().get_page(pa);
        Ok(pa)
    }

    /// The page with that number, with a reference, if it is there.
    pub(super) fn present(&self, number: u64) -> Option<u64> {
        let pa = *self.get(&number)?;
        machine().get_page(pa);
        Some(pa)
    }

    /// Takes pages away, whose references are the caller's.
    pub(super) fn take(&mut self, numbers: Range<u64>) -> Vec<u64> {
        let there: Vec<u64> = self.range(numbers).map(|(number, _)| *number).collect();
        let taken = there.iter().filter_map(|number| self.remove(number));
        taken.collect()
    }
}

impl Deref for Pages {
    type Target = BTreeMap<u64, u64>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let all: Vec<u64> = self.values().copied().collect();
        machine().put_pages(&all);
    }
}
