// SPDX-License-Identifier: GPL-2.0

//! The instructions that Rust has no words for.

use core::arch::asm;

/// Reads a system register. Its number stands for its name where the assembler may not know that:
/// only registers that are read without any effect are read this way.
macro_rules! mrs {
    ($register:expr) => {{
        let value: u64;
        // SAFETY: the register exists at EL2 of a CPU with RME, or the caller has asked whether it
        // does; reading it changes nothing.
        unsafe {
            core::arch::asm!(
                concat!("mrs {}, ", $register),
                out(reg) value,
                options(nomem, nostack, preserves_flags),
            );
        }
        value
    }};
}
pub(crate) use mrs;

/// Writes a system register that has no effect on how Rust code runs at EL2.
macro_rules! msr {
    ($register:literal, $value:expr) => {{
        let value: u64 = $value;
        // SAFETY: the register exists, as for `mrs!`. It is of a lower exception level, or of a
        // device, or it governs what lower exception levels may do.
        unsafe {
            core::arch::asm!(
                concat!("msr ", $register, ", {}"),
                in(reg) value,
                options(nostack, preserves_flags),
            );
        }
    }};
}
pub(crate) use msr;

/// This CPU's number, which `entry.S` keeps in TPIDR_EL2.
pub(crate) fn cpu() -> u64 {
    mrs!("tpidr_el2")
}

/// ESR_EL2: what the last exception was.
pub(crate) fn esr() -> u64 {
    mrs!("esr_el2")
}

/// ELR_EL2: where it came from.
pub(crate) fn elr() -> u64 {
    mrs!("elr_el2")
}

/// FAR_EL2: the virtual address that it is about.
pub(crate) fn far() -> u64 {
    mrs!("far_el2")
}

/// HPFAR_EL2: the page that it is about, as stage 1 sees it, if stage 2 is the reason.
pub(crate) fn hpfar() -> u64 {
    mrs!("hpfar_el2")
}

/// ISR_EL1: which physical interrupts are pending, masked or not.
pub(crate) fn isr() -> u64 {
    mrs!("isr_el1")
}

/// Registers that a call to EL3 passes and returns: x0 to x7.
pub(crate) type SmcRegs = [u64; 8];

/// Calls EL3 with `regs` and returns what it leaves there.
///
/// # Safety
///
/// EL3 may do to memory what the call says: the caller answers for that.
pub(crate) unsafe fn smc(regs: SmcRegs) -> SmcRegs {
    let [mut x0, mut x1, mut x2, mut x3, mut x4, mut x5, mut x6, mut x7] = regs;
    // SAFETY: SMCCC has EL3 preserve the stack pointer and x18 and above; the rest is declared, and
    // so is that memory may change. The caller answers for the call itself.
    unsafe {
        asm!(
            "smc #0",
            inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
            inout("x4") x4, inout("x5") x5, inout("x6") x6, inout("x7") x7,
            lateout("x8") _, lateout("x9") _, lateout("x10") _, lateout("x11") _,
            lateout("x12") _, lateout("x13") _, lateout("x14") _, lateout("x15") _,
            lateout("x16") _, lateout("x17") _,
            options(nostack),
        );
    }
    [x0, x1, x2, x3, x4, x5, x6, x7]
}

/// Makes what was written to system registers take effect before anything that follows.
pub(crate) fn isb() {
    // SAFETY: a barrier has no effect but to order.
    unsafe { asm!("isb", options(nostack, preserves_flags)) }
}

/// Waits until all writes before have reached memory, for table walkers and for EL3 as well.
pub(crate) fn complete_writes() {
    // SAFETY: a barrier has no effect but to order.
    unsafe { asm!("dsb ish", "isb", options(nostack, preserves_flags)) }
}

/// Does nothing more on this CPU.
pub(crate) fn park() -> ! {
    loop {
        // SAFETY: waiting has no effect on anything else.
        unsafe { asm!("wfe", options(nomem, nostack, preserves_flags)) }
    }
}
