// SPDX-License-Identifier: GPL-2.0

//! Memory that comes and goes: who looks at it before it does.

use super::prelude::*;
use crate::rmi::AddrRange;

/// Has somebody look at memory that comes and goes, before it does.
pub struct RamWatch<T> {
    data: Arc<T>,
    coming: Visit<T>,
    going: Visit<T>,
}

type Visit<T> = fn(&T, AddrRange) -> Result;

impl<T> RamWatch<T> {
    /// From now on.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn new(data: &Arc<T>, coming: Visit<T>, going: Visit<T>) -> Result<Self> {
        let data = data.clone();
        Ok(Self {
            data,
            coming,
            going,
        })
    }

    /// Memory is about to go online.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn comes(&self, range: AddrRange) -> Result {
        (self.coming)(&self.data, range)
    }

    /// Memory is about to go offline.
    ///
    /// # Errors
    ///
    /// It does not.
    pub fn goes(&self, range: AddrRange) -> Result {
        (self.going)(&self.data, range)
    }
}
