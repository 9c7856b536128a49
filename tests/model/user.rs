// SPDX-License-Identifier: GPL-2.0

//! What user space passes.

use super::{ops::Component, prelude::*, vcpu::Locked, vm::Vm};

/// An attribute of a VM, with the value that user space has, or gets.
#[derive(Debug)]
pub struct VmAttr {
    /// Its number in the group.
    pub id: u64,
    /// 0.
    pub flags: u32,
    /// The value's words; the others are 0.
    pub words: core::cell::Cell<[u64; 8]>,
}

impl VmAttr {
    /// The value that user space has, of `N` words.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn value<const N: usize>(&self) -> Result<[u64; N]> {
        Ok(core::array::from_fn(|n| self.words.get()[n]))
    }

    /// Gives user space a value.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn give<const N: usize>(&self, words: &[u64; N]) -> Result {
        let given = |n: usize| words.get(n).copied().unwrap_or(0);
        self.words.set(core::array::from_fn(given));
        Ok(())
    }
}

/// A register, and the value that user space has for it.
#[derive(Clone, Debug)]
pub struct OneReg {
    /// Its number.
    pub id: u64,
    /// The value's words; the others are 0.
    pub words: [u64; 8],
}

impl OneReg {
    /// The value that user space has for it, of `N` words.
    ///
    /// # Errors
    ///
    /// None here.
    pub fn value<const N: usize>(&self) -> Result<[u64; N]> {
        Ok(core::array::from_fn(|n| self.words[n]))
    }
}

impl<C: Component> Vm<C> {
    /// `KVM_SET_ONE_REG` of x0.
    ///
    /// # Panics
    ///
    /// The component does not let KVM do that.
    pub fn set_x0(&self, n: usize, value: u64) {
        let reg = OneReg {
            id: 0x6030_0000_0010_0000,
            words: [value, 0, 0, 0, 0, 0, 0, 0],
        };
        assert_eq!(self.may_set_reg(n, &reg), Ok(false));
        self.with_vcpu(n, |_, vcpu| {
            Locked::new(vcpu.clone()).gprs_mut()[0] = value;
        });
    }
}
