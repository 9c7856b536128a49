// SPDX-License-Identifier: GPL-2.0

//! A sparse array that only grows.

use super::{alloc::allocate, prelude::*};
use core::ops::RangeInclusive;
use std::collections::BTreeMap;

/// Values by number.
///
/// # Invariants
///
/// What is in the map stays there, where it is, until this goes.
#[derive(Debug)]
pub struct XArray<T>(shuttle::sync::Mutex<BTreeMap<u64, Box<T>>>);

impl<T> XArray<T> {
    /// An empty array.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        allocate()?;
        Ok(Self(shuttle::sync::Mutex::new(BTreeMap::new())))
    }

    /// The value at `index`.
    pub fn get(&self, index: u64) -> Option<&T> {
        let map = self.0.lock().unwrap();
        let value = core::ptr::from_ref::<T>(map.get(&index)?);
        // SAFETY: By the type's invariant.
        Some(unsafe { &*value })
    }

    /// Puts a value at `index`, where there may be one already: then that stays.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn insert(&self, index: u64, value: T) -> Result {
        allocate()?;
        self.0
            .lock()
            .unwrap()
            .entry(index)
            .or_insert(Box::new(value));
        Ok(())
    }

    /// The first value of `indices`, and where it is.
    pub fn next(&self, indices: RangeInclusive<u64>) -> Option<(u64, &T)> {
        let map = self.0.lock().unwrap();
        let (index, value) = map.range(indices).next()?;
        let value = core::ptr::from_ref::<T>(value);
        // SAFETY: By the type's invariant.
        Some((*index, unsafe { &*value }))
    }
}
