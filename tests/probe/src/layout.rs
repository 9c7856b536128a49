// SPDX-License-Identifier: GPL-2.0

//! The machine: QEMU virt with at least 1 GiB of memory, booted by TF-A, which enters the probe in
//! place of Linux.

/// First byte of the probe and its entry point; only the linker needs to know.
#[allow(dead_code, reason = "the code is told by its symbols")]
pub(crate) const BASE: u64 = 0x6000_0000;
/// The probe ends below.
#[allow(dead_code, reason = "as for `BASE`")]
pub(crate) const LIMIT: u64 = 0x6100_0000;

/// CPUs that the probe uses.
pub(crate) const CPUS: usize = 4;
/// log2 of the bytes of stack per CPU.
pub(crate) const STACK_SHIFT: u32 = 16;

/// First byte of the memory that the probe gives to the RMM; 2 MiB aligned.
pub(crate) const POOL: u64 = 0x6800_0000;
/// Pages in it.
pub(crate) const POOL_PAGES: usize = 8192;

/// A PL011 UART, which EL3 has set up.
pub(crate) const UART: u64 = 0x0900_0000;
/// The GIC's distributor.
pub(crate) const GICD: u64 = 0x0800_0000;
/// The redistributor of the first CPU.
pub(crate) const GICR: u64 = 0x080a_0000;
/// Bytes from a CPU's redistributor to the next one's.
pub(crate) const GICR_STRIDE: u64 = 0x2_0000;

/// A page of the RMM's own memory.
pub(crate) const RMM: u64 = 0x4020_0000;
/// An address with nothing there, neither memory nor a device.
pub(crate) const HOLE: u64 = 1 << 36;
/// An address beyond those that any machine has.
pub(crate) const BEYOND: u64 = 1 << 52;
