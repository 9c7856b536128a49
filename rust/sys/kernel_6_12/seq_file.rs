// SPDX-License-Identifier: GPL-2.0

//! Files that are printed.

use super::{bindings, fmt, str::CStrExt as _, types::Opaque};
use core::ptr::from_ref;

/// `struct seq_file`.
#[repr(transparent)]
pub struct SeqFile(Opaque<bindings::seq_file>);

impl SeqFile {
    /// # Safety
    ///
    /// `file` is being shown by this task for as long as what this returns is used.
    pub unsafe fn from_raw<'a>(file: *mut bindings::seq_file) -> &'a Self {
        // SAFETY: By the contract of this function; the type is transparent.
        unsafe { &*file.cast() }
    }

    /// For `seq_print!`.
    pub fn call_printf(&self, args: fmt::Arguments<'_>) {
        // SAFETY: `%pA` takes arguments of Rust's, which outlive the call.
        unsafe {
            bindings::seq_printf(
                self.0.get(),
                c"%pA".as_char_ptr(),
                from_ref(&args).cast::<core::ffi::c_void>(),
            )
        };
    }
}
