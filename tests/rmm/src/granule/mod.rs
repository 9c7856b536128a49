// SPDX-License-Identifier: GPL-2.0

//! What each granule is used for, its lock, and how many references there are to it.
//!
//! An [`Entry`] of 16 bits per granule holds all three. A handler asks for a granule *in a state*:
//! [`GranuleTable::lock`] waits for the lock, and hands out a [`Locked`] only if the granule is what
//! the caller expects. The state is part of that token's type, so that each operation on a granule
//! names the state it needs, and a change of state consumes one token and makes another.
//!
//! # References
//!
//! The count means what the state says: [`Rd`], the RECs of the realm; [`Rtt`], the entries of the
//! table that are in use; [`Rec`], 1 while a CPU runs it. It is 0 in all other states.
//!
//! # Lock order
//!
//! RD, REC, PARTIAL, RTT, DATA, AUX, then DELEGATED, and UNDELEGATED last: nothing else is locked
//! while a granule of the host's is held. Of two in the same state, the lower address comes first;
//! only RTTs are locked from the root down. A granule that the host names is never waited for while
//! it is in another state than the one that is asked for, so that the host cannot tie a knot by
//! naming the same granules in different roles.

mod held;

use core::hint;
use core::sync::atomic::{AtomicU16, Ordering};

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr, GRANULE_SIZE};

use crate::ram::RamMap;

use held::put;
pub use held::{Claimed, Held, Locked};

/// What the table holds per granule: bit 15 is the lock, bits 14:11 are the [`State`], and bits
/// 10:0 count references.
pub type Entry = AtomicU16;

const LOCK: u16 = 1 << 15;
const STATE_SHIFT: u32 = 11;
const STATE: u16 = LOCK - (1 << STATE_SHIFT);
const COUNT: u16 = (1 << STATE_SHIFT) - 1;

/// Most references that a granule can have. TF-RMM's limit, which the host can observe.
pub const MAX_COUNT: u16 = 1023;
const _: () = assert!(MAX_COUNT <= COUNT);

/// Declares every state once: its place in [`State`] and its marker.
macro_rules! states {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        /// What a granule is used for, `RmmGranuleState`.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[repr(u16)]
        pub enum State {
            $($(#[$doc])* $name = $number,)*
        }

        impl State {
            /// The state in an entry of the table.
            fn of(entry: u16) -> Self {
                match (entry & STATE) >> STATE_SHIFT {
                    $($number => State::$name,)*
                    // No entry is made from anything but a state; this one is of no use to anybody.
                    _ => State::Reserved,
                }
            }
        }

        $(
            #[doc = concat!("Marker for [`State::", stringify!($name), "`].")]
            #[derive(Debug)]
            pub struct $name;

            impl sealed::Sealed for $name {}

            impl InState for $name {
                const STATE: State = State::$name;
            }
        )*
    };
}

states! {
    /// The host's: in the Non-secure physical address space.
    Undelegated = 0;
    /// Given to the RMM and not in use: in the Realm physical address space.
    Delegated = 1;
    /// The RMM's own memory. Never leaves this state, and no command accepts it.
    Reserved = 2;
    /// A realm descriptor.
    Rd = 3;
    /// A table of a realm's stage 2.
    Rtt = 4;
    /// A realm execution context.
    Rec = 5;
    /// More room for a REC or a realm.
    Aux = 6;
    /// A realm's memory.
    Data = 7;
    /// Part of an object that a stateful operation has not finished or not taken down yet.
    Partial = 8;
}

/// A [`State`] as a type. Implemented by the markers of this module only.
pub trait InState: sealed::Sealed {
    /// The state that the marker stands for.
    const STATE: State;
}

/// A state in which the contents of the granule are the RMM's to read and write.
pub trait Private: InState {}

impl Private for Delegated {}
impl Private for Rd {}
impl Private for Rtt {}
impl Private for Rec {}
impl Private for Aux {}
impl Private for Data {}
impl Private for Partial {}

mod sealed {
    /// Keeps [`super::InState`] and [`super::Held`] to this module.
    pub trait Sealed {}
}

/// The table entry of an unlocked granule in `state` to which there are no references.
const fn idle(state: State) -> u16 {
    (state as u16) << STATE_SHIFT
}

/// The state of every granule of memory.
pub struct GranuleTable<'a> {
    ram: RamMap,
    entries: &'a [Entry],
}

impl<'a> GranuleTable<'a> {
    /// A table for the memory in `ram`, all of it [`State::Undelegated`] except for `reserved`, the
    /// RMM's own memory.
    ///
    /// `entries` has at least one entry per granule, whatever they hold. `None` if it has fewer.
    pub fn new(ram: RamMap, entries: &'a [Entry], reserved: AddrRange) -> Option<Self> {
        let count = usize::try_from(ram.granules()).ok()?;
        let table = Self {
            ram,
            entries: entries.get(..count)?,
        };
        for entry in table.entries {
            entry.store(idle(State::Undelegated), Ordering::Relaxed);
        }
        let own = (reserved.base().raw()..reserved.top().raw()).step_by(GRANULE_BYTES);
        for entry in own.filter_map(|pa| table.entry(PhysAddr::new(pa))) {
            entry.store(idle(State::Reserved), Ordering::Relaxed);
        }
        Some(table)
    }

    /// True if a granule of memory starts at `pa`, in whatever state.
    pub fn tracks(&self, pa: PhysAddr) -> bool {
        self.entry(pa).is_some()
    }

    /// The state of the granule at `pa`, which may change at any moment unless the caller has
    /// something that keeps it. `None` if there is no granule of memory at `pa`.
    pub fn state(&self, pa: PhysAddr) -> Option<State> {
        let entry = self.entry(pa)?;
        Some(State::of(entry.load(Ordering::Relaxed)))
    }

    /// Takes the granule at `pa`, waiting while another CPU holds it in state `S`.
    ///
    /// `None` if it is in another state, or if there is no granule of memory at `pa`.
    pub fn lock<S: InState>(&self, pa: PhysAddr) -> Option<Locked<'_, S>> {
        let entry = self.entry(pa)?;
        let mut now = entry.load(Ordering::Relaxed);
        loop {
            if State::of(now) != S::STATE {
                return None;
            }
            if now & LOCK != 0 {
                hint::spin_loop();
                now = entry.load(Ordering::Relaxed);
                continue;
            }
            // ORDERING: Acquire pairs with the Release in `Locked::drop` and `Claimed::drop`: what
            // the previous holder did to the granule is seen by this one.
            let taken =
                entry.compare_exchange_weak(now, now | LOCK, Ordering::Acquire, Ordering::Relaxed);
            match taken {
                Ok(_) => return Some(Locked::new(pa, entry)),
                Err(found) => now = found,
            }
        }
    }

    /// Takes a granule that the caller knows to be in state `S`, because something that it holds
    /// refers to it.
    ///
    /// # Panics
    ///
    /// If it is in another state: then the RMM's own objects contradict each other.
    #[allow(
        clippy::panic,
        reason = "an RMM that contradicts itself must not go on"
    )]
    pub(crate) fn own<S: InState>(&self, pa: PhysAddr) -> Locked<'_, S> {
        match self.lock(pa) {
            Some(granule) => granule,
            None => panic!("the granule at {pa} is not {:?}", S::STATE),
        }
    }

    /// Drops a reference to the granule at `pa`, which need not be locked: the reference itself keeps
    /// it in its state.
    ///
    /// # Panics
    ///
    /// If there is no reference to drop. The RMM has then lost count of its own objects.
    pub(crate) fn put(&self, pa: PhysAddr) {
        if let Some(entry) = self.entry(pa) {
            put(entry);
        }
    }

    fn entry(&self, pa: PhysAddr) -> Option<&Entry> {
        self.entries.get(self.ram.index(pa)?)
    }
}

/// [`GRANULE_SIZE`] for iterators.
const GRANULE_BYTES: usize = 1 << kvm_arm_rmi::GRANULE_SHIFT;
const _: () = assert!(GRANULE_BYTES as u64 == GRANULE_SIZE);
