// SPDX-License-Identifier: GPL-2.0

//! A sparse array that only grows.
//!
//! The kernel crate's `XArray` lends an entry only while its lock is held, since an entry may be
//! removed. Here none is before the array goes, so that a look at one takes no lock.

use super::kernel::{
    bindings,
    error::to_result,
    prelude::*,
    types::Opaque, //
};
use core::{marker::PhantomData, ops::RangeInclusive};

/// `XA_FLAGS_ACCOUNT`, a macro with a cast that the bindings do not have: the array's nodes, which the
/// flags of a store do not reach before the first attempt has failed, are charged as well.
const XA_FLAGS_ACCOUNT: bindings::gfp_t = 32;

/// `XA_PRESENT`, which the bindings do not have either.
const XA_PRESENT: bindings::xa_mark_t = 8;

/// Values by number, most of which are not there. The array is charged to the memory cgroup of who
/// adds to it.
///
/// # Invariants
///
/// Every entry of the array is a `T` in a box that this owns, and stays until this goes.
pub struct XArray<T> {
    xa: Pin<KBox<Opaque<bindings::xarray>>>,
    _values: PhantomData<KBox<T>>,
}

// SAFETY: An xarray has a lock of its own. Values go where this goes.
unsafe impl<T: Send + Sync> Send for XArray<T> {}
// SAFETY: As above; other tasks get at values by reference, and add some.
unsafe impl<T: Send + Sync> Sync for XArray<T> {}

impl<T> XArray<T> {
    /// An empty array.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        // INVARIANT: There are no entries.
        let init = Opaque::ffi_init(|xa| {
            // SAFETY: `xa` is where the array will stay, and valid for writing.
            unsafe { bindings::xa_init_flags(xa, XA_FLAGS_ACCOUNT) }
        });
        Ok(Self {
            xa: KBox::pin_init(init, GFP_KERNEL_ACCOUNT)?,
            _values: PhantomData,
        })
    }

    /// The value at `index`.
    pub fn get(&self, index: u64) -> Option<&T> {
        // SAFETY: The array is initialised.
        let entry = unsafe { bindings::xa_load(self.xa.get(), index as c_ulong) };
        // SAFETY: By the type's invariant it is valid for as long as `self` is.
        unsafe { entry.cast::<T>().as_ref() }
    }

    /// Puts a value at `index`, where there may be one already: then that stays. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn insert(&self, index: u64, value: T) -> Result {
        let value = KBox::into_raw(KBox::new(value, GFP_KERNEL_ACCOUNT)?);
        // SAFETY: The array is initialised, and its lock is taken; it is dropped to allocate memory.
        // INVARIANT: If this succeeds the array owns the box.
        let result = to_result(unsafe {
            bindings::xa_lock(self.xa.get());
            let gfp = bindings::GFP_KERNEL_ACCOUNT;
            let result = bindings::__xa_insert(self.xa.get(), index as c_ulong, value.cast(), gfp);
            bindings::xa_unlock(self.xa.get());
            result
        });
        if result.is_err() {
            // SAFETY: The array has not taken it.
            drop(unsafe { KBox::from_raw(value) });
        }
        match result {
            Err(error) if error == EBUSY => Ok(()),
            result => result,
        }
    }

    /// The first value of `indices`, and where it is.
    pub fn next(&self, indices: RangeInclusive<u64>) -> Option<(u64, &T)> {
        let (first, last) = indices.into_inner();
        let mut at = first as c_ulong;
        // SAFETY: The array is initialised.
        let entry =
            unsafe { bindings::xa_find(self.xa.get(), &mut at, last as c_ulong, XA_PRESENT) };
        // SAFETY: By the type's invariant it is valid for as long as `self` is.
        unsafe { entry.cast::<T>().as_ref() }.map(|value| (at as u64, value))
    }
}

impl<T> Drop for XArray<T> {
    fn drop(&mut self) {
        let mut at = 0;
        loop {
            // SAFETY: The array is initialised.
            let entry =
                unsafe { bindings::xa_find(self.xa.get(), &mut at, c_ulong::MAX, XA_PRESENT) };
            if entry.is_null() {
                break;
            }
            // SAFETY: By the type's invariant; it leaves the array right away.
            unsafe {
                bindings::xa_erase(self.xa.get(), at);
                drop(KBox::<T>::from_raw(entry.cast()));
            }
        }
        // SAFETY: The array is initialised, and nobody uses it any more.
        unsafe { bindings::xa_destroy(self.xa.get()) };
    }
}
