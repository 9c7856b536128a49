// SPDX-License-Identifier: GPL-2.0

//! The registers of a realm's vCPU that user space may set (`KVM_SET_ONE_REG`).

use crate::{views, vm::Vm};
use kernel::{
    bindings,
    prelude::*,
    uaccess::{UserPtr, UserSlice}, //
};

const ARM64_U64: u64 = bindings::KVM_REG_ARM64 | bindings::KVM_REG_SIZE_U64;

/// A core register that is `n` words into `struct kvm_regs`.
const fn core_reg(n: u64) -> u64 {
    ARM64_U64 | (bindings::KVM_REG_ARM_CORE as u64) | n
}

/// Words that a register of 64 bits takes.
const WORDS: u64 = 2;

/// x0, the first of x0 to x30.
const X0: u64 = core_reg(0);
const X30: u64 = core_reg(30 * WORDS);
/// After x30 and sp.
const PC: u64 = core_reg(32 * WORDS);
/// ID_AA64DFR0_EL1: op0 3, op1 0, CRn 0, CRm 5, op2 0.
const DFR0: u64 = ARM64_U64 | bindings::KVM_REG_ARM64_SYSREG as u64 | (3 << 14) | (5 << 3);
/// The SVE vector lengths: a register of 512 bits.
const SVE_VLS: u64 = bindings::KVM_REG_ARM64
    | bindings::KVM_REG_SIZE_U512
    | bindings::KVM_REG_ARM64_SVE as u64
    | 0xffff;

/// Registers that are listed, but for those of SVE.
const LISTED: usize = 31 + 2;

/// Whether user space may set a register of a vCPU whose mutex this task holds, which keeps its REC
/// from being made meanwhile.
///
/// # Errors
///
/// `EBUSY` for what the RMM has been told: about the realm, from when there is one, or about the
/// vCPU, from when it is a REC. `EINVAL` for what user space has no business with.
///
/// # Safety
///
/// `vcpu` is a valid vCPU of `vm`.
pub(crate) unsafe fn may_set(vm: &Vm, vcpu: *mut bindings::kvm_vcpu, id: u64) -> Result {
    // SAFETY: By the contract of this function.
    let is_rec = unsafe { views::rec_name(vcpu) }.is_some();
    match id {
        X0..=X30 if (id - X0) % WORDS == 0 => Ok(()),
        PC if is_rec => Err(EBUSY),
        DFR0 if vm.name.as_ref().is_some() => Err(EBUSY),
        // KVM refuses vector lengths as soon as SVE is finalised.
        PC | DFR0 | SVE_VLS => Ok(()),
        _ => Err(EINVAL),
    }
}

/// Copies the numbers of the registers that may be set to user space, unless `to` is null. Returns how
/// many there are.
///
/// # Errors
///
/// `EFAULT`.
pub(crate) fn copy_indices(has_sve: bool, to: *mut c_void) -> Result<c_int> {
    let mut ids = [0; LISTED + 1];
    for (id, n) in ids.iter_mut().zip(0..31) {
        *id = X0 + n * WORDS;
    }
    ids[31..].copy_from_slice(&[PC, DFR0, SVE_VLS]);
    let ids = &ids[..LISTED + usize::from(has_sve)];
    if !to.is_null() {
        let mut writer = UserSlice::new(UserPtr::from_ptr(to), size_of_val(ids)).writer();
        writer.write_slice(ids.as_bytes())?;
    }
    // CAST: A few.
    Ok(ids.len() as c_int)
}
