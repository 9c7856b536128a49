// SPDX-License-Identifier: GPL-2.0

//! Ties `entry.S` to the rest: the numbers that it uses and the functions that it ends in.

use core::arch::global_asm;

use crate::{arch, console, layout};

/// HCR_EL2: no host extensions, lower exception levels in AArch64.
const HCR: u64 = 1 << 31;

/// MAIR_EL2: 0 is device memory (nGnRE), 1 is ordinary memory (write-back).
const MAIR: u64 = 0x04 | 0xff << 8;

/// TCR_EL2: 39 bits of address, walks cacheable and inner shareable, 40-bit physical addresses,
/// and the bits that are reserved as 1.
const TCR: u64 = 1 << 31 | 1 << 23 | 2 << 16 | 3 << 12 | 1 << 10 | 1 << 8 | (64 - 39);

/// SCTLR_EL2: MMU and caches, and the bits that are reserved as 1.
const SCTLR: u64 = 0x30c5_0830 | 1 | 1 << 2 | 1 << 12;

/// Block descriptors: valid, accessed. Devices are never executable.
const DEVICE: u64 = 1 | 1 << 10 | 1 << 54;
/// Block descriptors: valid, accessed, ordinary memory, inner shareable.
const MEMORY: u64 = 1 | 1 << 10 | 1 << 2 | 3 << 8;

global_asm!(
    include_str!("entry.S"),
    HCR = const HCR,
    MAIR = const MAIR,
    TCR = const TCR,
    SCTLR = const SCTLR,
    DEVICE = const DEVICE,
    MEMORY = const MEMORY,
    CPUS = const layout::CPUS,
    STACK_SHIFT = const layout::STACK_SHIFT,
    main = sym crate::main,
    main_next = sym crate::main_next,
    exception = sym exception,
);

/// An exception that nobody expected. `vector` is the number of its entry in the vector table.
extern "C" fn exception(vector: u64) -> ! {
    console::line(format_args!(
        "exception {vector} on CPU {}: ESR {:#x} ELR {:#x} FAR {:#x}",
        arch::cpu(),
        arch::esr(),
        arch::elr(),
        arch::far(),
    ));
    arch::system_off()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    console::line(format_args!("CPU {}: {info}", arch::cpu()));
    arch::system_off()
}
