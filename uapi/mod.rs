// SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note

//! The user ABI: what `kvm_arm_rmi.h` has, for Rust. `README.md` says what each of it does.

// A fault here is a fault in the host kernel: what could panic, wrap or break a rule is refused.
#![deny(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_safety_doc,
    clippy::panic,
    clippy::unwrap_used
)]

/// `KVM_CAP_ARM_RMI`, unless the component was told another number when it was loaded.
pub const KVM_CAP_ARM_RMI: u32 = 253;

/// Type of a VM that is a realm: a bit in the argument of `KVM_CREATE_VM`, beside the IPA size.
pub const KVM_VM_TYPE_ARM_REALM: u64 = 1 << 30;

/// `struct kvm_arm_rmi_populate`: memory that a realm starts with.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KvmArmRmiPopulate {
    /// IPA; the kernel moves it on.
    pub base: u64,
    /// In bytes; the kernel leaves what is still to do.
    pub size: u64,
    /// Address of the contents in the caller's memory; the kernel moves it on.
    pub source_uaddr: u64,
    /// `KVM_ARM_RMI_POPULATE_FLAGS_*`.
    pub flags: u32,
    /// 0.
    pub reserved: u32,
}

/// [`KvmArmRmiPopulate::flags`]: the contents go into the realm's initial measurement.
pub const KVM_ARM_RMI_POPULATE_FLAGS_MEASURE: u32 = 1 << 0;

/// `KVM_ARM_RMI_POPULATE`: an ioctl of a VM, which takes a [`KvmArmRmiPopulate`] and writes it back.
pub const KVM_ARM_RMI_POPULATE: u32 = 0xc020_aed7;

/// `struct kvm_arm_rmi_memory_fault`: a longer `kvm_run.memory_fault`, with what else is said of a
/// `KVM_EXIT_MEMORY_FAULT` and what can be answered.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct KvmArmRmiMemoryFault {
    /// As `kvm_run` has it.
    pub flags: u64,
    /// As `kvm_run` has it.
    pub gpa: u64,
    /// As `kvm_run` has it.
    pub size: u64,
    /// One of `KVM_ARM_RMI_FAULT_*`; the kernel writes it.
    pub cause: u64,
    /// 0, or `KVM_ARM_RMI_FAULT_REJECT`: the kernel reads it when the vCPU runs again. It writes 0 at
    /// each exit.
    pub answer: u64,
}

/// [`KvmArmRmiMemoryFault::cause`]: the realm has touched what may only be used in the other half.
pub const KVM_ARM_RMI_FAULT_ACCESS: u64 = 1;

/// [`KvmArmRmiMemoryFault::cause`]: the realm has asked for it (RSI_IPA_STATE_SET).
pub const KVM_ARM_RMI_FAULT_RIPAS: u64 = 2;

/// [`KvmArmRmiMemoryFault::cause`]: the memory that is to be there cannot be had.
pub const KVM_ARM_RMI_FAULT_MEMORY: u64 = 3;

/// [`KvmArmRmiMemoryFault::answer`] to `KVM_ARM_RMI_FAULT_RIPAS`: no.
pub const KVM_ARM_RMI_FAULT_REJECT: u64 = 1;

/// Group of the attributes of a VM that say how a realm is measured (`KVM_SET_DEVICE_ATTR`).
pub const KVM_ARM_VM_RMI_CTRL: u32 = 0x100;

/// An attribute: how the realm is measured, a `u64` of `KVM_ARM_RMI_HASH_*`.
pub const KVM_ARM_VM_RMI_HASH_ALGO: u64 = 0;

/// An attribute: the realm personalisation value, 64 bytes.
pub const KVM_ARM_VM_RMI_RPV: u64 = 1;

/// An attribute that cannot be set: a `u64` whose bit `n` is set if the RMM has hash algorithm `n`.
pub const KVM_ARM_VM_RMI_HASH_ALGOS: u64 = 2;

/// SHA-256.
pub const KVM_ARM_RMI_HASH_SHA_256: u64 = 0;

/// SHA-512.
pub const KVM_ARM_RMI_HASH_SHA_512: u64 = 1;

/// SHA-384.
pub const KVM_ARM_RMI_HASH_SHA_384: u64 = 2;
