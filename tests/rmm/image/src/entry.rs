// SPDX-License-Identifier: GPL-2.0

//! Ties `entry.S` to the rest: the numbers that it uses and the functions that it ends in.

use core::arch::global_asm;

use rmm::el3::{fid, BootError};
use rmm::stage1;

use crate::{fatal, layout};

/// HCR_EL2 at first: EL2 host extensions (E2H), lower exception levels in AArch64 (RW).
const HCR: u64 = 1 << 34 | 1 << 31;

/// TCR_EL2 in its E2H form: 4 KiB granules, [`stage1::VA_BITS`], walks cacheable and inner
/// shareable, nothing in the upper half (EPD1), 36-bit physical addresses (IPS).
const TCR: u64 = {
    let size = 64 - stage1::VA_BITS as u64;
    size | size << 16 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23 | 1 << 32
};

/// SCTLR_EL2: MMU, data and instruction caches, stack alignment check, writable memory never
/// executable, and the bits that are reserved as 1.
const SCTLR: u64 = 0x30c5_0830 | 1 | 1 << 2 | 1 << 3 | 1 << 12 | 1 << 19;

/// Descriptors: valid, and for a table or a page.
const TABLE: u64 = 3;
/// Descriptors: accessed, inner shareable, never executable at EL0.
const COMMON: u64 = 1 << 10 | 3 << 8 | 1 << 54;
/// Descriptors: read-only.
const READ_ONLY: u64 = 1 << 7;
/// Descriptors: not executable at EL2.
const NO_EXECUTE: u64 = 1 << 53;

global_asm!(
    include_str!("entry.S"),
    E_UNKNOWN = const BootError::Unknown as i64,
    E_CPU_ID = const BootError::CpuIdOutOfRange as i64,
    BOOT_COMPLETE = const fid::BOOT_COMPLETE,
    HCR = const HCR,
    MAIR = const stage1::MAIR,
    TCR = const TCR,
    SCTLR = const SCTLR,
    BASE = const layout::BASE,
    TEXT = const layout::TEXT.start,
    RODATA = const layout::RODATA.start,
    DATA = const layout::DATA.start,
    STACKS = const layout::STACKS.start,
    BSS = const layout::BSS.start,
    BSS_END = const layout::BSS.end,
    MAX_CPUS = const layout::MAX_CPUS,
    STACK_SLOT_SHIFT = const layout::STACK_SLOT_SHIFT,
    STACK_TOP = const layout::STACK_TOP,
    TABLE = const TABLE,
    BLOCK_RW = const COMMON | NO_EXECUTE | 1,
    PAGE_RX = const COMMON | READ_ONLY | TABLE,
    PAGE_RO = const COMMON | READ_ONLY | NO_EXECUTE | TABLE,
    PAGE_RW = const COMMON | NO_EXECUTE | TABLE,
    cold_boot = sym cold_boot,
    warm_boot = sym warm_boot,
    exception = sym exception,
);

/// The first boot of all, in the RMM's own address space and on this CPU's stack.
extern "C" fn cold_boot(x0: u64, x1: u64, x2: u64, x3: u64) -> ! {
    crate::cold_boot([x0, x1, x2, x3])
}

/// Every later boot of a CPU, in the same surroundings.
extern "C" fn warm_boot(x0: u64, x1: u64, x2: u64, x3: u64) -> ! {
    crate::warm_boot([x0, x1, x2, x3])
}

/// An exception from the RMM itself, on the page of this CPU's stack slot that is kept for it. `vector` is the number
/// of the vector table's entry, `sp` the stack pointer until then.
extern "C" fn exception(vector: u64, sp: u64) -> ! {
    fatal::exception(vector, sp)
}
