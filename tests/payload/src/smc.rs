// SPDX-License-Identifier: GPL-2.0

//! The SMC instruction.

use core::arch::asm;

/// Makes an SMC with X0 to X17 and returns what comes back in them.
///
/// # Safety
///
/// The call may do to memory whatever it is for: the caller answers for that.
pub unsafe fn smc(regs: [u64; 18]) -> [u64; 18] {
    let [mut x0, mut x1, mut x2, mut x3, mut x4, mut x5, mut x6, mut x7, mut x8, mut x9, mut x10, mut x11, mut x12, mut x13, mut x14, mut x15, mut x16, mut x17] =
        regs;
    // SAFETY: SMCCC has the callee preserve x18 and above and the stack pointer; the rest is
    // declared, and so is that memory may change. The caller answers for the call itself.
    unsafe {
        asm!(
            "smc #0",
            inout("x0") x0, inout("x1") x1, inout("x2") x2, inout("x3") x3,
            inout("x4") x4, inout("x5") x5, inout("x6") x6, inout("x7") x7,
            inout("x8") x8, inout("x9") x9, inout("x10") x10, inout("x11") x11,
            inout("x12") x12, inout("x13") x13, inout("x14") x14, inout("x15") x15,
            inout("x16") x16, inout("x17") x17,
            options(nostack),
        );
    }
    [
        x0, x1, x2, x3, x4, x5, x6, x7, x8, x9, x10, x11, x12, x13, x14, x15, x16, x17,
    ]
}
