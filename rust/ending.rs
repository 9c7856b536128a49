// SPDX-License-Identifier: GPL-2.0

//! How the vCPUs of a realm learn that one of them has turned it off.
//!
//! That one exits with SYSTEM_OFF or SYSTEM_RESET and tells user space. From the same moment the RMM
//! refuses to enter any REC of the realm, and another vCPU may see that first. It stops, as KVM
//! stops the vCPUs of any VM that turns itself off, and leaves the telling to the other. Should there
//! be no other, the RMM is not right.
//!
//! # Ordering
//!
//! A vCPU says that it enters before the RMM can turn the realm off for it; it notes that it has
//! turned the realm off before it says that it has left. Who is refused looks the other way round:
//! first for vCPUs that have not left, then at the note. So if a vCPU has turned the realm off, either
//! it is seen not to have left, or its note is.

use core::sync::atomic::{fence, AtomicBool, Ordering};
use kernel::{
    bindings,
    prelude::*,
    sync::SetOnce, //
};

/// That a vCPU enters its REC, or has not dealt with the exit yet. Each vCPU writes its own at every
/// entry, so they do not share cache lines.
#[repr(align(64))]
struct Entered(AtomicBool);

/// What the vCPUs of a realm tell each other.
pub(crate) struct Ending {
    turned_off: AtomicBool,
    /// By the index of the vCPU.
    entered: SetOnce<KVVec<Entered>>,
}

/// Why the RMM may say that the realm is off.
pub(crate) enum Cause {
    /// A vCPU has turned it off, and tells user space.
    TurnedOff,
    /// A vCPU may just have turned it off: ask again.
    Perhaps,
    /// None that we know of.
    Unknown,
}

impl Ending {
    pub(crate) const fn new() -> Self {
        Self {
            turned_off: AtomicBool::new(false),
            entered: SetOnce::new(),
        }
    }

    /// The realm will have so many vCPUs. May be called again.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub(crate) fn set_vcpus(&self, count: usize) -> Result {
        if self.entered.as_ref().is_none() {
            let mut entered = KVVec::with_capacity(count, GFP_KERNEL_ACCOUNT)?;
            for _ in 0..count {
                entered.push(Entered(AtomicBool::new(false)), GFP_KERNEL_ACCOUNT)?;
            }
            // Whoever was faster has the same.
            self.entered.populate(entered);
        }
        Ok(())
    }

    fn all(&self) -> &[Entered] {
        self.entered.as_ref().map_or(&[], |entered| entered)
    }

    fn set_entered(&self, vcpu: *mut bindings::kvm_vcpu, value: bool, order: Ordering) {
        // SAFETY: Our callers run the vCPU; its index does not change.
        let index = unsafe { (*vcpu).vcpu_idx };
        let entered = usize::try_from(index).ok().and_then(|n| self.all().get(n));
        if let Some(Entered(entered)) = entered {
            entered.store(value, order);
        }
    }

    /// A vCPU that this task runs is about to enter its REC.
    pub(crate) fn enters(&self, vcpu: *mut bindings::kvm_vcpu) {
        // ORDERING: The RMM takes locks before it changes the realm's state, after this.
        self.set_entered(vcpu, true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// It has come back, and has `turned_off` the realm or not.
    pub(crate) fn left(&self, vcpu: *mut bindings::kvm_vcpu, turned_off: bool) {
        if turned_off {
            self.turned_off.store(true, Ordering::Relaxed);
        }
        // ORDERING: Pairs with the loads in `cause`.
        self.set_entered(vcpu, false, Ordering::Release);
    }

    /// Why a vCPU that has left was refused because the realm is off.
    pub(crate) fn cause(&self) -> Cause {
        fence(Ordering::SeqCst);
        // ORDERING: A vCPU that is seen to have left has made its note before.
        let mut all = self.all().iter();
        let entered = all.any(|Entered(entered)| entered.load(Ordering::Acquire));
        match (self.turned_off.load(Ordering::Relaxed), entered) {
            (true, _) => Cause::TurnedOff,
            (false, true) => Cause::Perhaps,
            (false, false) => Cause::Unknown,
        }
    }
}
