// SPDX-License-Identifier: GPL-2.0

//! What user space passes.

use super::kernel::{
    bindings,
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};

/// `struct kvm_device_attr`: an attribute of a VM, and where user space has a value or wants it.
pub struct VmAttr {
    /// Its number in the group.
    pub id: u64,
    /// 0.
    pub flags: u32,
    addr: u64,
}

impl VmAttr {
    pub(super) fn of(attr: &bindings::kvm_device_attr) -> Self {
        Self {
            id: attr.attr,
            flags: attr.flags,
            addr: attr.addr,
        }
    }

    /// The value that user space has, of `N` words.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn value<const N: usize>(&self) -> Result<[u64; N]> {
        words_at(self.addr)
    }

    /// Gives user space a value.
    ///
    /// # Errors
    ///
    /// `EFAULT`.
    pub fn give<const N: usize>(&self, words: &[u64; N]) -> Result {
        let to = UserPtr::from_addr(self.addr as usize);
        let mut writer = UserSlice::new(to, size_of_val(words)).writer();
        writer.write_slice(words.as_bytes())
    }
}

/// # Errors
///
/// `EFAULT`.
fn words_at<const N: usize>(addr: u64) -> Result<[u64; N]> {
    let mut words = [0; N];
    let from = UserPtr::from_addr(addr as usize);
    let mut reader = UserSlice::new(from, size_of_val(&words)).reader();
    reader.read_slice(words.as_mut_bytes())?;
    Ok(words)
}

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
        words_at(self.addr)
    }
}
