// SPDX-License-Identifier: GPL-2.0

//! Also: values that are set once, and mutexes that can be tried.

use super::{
    bindings,
    prelude::*,
    types::{NotThreadSafe, Opaque},
};
use core::{
    cell::UnsafeCell,
    marker::PhantomPinned,
    mem::MaybeUninit,
    ops::{Deref, DerefMut},
    ptr::from_ref,
    sync::atomic::{AtomicU8, Ordering}, //
};
pub use kernel::sync::Arc;
use kernel::sync::LockClassKey;

/// A value that is set once at most.
///
/// # Invariants
///
/// `value` is initialised, and does not change any more, once `state` is [`SET`]. While it is [`BUSY`] the
/// task that has made it so has the value.
pub struct SetOnce<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

const EMPTY: u8 = 0;
const BUSY: u8 = 1;
const SET: u8 = 2;

impl<T> SetOnce<T> {
    /// Not set.
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if it is set.
    pub fn as_ref(&self) -> Option<&T> {
        match self.state.load(Ordering::Acquire) {
            // SAFETY: By the type's invariant.
            SET => Some(unsafe { (*self.value.get()).assume_init_ref() }),
            _ => None,
        }
    }

    /// The value, if it is set.
    pub fn copy(&self) -> Option<T>
    where
        T: Copy,
    {
        self.as_ref().copied()
    }

    /// Sets the value. False if it is set, or being set.
    pub fn populate(&self, value: T) -> bool {
        let free = self
            .state
            .compare_exchange(EMPTY, BUSY, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if free {
            // SAFETY: By the type's invariant it is this task's.
            unsafe { (*self.value.get()).write(value) };
            // INVARIANT: Right here. Who sees it sees the value.
            self.state.store(SET, Ordering::Release);
        }
        free
    }
}

impl<T> Drop for SetOnce<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: By the type's invariant.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}

// SAFETY: The value goes where this goes.
unsafe impl<T: Send> Send for SetOnce<T> {}
// SAFETY: One task sets it, and then all may look at it.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

/// `struct mutex`, and what it is for.
#[pin_data]
pub struct Mutex<T> {
    #[pin]
    raw: Opaque<bindings::mutex>,
    value: UnsafeCell<T>,
    #[pin]
    _pin: PhantomPinned,
}

// SAFETY: The value goes where this goes.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: One task at a time has the value.
unsafe impl<T: Send> Sync for Mutex<T> {}

impl<T> Mutex<T> {
    /// For `new_mutex!`.
    pub fn new(
        value: T,
        name: &'static kernel::str::CStr,
        class: &'static LockClassKey,
    ) -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: The mutex stays where it is, and the class is C's type and for ever.
            raw <- Opaque::ffi_init(move |raw| unsafe {
                bindings::__mutex_init(
                    raw,
                    name.as_char_ptr(),
                    from_ref(class).cast_mut().cast(),
                )
            }),
            value: UnsafeCell::new(value),
            _pin: PhantomPinned,
        })
    }

    /// Waits for it and takes it.
    pub fn lock(&self) -> MutexGuard<'_, T> {
        // SAFETY: It is initialised.
        unsafe { bindings::mutex_lock(self.raw.get()) };
        // INVARIANT: Right here.
        MutexGuard(self, NotThreadSafe)
    }

    /// Takes it unless somebody has it.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        // SAFETY: It is initialised.
        let taken = unsafe { bindings::mutex_trylock(self.raw.get()) } != 0;
        // INVARIANT: Right here.
        taken.then_some(MutexGuard(self, NotThreadSafe))
    }
}

/// A [`Mutex`] that is held.
///
/// # Invariants
///
/// By this task.
pub struct MutexGuard<'a, T>(&'a Mutex<T>, NotThreadSafe);

// SAFETY: It gives out the value as others do.
unsafe impl<T: Sync> Sync for MutexGuard<'_, T> {}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: By the type's invariant.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: By the type's invariant.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        // SAFETY: By the type's invariant.
        unsafe { bindings::mutex_unlock(self.0.raw.get()) };
    }
}
