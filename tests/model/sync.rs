// SPDX-License-Identifier: GPL-2.0

//! Locks, and what else is shared between tasks.

use super::{
    alloc::{allocate, Flags},
    machine::machine,
    prelude::*, //
};
use core::ops::Deref;

pub use shuttle::sync::{atomic, MutexGuard};

/// A mutex. Nobody waits for one while a spinning lock is held.
#[derive(Debug)]
pub struct Mutex<T>(shuttle::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// For [`mutex!`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[doc(hidden)]
    pub fn new(value: T) -> Result<Self> {
        allocate().map(|()| Self(shuttle::sync::Mutex::new(value)))
    }

    /// Waits for the mutex and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        machine().may_sleep("a mutex");
        self.0.lock().unwrap()
    }

    /// Takes the mutex unless somebody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock().ok()
    }
}

/// `mutex!(value, "name")`: a new mutex; `ENOMEM` if there is no memory for it.
#[macro_export]
#[doc(hidden)]
macro_rules! model_mutex {
    ($value:expr, $name:literal) => {
        $crate::sys::sync::Mutex::new($value)
    };
}
pub use crate::model_mutex as mutex;

/// What has several owners.
#[derive(Debug)]
pub struct Arc<T>(std::sync::Arc<T>);

impl<T> Arc<T> {
    /// Its first owner.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(value: T, _: Flags) -> Result<Self> {
        allocate().map(|()| Self(std::sync::Arc::new(value)))
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A value that is there at some time, and stays.
#[derive(Debug)]
pub struct SetOnce<T>(std::sync::OnceLock<T>);

impl<T> SetOnce<T> {
    /// It is not there yet.
    pub const fn new() -> Self {
        Self(std::sync::OnceLock::new())
    }

    /// The value, if it is there.
    pub fn as_ref(&self) -> Option<&T> {
        self.0.get()
    }

    /// The value, if it is there.
    pub fn copy(&self) -> Option<T>
    where
        T: Copy,
    {
        self.0.get().copied()
    }

    /// Here it is. False if there is one.
    pub fn populate(&self, value: T) -> bool {
        self.0.set(value).is_ok()
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}
