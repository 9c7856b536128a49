// SPDX-License-Identifier: GPL-2.0

//! What each granule is used for, and its lock.
//!
//! One byte per granule holds its state and a lock bit. A handler asks for a granule *in a state*:
//! [`GranuleTable::lock`] waits for the lock, and hands out a [`Locked`] only if the granule is what
//! the caller expects. The state is part of that token's type, so that each operation on a granule
//! names the state it needs, and a change of state consumes one token and makes another.
//!
//! # Lock order
//!
//! A handler holds one granule at a time. Once commands need several, granules that the host names
//! are locked first, lowest address first, and granules that the RMM found by itself after them.

use core::hint;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::sync::atomic::{AtomicU8, Ordering};

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr, GRANULE_SIZE};

use crate::ram::RamMap;

/// What a granule is used for, `RmmGranuleState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum State {
    /// The host's: in the Non-secure physical address space.
    Undelegated = 0,
    /// Given to the RMM and not in use: in the Realm physical address space.
    Delegated = 1,
    /// The RMM's own memory. Never leaves this state, and no command accepts it.
    Reserved = 2,
}

/// A [`State`] as a type. Implemented by the markers of this module only.
pub trait InState: sealed::Sealed {
    /// The state that the marker stands for.
    const STATE: State;
}

/// Marker for [`State::Undelegated`].
#[derive(Debug)]
pub struct Undelegated;

/// Marker for [`State::Delegated`].
#[derive(Debug)]
pub struct Delegated;

impl InState for Undelegated {
    const STATE: State = State::Undelegated;
}

impl InState for Delegated {
    const STATE: State = State::Delegated;
}

mod sealed {
    /// Keeps [`super::InState`] to this module.
    pub trait Sealed {}
    impl Sealed for super::Undelegated {}
    impl Sealed for super::Delegated {}
}

/// The bit of a table entry that says that a CPU holds the granule. The rest is the [`State`].
const LOCK: u8 = 1 << 7;

/// The state of every granule of memory.
pub struct GranuleTable<'a> {
    ram: RamMap,
    entries: &'a [AtomicU8],
}

impl<'a> GranuleTable<'a> {
    /// A table for the memory in `ram`, all of it [`State::Undelegated`] except for `reserved`, the
    /// RMM's own memory.
    ///
    /// `entries` has at least one byte per granule, whatever they hold. `None` if it has fewer.
    pub fn new(ram: RamMap, entries: &'a [AtomicU8], reserved: AddrRange) -> Option<Self> {
        let count = usize::try_from(ram.granules()).ok()?;
        let table = Self {
            ram,
            entries: entries.get(..count)?,
        };
        for entry in table.entries {
            entry.store(State::Undelegated as u8, Ordering::Relaxed);
        }
        let own = (reserved.base().raw()..reserved.top().raw()).step_by(GRANULE_BYTES);
        for entry in own.filter_map(|pa| table.entry(PhysAddr::new(pa))) {
            entry.store(State::Reserved as u8, Ordering::Relaxed);
        }
        Some(table)
    }

    /// True if a granule of memory starts at `pa`, in whatever state.
    pub fn tracks(&self, pa: PhysAddr) -> bool {
        self.entry(pa).is_some()
    }

    /// Takes the granule at `pa`, waiting while another CPU holds it, if it is then in state `S`.
    ///
    /// `None` if it is in another state, or if there is no granule of memory at `pa`.
    pub fn lock<S: InState>(&self, pa: PhysAddr) -> Option<Locked<'_, S>> {
        let entry = self.entry(pa)?;
        let expected = S::STATE as u8;
        loop {
            // ORDERING: Acquire pairs with the Release in `Locked::drop`: what the previous holder
            // did to the granule is seen by this one.
            let found = entry.compare_exchange_weak(
                expected,
                expected | LOCK,
                Ordering::Acquire,
                Ordering::Relaxed,
            );
            match found {
                Ok(_) => {
                    return Some(Locked {
                        pa,
                        entry,
                        state: PhantomData,
                    })
                }
                Err(now) if now & LOCK == 0 && now != expected => return None,
                Err(_) => hint::spin_loop(),
            }
        }
    }

    fn entry(&self, pa: PhysAddr) -> Option<&AtomicU8> {
        self.entries.get(self.ram.index(pa)?)
    }
}

/// [`GRANULE_SIZE`] for iterators.
const GRANULE_BYTES: usize = 1 << kvm_arm_rmi::GRANULE_SHIFT;
const _: () = assert!(GRANULE_BYTES as u64 == GRANULE_SIZE);

/// A granule in state `S` that this CPU holds. Dropping it lets the next CPU have it.
///
/// # Invariants
///
/// The table's entry for `pa` has the lock bit set, and it was set for this token.
pub struct Locked<'t, S: InState> {
    pa: PhysAddr,
    entry: &'t AtomicU8,
    state: PhantomData<S>,
}

impl<'t, S: InState> Locked<'t, S> {
    /// Where the granule is.
    pub fn pa(&self) -> PhysAddr {
        self.pa
    }

    /// The same granule, still held, in state `T`.
    pub(crate) fn change<T: InState>(self) -> Locked<'t, T> {
        // INVARIANT: the lock bit passes from the old token, which is not dropped, to the new one.
        let old = ManuallyDrop::new(self);
        Locked {
            pa: old.pa,
            entry: old.entry,
            state: PhantomData,
        }
    }
}

impl<S: InState> Drop for Locked<'_, S> {
    fn drop(&mut self) {
        // ORDERING: Release pairs with the Acquire in `GranuleTable::lock`.
        self.entry.store(S::STATE as u8, Ordering::Release);
    }
}
