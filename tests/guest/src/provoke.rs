// SPDX-License-Identifier: GPL-2.0

//! Accesses that may end in an exception, here or at a higher exception level. The registers are
//! chosen here and not by the compiler, because syndromes tell them.

use core::arch::asm;

/// Runs one instruction with the vectors told that it may fail, and returns the syndrome of the
/// exception that it got, or 0.
macro_rules! provoke {
    ($instruction:literal, $($operand:tt)*) => {{
        let syndrome: u64;
        asm!(
            "mov x16, #1",
            "msr tpidr_el1, x16",
            "mov x16, #0",
            $instruction,
            "msr tpidr_el1, xzr",
            out("x16") syndrome,
            out("x17") _,
            $($operand)*
        );
        syndrome
    }};
}

/// Loads `bytes` bytes (1, 2, 4 or 8) at `address`, into a register that is not x0; returns the
/// syndrome and the value.
pub(crate) fn load(address: u64, bytes: u64) -> (u64, u64) {
    let mut value = 0;
    // SAFETY: the VMM asked for it, and takes what comes of it: this guest is there for that.
    let syndrome = unsafe {
        match bytes {
            1 => provoke!("ldrb w7, [x1]", inout("x7") value, in("x1") address),
            2 => provoke!("ldrh w7, [x1]", inout("x7") value, in("x1") address),
            4 => provoke!("ldr w7, [x1]", inout("x7") value, in("x1") address),
            _ => provoke!("ldr x7, [x1]", inout("x7") value, in("x1") address),
        }
    };
    (syndrome, value)
}

/// Stores the low `bytes` bytes of `value`; returns the syndrome.
pub(crate) fn store(address: u64, bytes: u64, value: u64) -> u64 {
    // SAFETY: as in `load`.
    unsafe {
        match bytes {
            1 => provoke!("strb w7, [x1]", in("x7") value, in("x1") address),
            2 => provoke!("strh w7, [x1]", in("x7") value, in("x1") address),
            4 => provoke!("str w7, [x1]", in("x7") value, in("x1") address),
            _ => provoke!("str x7, [x1]", in("x7") value, in("x1") address),
        }
    }
}

/// Loads a pair of words; returns the syndrome and the first.
pub(crate) fn load_pair(address: u64) -> (u64, u64) {
    let mut value = 0;
    // SAFETY: as in `load`.
    let syndrome = unsafe {
        provoke!("ldp x7, x2, [x1]",
            inout("x7") value, out("x2") _, in("x1") address)
    };
    (syndrome, value)
}
