// SPDX-License-Identifier: GPL-2.0

//! Stateful request operations: what the RMM remembers of a command that is answered in steps.
//!
//! A command that may need several steps reserves a place at its very beginning
//! ([`Operations::reserve`]). Either it ends in one go and the place is free again, or it is put by
//! ([`Place::suspend`]) and the host gets the number of the place as a handle. The commands OP_* take
//! it up again ([`Operations::resume`]): from then on nobody else can, until it is put by once more.
//!
//! What an operation has to remember in bulk it keeps in a granule of the object that it works on.

use kvm_arm_rmi::rmi::{PhysAddr, ReturnCode, Status};
use spin::Mutex;

use crate::rmi::{DataMap, DataUnmap};

/// How many operations there can be at a time. TF-RMM has 10 for each CPU that it is built for.
pub const PLACES: usize = 160;

/// What the host has to do next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Call OP_CONTINUE.
    Continue,
    /// Donate delegated granules with OP_MEM_DONATE, at most as many.
    Donate(u64),
    /// Take granules back with OP_MEM_RECLAIM.
    Reclaim,
}

/// Bits 9:8 of x0, `RmiOpMemReq`.
const REQUEST_SHIFT: u32 = 8;
/// Position of the number of granules in a donation request, whose other fields are 0: single
/// granules, anywhere, delegated.
const DONATE_COUNT_SHIFT: u32 = 2;

impl Next {
    /// x0 for this. No operation of this RMM can be cancelled.
    pub fn code(self) -> ReturnCode {
        let request = match self {
            Self::Continue => 0,
            Self::Donate(_) => 1,
            Self::Reclaim => 2,
        };
        let status = u64::from(Status::Incomplete.raw());
        ReturnCode::new(status | request << REQUEST_SHIFT)
    }

    /// x2 for this, `RmiOpMemDonateReq`: what is to be donated.
    pub fn request(self) -> u64 {
        match self {
            Self::Donate(granules) => granules << DONATE_COUNT_SHIFT,
            _ => 0,
        }
    }
}

/// An operation between two steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Operation {
    /// The step that is due. Any other is refused.
    pub next: Next,
    /// What is being done.
    pub work: Work,
}

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Maps a block of a realm's memory.
    DataMap(DataMap),
    /// Unmaps a block of a realm's memory.
    DataUnmap(DataUnmap),
    /// Makes a realm, whose RD is at this PA. All of it is there but what is donated, in the granule of
    /// the RD, which is [`crate::granule::Partial`] meanwhile.
    RealmCreate(PhysAddr),
    /// Makes a REC.
    RecCreate(RecCreate),
    /// Gives the granules of an object back.
    GiveBack(GiveBack),
    /// Does what a call has asked for and was put off by a fault: x0 and up, as many as any command
    /// takes. There are many places, and all of them go over a stack when the RMM boots.
    #[cfg(feature = "fault-injection")]
    PutOff([u64; 7]),
}

/// REC_CREATE between two steps. The granules that have been donated are listed in the REC granule,
/// which is [`crate::granule::Partial`] meanwhile.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecCreate {
    /// The realm, as the host named it: nothing is known about it yet.
    pub rd: PhysAddr,
    /// The granule of the REC.
    pub rec: PhysAddr,
    /// The host's page with the parameters, as the host named it.
    pub params: PhysAddr,
}

/// The end of an object whose auxiliary granules go back to the host. They are listed in the granule
/// of the object, which is [`crate::granule::Partial`] meanwhile and is delegated in the end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct GiveBack {
    /// The granule of the object.
    pub object: PhysAddr,
    /// How the command ends.
    pub status: Status,
    /// The object is a realm that has not come into being: its root tables and its VMID go with it.
    pub unborn: bool,
}

impl Work {
    /// The object that takes donated granules.
    pub fn recipient(&self) -> Option<PhysAddr> {
        match self {
            Self::RealmCreate(rd) => Some(*rd),
            Self::RecCreate(create) => Some(create.rec),
            _ => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Slot {
    Free,
    /// A CPU is at work on it.
    Taken,
    Waiting(Operation),
}

/// All operations that there are.
pub struct Operations {
    slots: Mutex<[Slot; PLACES]>,
}

impl Operations {
    /// None yet.
    pub const fn new() -> Self {
        Self {
            slots: Mutex::new([Slot::Free; PLACES]),
        }
    }

    /// Reserves a place for a new operation.
    ///
    /// # Errors
    ///
    /// If there is none: [`Status::Blocked`] if operations that the host has to go on with hold all of
    /// them, and otherwise [`Status::Busy`], since one may be free in a moment.
    pub fn reserve(&self) -> Result<Place<'_>, Status> {
        let mut slots = self.slots.lock();
        let mut blocked = true;
        for (slot, handle) in slots.iter_mut().zip(0..) {
            match slot {
                Slot::Free => {
                    *slot = Slot::Taken;
                    return Ok(Place { all: self, handle });
                }
                Slot::Taken => blocked = false,
                Slot::Waiting(_) => {}
            }
        }
        Err(if blocked {
            Status::Blocked
        } else {
            Status::Busy
        })
    }

    /// Takes the operation with this handle up again. `None` if no operation waits under it.
    pub fn resume(&self, handle: u64) -> Option<(Place<'_>, Operation)> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(usize::try_from(handle).ok()?)?;
        let Slot::Waiting(operation) = *slot else {
            return None;
        };
        *slot = Slot::Taken;
        Some((Place { all: self, handle }, operation))
    }

    fn set(&self, handle: u64, value: Slot) {
        let index = usize::try_from(handle).unwrap_or(usize::MAX);
        if let Some(slot) = self.slots.lock().get_mut(index) {
            *slot = value;
        }
    }
}

impl Default for Operations {
    fn default() -> Self {
        Self::new()
    }
}

/// A place that this CPU has reserved. Dropping it frees the place.
#[must_use = "the place is free again if this is dropped"]
pub struct Place<'a> {
    all: &'a Operations,
    handle: u64,
}

impl Place<'_> {
    /// The handle that the host would get.
    pub fn handle(&self) -> u64 {
        self.handle
    }

    /// Puts `operation` by until the host goes on with it. Returns the handle.
    pub fn suspend(self, operation: Operation) -> u64 {
        let handle = self.handle;
        self.all.set(handle, Slot::Waiting(operation));
        core::mem::forget(self);
        handle
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.all.set(self.handle, Slot::Free);
    }
}
