// SPDX-License-Identifier: GPL-2.0

//! Where things are in the guest's IPA space: for its linker script, for itself and for the VMM.
//!
//! A realm finds devices at these addresses in the upper half of its IPA space; the VMM sees them
//! without that bit.

/// First byte and entry point of the guest.
pub const BASE: u64 = 0x4000_0000;
/// Bytes that the guest needs there.
pub const IMAGE_SIZE: u64 = 0x4_0000;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// CPUs that can run the guest at once: those that [`crate::affinity`] numbers from 0 on.
pub const CPUS: usize = 20;
/// log2 of how many CPUs differ in Aff0 alone.
pub const AFF0_BITS: u32 = 4;
/// log2 of the bytes of stack that each of them has.
pub const STACK_SHIFT: u32 = 13;

/// The distributor of the GICv3.
pub const GICD: u64 = 0x0800_0000;
/// The redistributor of the first CPU; those of the others follow.
pub const GICR: u64 = 0x080a_0000;
/// Bytes from one redistributor to the next.
pub const GICR_STRIDE: u64 = 0x2_0000;

/// The page of [`crate::mailbox`] registers of the first CPU; those of the others follow.
pub const MAILBOXES: u64 = 0x1000_0000;
