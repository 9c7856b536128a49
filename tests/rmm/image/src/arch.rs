// SPDX-License-Identifier: GPL-2.0

//! The instructions that Rust has no words for.

use core::arch::asm;

/// Defines a function that reads a system register. Reads have no effect on anything.
macro_rules! read_sysreg {
    ($($(#[$doc:meta])* $name:ident = $register:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) fn $name() -> u64 {
                let value;
                // SAFETY: the register exists at EL2 of every CPU with RME, and reading it changes
                // nothing.
                unsafe {
                    asm!(
                        concat!("mrs {}, ", $register),
                        out(reg) value,
                        options(nomem, nostack, preserves_flags),
                    );
                }
                value
            }
        )*
    };
}

read_sysreg! {
    /// This CPU's number, which `entry.S` keeps in TPIDR_EL2.
    cpu = "tpidr_el2";
    /// ESR_EL2: what the last exception was.
    esr = "esr_el2";
    /// ELR_EL2: where it came from.
    elr = "elr_el2";
    /// FAR_EL2: the address that it is about.
    far = "far_el2";
    /// ISR_EL1: which physical interrupts are pending, masked or not.
    isr = "isr_el1";
    /// ID_AA64DFR0_EL1.
    id_aa64dfr0 = "id_aa64dfr0_el1";
    /// ID_AA64DFR1_EL1.
    id_aa64dfr1 = "id_aa64dfr1_el1";
    /// ID_AA64MMFR0_EL1.
    id_aa64mmfr0 = "id_aa64mmfr0_el1";
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
