// SPDX-License-Identifier: GPL-2.0

//! Instructions that may end in an exception, here or at a higher exception level. The registers are
//! chosen here and not by the compiler, because syndromes tell them.

use core::arch::asm;

/// Runs one line of assembly with the vectors told that it may fail, and returns the syndrome of the
/// exception that it got, or 0.
macro_rules! provoke {
    ($instruction:literal $(, $($operand:tt)*)?) => {{
        let syndrome: u64;
        asm!(
            "mov x16, #1",
            "msr tpidr_el1, x16",
            "mov x16, #0",
            $instruction,
            "msr tpidr_el1, xzr",
            out("x16") syndrome,
            out("x17") _,
            $($($operand)*)?
        );
        syndrome
    }};
}

/// Loads `bytes` bytes (1, 2, 4 or 8) at `address`; returns the value and the syndrome.
pub(crate) fn load(address: u64, bytes: u64) -> (u64, u64) {
    let mut value = 0;
    // SAFETY: the host asked for it, and takes what comes of it: this realm is there for that.
    let syndrome = unsafe {
        match bytes {
            1 => provoke!("ldrb w0, [x1]", inout("x0") value, in("x1") address),
            2 => provoke!("ldrh w0, [x1]", inout("x0") value, in("x1") address),
            4 => provoke!("ldr w0, [x1]", inout("x0") value, in("x1") address),
            _ => provoke!("ldr x0, [x1]", inout("x0") value, in("x1") address),
        }
    };
    (value, syndrome)
}

/// Stores the low `bytes` bytes of `value`; returns the syndrome.
pub(crate) fn store(address: u64, bytes: u64, value: u64) -> u64 {
    // SAFETY: as in `load`.
    unsafe {
        match bytes {
            1 => provoke!("strb w0, [x1]", in("x0") value, in("x1") address),
            2 => provoke!("strh w0, [x1]", in("x0") value, in("x1") address),
            4 => provoke!("str w0, [x1]", in("x0") value, in("x1") address),
            _ => provoke!("str x0, [x1]", in("x0") value, in("x1") address),
        }
    }
}

/// Loads a signed word; returns it extended to 64 bits, and the syndrome.
pub(crate) fn load_signed(address: u64) -> (u64, u64) {
    let mut value = 0;
    // SAFETY: as in `load`.
    let syndrome = unsafe { provoke!("ldrsw x0, [x1]", inout("x0") value, in("x1") address) };
    (value, syndrome)
}

/// Loads a pair of words; returns the first, and the syndrome.
pub(crate) fn load_pair(address: u64) -> (u64, u64) {
    let mut value = 0;
    // SAFETY: as in `load`.
    let syndrome = unsafe {
        provoke!("ldp x0, x2, [x1]",
            inout("x0") value, out("x2") _, in("x1") address)
    };
    (value, syndrome)
}

/// Calls `address`, which does not hold code; returns the syndrome.
pub(crate) fn jump(address: u64) -> u64 {
    // SAFETY: as in `load`. The vectors come back to x30.
    unsafe { provoke!("blr x1", in("x1") address, out("x30") _) }
}

/// Executes HVC; returns the syndrome.
pub(crate) fn hvc() -> u64 {
    // SAFETY: as in `load`. Nobody answers it.
    unsafe { provoke!("hvc #0") }
}

/// Waits for an interrupt; returns the syndrome.
pub(crate) fn wfi() -> u64 {
    // SAFETY: as in `load`.
    unsafe { provoke!("wfi") }
}

/// Sends a software-generated interrupt; returns the syndrome.
pub(crate) fn sgi(value: u64) -> u64 {
    // SAFETY: as in `load`. The register is ICC_SGI1R_EL1.
    unsafe { provoke!("msr s3_0_c12_c11_5, x0", in("x0") value) }
}
