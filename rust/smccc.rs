// SPDX-License-Identifier: GPL-2.0

//! SMC calls, as the SMC Calling Convention 1.2 has them.

use crate::{
    ffi,
    rmi::{cmd::realm::RdName, Conduit, Counts, Dialect, Regs},
    trace, //
};
use core::mem::MaybeUninit;
use kernel::{
    bindings,
    prelude::*,
    sync::SetOnce,
    time::{
        delay::fsleep,
        Delta, //
    }, //
};

/// The SMC instruction as the way to the RMM.
///
/// # Invariants
///
/// The firmware's conduit is SMC, so the instruction is there and goes to EL3.
#[derive(Debug)]
pub(crate) struct Smc {
    counts: Counts,
    dialect: Dialect,
}

impl Smc {
    /// The conduit, if this kernel's firmware is reached by SMC.
    pub(crate) fn new() -> Option<Self> {
        // SAFETY: Reads a variable that is set before the first initcall.
        let conduit = unsafe { bindings::arm_smccc_1_1_get_conduit() };
        // INVARIANT: Tested right here.
        (conduit == bindings::arm_smccc_conduit_SMCCC_CONDUIT_SMC).then(|| Self {
            counts: Counts::new(),
            dialect: Dialect::new(),
        })
    }

    /// What went this way so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Makes a call on behalf of a realm, or of none. All calls but those that enter a REC come
    /// through here.
    fn call(&self, args: &Regs, realm: Option<&SetOnce<RdName>>) -> Regs {
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

/// What may happen between two calls.
#[derive(Clone, Copy)]
pub(crate) enum Pause {
    /// Others may run.
    Resched,
    /// Nothing: a spinning lock is held.
    Never,
}

/// The SMC instruction on behalf of one realm, which has counters of its own.
pub(crate) struct RealmSmc<'a> {
    pub(crate) smc: &'a Smc,
    pub(crate) counts: &'a Counts,
    /// The realm's name, from when it has one.
    pub(crate) name: &'a SetOnce<RdName>,
    pub(crate) pause: Pause,
}

impl Conduit for RealmSmc<'_> {
    fn smc(&self, args: &Regs) -> Regs {
        self.smc.call(args, Some(self.name))
    }

    fn pause(&self) {
        match self.pause {
            Pause::Resched => self.smc.pause(),
            Pause::Never => {}
        }
    }

    fn wait(&self) {
        match self.pause {
            Pause::Resched => self.smc.wait(),
            _ => self.pause(),
        }
    }

    fn dialect(&self) -> &Dialect {
        &self.smc.dialect
    }

    fn count(&self, note: impl Fn(&Counts)) {
        note(&self.smc.counts);
        note(self.counts);
    }
}

impl Conduit for Smc {
    fn smc(&self, args: &Regs) -> Regs {
        self.call(args, None)
    }

    fn pause(&self) {
        ffi::kvm_rmi_helper_cond_resched();
    }

    fn wait(&self) {
        fsleep(Delta::from_millis(1));
    }

    fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    fn count(&self, note: impl Fn(&Counts)) {
        note(&self.counts);
    }
}
