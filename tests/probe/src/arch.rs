// SPDX-License-Identifier: GPL-2.0

//! The instructions that Rust has no words for, and calls to EL3 and to the RMM.

use core::arch::asm;

use kvm_arm_rmi::rmi::{Conduit, Counts, Dialect, Regs};
use realm_payload::fid;

/// Defines functions that read system registers. Reads have no effect on anything.
macro_rules! read_sysreg {
    ($($(#[$doc:meta])* $name:ident = $register:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) fn $name() -> u64 {
                let value;
                // SAFETY: the register exists at EL2, and reading it changes nothing.
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
}

/// The way to the RMM: the SMC instruction.
pub(crate) struct Smc;

impl Conduit for Smc {
    fn smc(&self, args: &Regs) -> Regs {
        // SAFETY: the RMM is given pool memory only, which holds no Rust objects and is accessed
        // through raw pointers (`memory.rs`), or addresses that it has to refuse.
        Regs(unsafe { realm_payload::smc(args.0) })
    }

    // Calls of the probe are made as they are.
    fn dialect(&self) -> &Dialect {
        static NONE: Dialect = Dialect::new();
        &NONE
    }

    // The probe keeps its own tally, of answers.
    fn count(&self, _: impl Fn(&Counts)) {}
}

/// Turns on CPU `number`, which begins in `main_next`. Returns false if EL3 refuses.
pub(crate) fn cpu_on(number: u64) -> bool {
    extern "C" {
        fn probe_entry_next();
    }
    let mut regs = [0; 18];
    let entry = probe_entry_next as *const () as u64;
    regs[..4].copy_from_slice(&[fid::CPU_ON, number, entry, number]);
    // SAFETY: the CPU starts on its own stack; `main_next` shares only what is made for sharing.
    let [status, ..] = unsafe { realm_payload::smc(regs) };
    status == 0
}

/// Turns the machine off.
pub(crate) fn system_off() -> ! {
    let mut regs = [0; 18];
    regs[0] = fid::SYSTEM_OFF;
    loop {
        // SAFETY: nothing runs after it that could see memory.
        unsafe { realm_payload::smc(regs) };
    }
}

/// True if the CPU may load from `address`: not, if the granule belongs to another world.
pub(crate) fn can_load(address: u64) -> bool {
    extern "C" {
        fn probe_peek(address: u64) -> u64;
    }
    // SAFETY: it loads, if it can, and changes nothing.
    unsafe { probe_peek(address) != 0 }
}
