// SPDX-License-Identifier: GPL-2.0

//! The registers of a realm's vCPU that user space may set (`KVM_SET_ONE_REG`).

use crate::{ffi, views, vm::Vm};
use kernel::{
    bindings,
    prelude::*,
    transmute::FromBytes,
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
/// from being made meanwhile. True if there is nothing to do: it has that value, which is no error at
/// any time, since VMMs write back all that they have read.
///
/// # Errors
///
/// `EBUSY` for what the RMM has been told: about the realm, from when there is one, or about the
/// vCPU, from when it is a REC. `EINVAL` for what user space has no business with. `EFAULT`.
///
/// # Safety
///
/// `vcpu` is a valid vCPU of `vm`.
pub(crate) unsafe fn may_set(
    vm: &Vm,
    vcpu: *mut bindings::kvm_vcpu,
    reg: &bindings::kvm_one_reg,
) -> Result<bool> {
    // SAFETY: By the contract of this function.
    let (is_rec, pc) = unsafe { (views::rec_name(vcpu).is_some(), views::pc(vcpu)) };
    match reg.id {
        id @ X0..=X30 if (id - X0) % WORDS == 0 => Ok(false),
        PC => same_or_busy(reg, pc, is_rec),
        DFR0 => same_or_busy(reg, views::dfr0(&vm.kvm), vm.name.as_ref().is_some()),
        // SAFETY: By the contract of this function.
        SVE_VLS => match unsafe { ffi::kvm_rmi_helper_vcpu_sve_vq(vcpu) } {
            0 => Ok(false),
            // KVM refuses others as soon as SVE is finalised.
            max_vq => Ok(value::<VectorLengths>(reg)? == vector_lengths(max_vq)),
        },
        _ => Err(EINVAL),
    }
}

/// The value that user space has for a register.
///
/// # Errors
///
/// `EFAULT`.
fn value<T: FromBytes>(reg: &bindings::kvm_one_reg) -> Result<T> {
    let from = UserPtr::from_addr(reg.addr as usize);
    UserSlice::new(from, size_of::<T>()).reader().read()
}

/// True if user space has `now` for a register.
///
/// # Errors
///
/// `EBUSY` for another value, if the RMM `knows` this one. `EFAULT`.
fn same_or_busy(reg: &bindings::kvm_one_reg, now: u64, knows: bool) -> Result<bool> {
    match value::<u64>(reg)? == now {
        false if knows => Err(EBUSY),
        same => Ok(same),
    }
}

/// [`SVE_VLS`]: bit n stands for vectors of n + 1 quadwords.
type VectorLengths = [u64; 8];

/// What `KVM_GET_ONE_REG` tells of a vCPU with vectors of up to `max_vq` quadwords.
fn vector_lengths(max_vq: u32) -> VectorLengths {
    let mut lengths = [0; 8];
    for vq in 1..=max_vq {
        // SAFETY: `max_vq` is at most `SVE_VQ_MAX`.
        if unsafe { ffi::kvm_rmi_helper_sve_vq_available(vq) } {
            let bit = vq as usize - 1;
            lengths[bit / 64] |= 1 << (bit % 64);
        }
    }
    lengths
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
