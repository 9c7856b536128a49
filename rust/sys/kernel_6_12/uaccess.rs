// SPDX-License-Identifier: GPL-2.0

//! User space's memory, whose addresses are a type of their own.

use super::ffi::c_void;
use core::slice;

/// An address of user space's.
#[derive(Clone, Copy)]
pub struct UserPtr(usize);

impl UserPtr {
    /// That address.
    pub const fn from_addr(addr: usize) -> Self {
        Self(addr)
    }

    /// What C has for it.
    pub fn from_ptr(to: *mut c_void) -> Self {
        Self(to.addr())
    }
}

/// Makes the kernel crate's own.
pub struct UserSlice;

impl UserSlice {
    /// `length` bytes from an address on.
    #[allow(clippy::new_ret_no_self, reason = "what is made is the kernel crate's")]
    pub fn new(from: UserPtr, length: usize) -> kernel::uaccess::UserSlice {
        kernel::uaccess::UserSlice::new(from.0, length)
    }
}

/// Words as bytes.
pub trait AsWords {
    /// The bytes.
    fn as_bytes(&self) -> &[u8];

    /// The bytes, to be written.
    fn as_mut_bytes(&mut self) -> &mut [u8];
}

impl<const N: usize> AsWords for [u64; N] {
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: So many bytes are there, and any may be read.
        unsafe { slice::from_raw_parts(self.as_ptr().cast(), size_of_val(self)) }
    }

    fn as_mut_bytes(&mut self) -> &mut [u8] {
        // SAFETY: So many bytes are there, and may be anything.
        unsafe { slice::from_raw_parts_mut(self.as_mut_ptr().cast(), size_of_val(self)) }
    }
}
