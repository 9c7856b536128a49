// SPDX-License-Identifier: GPL-2.0

//! Boxes and vectors whose memory may not be there.

use super::{machine::machine, prelude::*};
use core::ops::{Deref, DerefMut};

/// Flags of an allocation, all of which may sleep.
#[derive(Clone, Copy, Debug)]
pub struct Flags(());

/// See the kernel's.
pub const GFP_KERNEL: Flags = Flags(());
/// See the kernel's.
pub const GFP_KERNEL_ACCOUNT: Flags = Flags(());

/// Something is allocated.
pub(super) fn allocate() -> Result {
    machine().allocate()
}

/// A box.
#[derive(Debug)]
pub struct KBox<T>(Box<T>);

impl<T> KBox<T> {
    /// Boxes `value`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(value: T, _: Flags) -> Result<Self> {
        allocate().map(|()| Self(Box::new(value)))
    }

    /// What was in it.
    pub fn into_inner(this: Self) -> T {
        *this.0
    }
}

impl<T> Deref for KBox<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for KBox<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

/// A vector.
#[derive(Debug)]
pub struct KVec<T>(Vec<T>);

/// A vector that may be large.
pub type KVVec<T> = KVec<T>;

impl<T> KVec<T> {
    /// An empty one.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// An empty one with room.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn with_capacity(capacity: usize, _: Flags) -> Result<Self> {
        allocate().map(|()| Self(Vec::with_capacity(capacity)))
    }

    /// Appends `value`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn push(&mut self, value: T, _: Flags) -> Result {
        if self.0.len() == self.0.capacity() {
            allocate()?;
        }
        self.0.push(value);
        Ok(())
    }

    /// Keeps those of which `f` says so.
    pub fn retain(&mut self, f: impl FnMut(&mut T) -> bool) {
        self.0.retain_mut(f);
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

impl<T> IntoIterator for KVec<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
