// SPDX-License-Identifier: GPL-2.0

//! What user space passes.

use kernel::{
    bindings,
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};

/// `struct kvm_one_reg`: a register, and where user space has a value for it.
pub struct OneReg {
    /// Its number.
    pub id: u64,
    addr: u64,
}

impl OneReg {
    pub(super) fn of(reg: &bindings::kvm_one_reg) -> Self {
        Self {
            id: reg.id,
            addr: reg.addr,
        }
    }

    /// The value that user space has for it, of `N` words.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn value<const N: usize>(&self) -> Result<[u64; N]> {
        let mut words = [0; N];
        let from = UserPtr::from_addr(self.addr as usize);
        let mut reader = UserSlice::new(from, size_of_val(&words)).reader();
        reader.read_slice(words.as_mut_bytes())?;
        Ok(words)
    }
}
