// SPDX-License-Identifier: GPL-2.0

//! The prelude, and what newer ones have besides.

use core::ptr::drop_in_place;
pub use kernel::{
    ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void},
    fmt,
    prelude::*, //
};

pub use super::{
    str::CStrExt as _,
    uaccess::{AsWords as _, UserPtr}, //
};
pub use core::ffi::CStr;

/// The module: this kernel has one author of it.
macro_rules! module {
    (type: $type:tt, name: $name:tt, authors: [$author:tt], $($rest:tt)*) => {
        ::kernel::macros::module! {
            type: $type,
            name: $name,
            author: $author,
            $($rest)*
        }
    };
}
pub(crate) use module;

/// What vectors cannot do.
pub trait VecExt<T> {
    /// Drops the elements for which `keep` is false.
    fn retain(&mut self, keep: impl FnMut(&mut T) -> bool);

    /// There are so many more elements.
    ///
    /// # Safety
    ///
    /// They are initialised, and there is room for them.
    unsafe fn inc_len(&mut self, more: usize);
}

impl<T> VecExt<T> for KVec<T> {
    fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut kept = 0;
        for at in 0..self.len() {
            if keep(&mut self[at]) {
                self.swap(kept, at);
                kept += 1;
            }
        }
        let rest = &raw mut self[kept..];
        // SAFETY: The first elements stay as they are; nobody else drops the others.
        unsafe {
            self.set_len(kept);
            drop_in_place(rest);
        }
    }

    unsafe fn inc_len(&mut self, more: usize) {
        // SAFETY: By the contract of this function.
        unsafe { self.set_len(self.len() + more) };
    }
}
