// SPDX-License-Identifier: GPL-2.0

//! What user space passes.

use super::prelude::*;

/// A register, and the value that user space has for it.
#[derive(Clone, Debug)]
pub struct OneReg {
    /// Its number.
    pub id: u64,
    /// The value's words; the others are 0.
    pub words: [u64; 8],
}

impl OneReg {
    /// The value that user space has for it, of `N` words.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn value<const N: usize>(&self) -> Result<[u64; N]> {
        Ok(core::array::from_fn(|n| self.words[n]))
    }
}
