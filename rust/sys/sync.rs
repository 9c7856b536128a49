// SPDX-License-Identifier: GPL-2.0

//! Locks, and what else is shared between tasks.

use super::kernel::{
    prelude::*,
    sync, //
};

pub use super::kernel::sync::{Arc, SetOnce};
pub use core::sync::atomic;

/// A mutex. It lies in an allocation of its own, so that what has it can be moved until it is shared.
pub struct Mutex<T>(Pin<KBox<sync::Mutex<T>>>);

impl<T> Mutex<T> {
    /// For [`mutex!`].
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    #[doc(hidden)]
    pub fn from_init(init: impl PinInit<sync::Mutex<T>>) -> Result<Self> {
        KBox::pin_init(init, GFP_KERNEL_ACCOUNT).map(Self)
    }

    /// Waits for the mutex and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock()
    }

    /// Takes the mutex unless somebody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        self.0.try_lock()
    }
}

/// A [`Mutex`] that is held.
pub use super::kernel::sync::MutexGuard;

/// `mutex!(value, "name")`: a new mutex, of a class of its own to lockdep; `ENOMEM` if there is no
/// memory for it.
#[macro_export]
#[doc(hidden)]
macro_rules! rmi_mutex {
    ($value:expr, $name:literal) => {
        $crate::sys::sync::Mutex::from_init($crate::sys::kernel::new_mutex!($value, $name))
    };
}
pub use crate::rmi_mutex as mutex;
