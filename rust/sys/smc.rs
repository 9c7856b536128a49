// SPDX-License-Identifier: GPL-2.0

//! SMC calls, as the SMC Calling Convention 1.2 has them.

use super::kernel::bindings;
use super::trace;
use crate::rmi::Regs;
use core::mem::MaybeUninit;

/// The SMC instruction.
///
/// # Invariants
///
/// The firmware's conduit is SMC, so the instruction is there and goes to EL3.
#[derive(Debug)]
pub struct Smc(());

impl Smc {
    /// The instruction, if this kernel's firmware is reached by it.
    pub fn new() -> Option<Self> {
        // SAFETY: Reads a variable that is set before the first initcall.
        let conduit = unsafe { bindings::arm_smccc_1_1_get_conduit() };
        // INVARIANT: Tested right here.
        (conduit == bindings::arm_smccc_conduit_SMCCC_CONDUIT_SMC).then_some(Self(()))
    }

    /// Makes a call on behalf of a realm, the address of whose RD `realm` says, or of none (0). All
    /// calls but those that enter a REC come through here. See [`crate::rmi::Conduit::smc`].
    #[inline]
    pub fn call(&self, args: &Regs, realm: impl FnOnce() -> u64) -> Regs {
        let mut results = MaybeUninit::<Regs>::uninit();
        // SAFETY: Both pointers are to 18 registers' worth of memory that this function owns or
        // borrows. By the type's invariant the SMC reaches the firmware. The memory that the RMM
        // may touch is what the arguments name, for which their builder answers (`Conduit::smc`).
        // All 18 results are written.
        let results = unsafe {
            bindings::arm_smccc_1_2_smc(
                core::ptr::from_ref(args).cast(),
                results.as_mut_ptr().cast(),
            );
            results.assume_init()
        };
        trace::rmi_call(args, &results, realm);
        results
    }
}

// `Regs` crosses the border as it is.
const _: () = assert!(size_of::<Regs>() == size_of::<bindings::arm_smccc_1_2_regs>());
const _: () = assert!(align_of::<Regs>() == align_of::<bindings::arm_smccc_1_2_regs>());
