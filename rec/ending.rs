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

use crate::sys::{
    prelude::*,
    sync::atomic::{fence, AtomicBool, Ordering}, //
};

/// That a vCPU enters its REC, or has not dealt with the exit yet. Each vCPU writes its own at every
/// entry, so they do not share cache lines.
#[repr(align(64))]
pub struct Entered(AtomicBool);

impl Entered {
    /// The vCPU, which this task runs, is about to enter its REC.
    pub fn enters(&self) {
        // ORDERING: The RMM takes locks before it changes the realm's state, after this.
        self.0.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// It has come back, and has dealt with that.
    pub fn left(&self) {
        // ORDERING: Pairs with the loads in `cause`.
        self.0.store(false, Ordering::Release);
    }
}

/// What the vCPUs of a realm tell each other.
pub struct Ending {
    turned_off: AtomicBool,
    /// Of each vCPU that there is a REC for.
    entered: Mutex<KVec<Arc<Entered>>>,
}

/// Why the RMM may say that the realm is off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cause {
    /// A vCPU has turned it off, and tells user space.
    TurnedOff,
    /// A vCPU may just have turned it off: ask again.
    Perhaps,
    /// None that we know of.
    Unknown,
}

impl Ending {
    /// It has not come.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new() -> Result<Self> {
        Ok(Self {
            turned_off: AtomicBool::new(false),
            entered: mutex!(KVec::new(), "kvm_arm_rmi::entered")?,
        })
    }

    /// There is one more vCPU.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn add(&self) -> Result<Arc<Entered>> {
        let entered = Arc::new(Entered(AtomicBool::new(false)), GFP_KERNEL_ACCOUNT)?;
        let mut all = self.entered.lock();
        all.push(entered.clone(), GFP_KERNEL_ACCOUNT)?;
        Ok(entered)
    }

    /// A vCPU has turned the realm off, and has not said yet that it has left.
    pub fn turned_off(&self) {
        self.turned_off.store(true, Ordering::Relaxed);
    }

    /// Why a vCPU that has left was refused because the realm is off.
    pub fn cause(&self) -> Cause {
        fence(Ordering::SeqCst);
        // ORDERING: A vCPU that is seen to have left has made its note before.
        let all = self.entered.lock();
        let entered = all.iter().any(|entered| entered.0.load(Ordering::Acquire));
        match (self.turned_off.load(Ordering::Relaxed), entered) {
            (true, _) => Cause::TurnedOff,
            (false, true) => Cause::Perhaps,
            (false, false) => Cause::Unknown,
        }
    }
}
