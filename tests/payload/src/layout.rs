// SPDX-License-Identifier: GPL-2.0

//! Where the payload is: for its linker script, for itself and for the probe.

/// First byte and entry point of the payload: its IPA in the realm, and the physical address that
/// QEMU loads it to for the probe to copy.
pub const BASE: u64 = 0x6200_0000;
/// Pages that the payload has, whether it needs them or not: what the realm measures must not
/// depend on the compiler.
pub const PAGES: u64 = 32;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 4096;

/// RECs that can run the payload at once.
pub const RECS: usize = 4;
/// log2 of the bytes of stack that each of them has.
pub const STACK_SHIFT: u32 = 13;
