// SPDX-License-Identifier: GPL-2.0

//! How the commands that map and unmap name memory: no address at all, one descriptor in a register,
//! or a list of descriptors in a granule of the host's.

use kvm_arm_rmi::rmi::{PhysAddr, Status, GRANULE_SIZE};

use super::Rmm;
use crate::desc::{RangeDesc, PER_GRANULE};
use crate::granule::{State, Undelegated};
use crate::platform::{Platform, GRANULE_WORDS};

/// `RmiAddrType`, bits 1:0 of the flags: no address.
const TYPE_NONE: u64 = 0;
/// A descriptor in a register.
const TYPE_SINGLE: u64 = 1;
/// A list of descriptors in the host's memory.
const TYPE_LIST: u64 = 2;

/// The type of address in the flags of a command.
fn address_type(flags: u64) -> u64 {
    flags & 3
}

/// The length of the list in the flags of a command: bits 15:2.
fn list_length(flags: u64) -> u64 {
    flags >> 2 & 0x3fff
}

/// A list of descriptors in the host's memory: within one granule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HostList {
    granule: PhysAddr,
    first: u64,
    length: u64,
}

impl HostList {
    /// The list at `pa`, of `length` descriptors or up to the end of the granule. `None` if that is
    /// none at all, or if `pa` is not that of a descriptor.
    pub(crate) fn new(pa: u64, length: u64) -> Option<Self> {
        let offset = pa & GRANULE_SIZE.wrapping_sub(1);
        let first = offset / 8;
        let length = length.min(PER_GRANULE.saturating_sub(first));
        (offset % 8 == 0 && length != 0).then_some(Self {
            granule: PhysAddr::new(pa & !GRANULE_SIZE.wrapping_sub(1)),
            first,
            length,
        })
    }

    fn first(&self) -> usize {
        usize::try_from(self.first).unwrap_or(GRANULE_WORDS)
    }

    fn length(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0)
    }
}

/// Memory that a command takes: blocks, in order.
pub(super) struct Source {
    words: [u64; GRANULE_WORDS],
    length: usize,
    at: usize,
}

impl Source {
    /// The descriptor at the start, which may name no block.
    pub(super) fn first(&self) -> RangeDesc {
        let [first, ..] = self.words;
        RangeDesc::new(first)
    }
}

impl Iterator for Source {
    type Item = RangeDesc;

    /// The next block: a descriptor that names one.
    fn next(&mut self) -> Option<RangeDesc> {
        let words = self.words.get_mut(..self.length)?;
        while let Some(word) = words.get_mut(self.at) {
            if let Some((block, rest)) = RangeDesc::new(*word).split_first() {
                *word = rest.raw();
                return Some(block);
            }
            self.at = self.at.saturating_add(1);
        }
        None
    }
}

/// Where a command reports the memory that it has let go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Nowhere.
    None,
    /// In x2: one descriptor.
    Single,
    /// In the host's memory; x3 is the number of descriptors.
    List(HostList),
}

impl Target {
    /// Most descriptors that can be reported. What is not reported is not limited.
    pub(super) fn room(self) -> usize {
        match self {
            Target::None => GRANULE_WORDS,
            Target::Single => 1,
            Target::List(list) => list.length(),
        }
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// The memory that a map command with `flags` and `address` takes.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorInput`] if the flags name none, or if the list is empty, not aligned, or not in
    /// a granule of the host's.
    pub(super) fn source(&self, flags: u64, address: u64) -> Result<Source, Status> {
        let mut source = Source {
            words: [0; GRANULE_WORDS],
            length: 1,
            at: 0,
        };
        match address_type(flags) {
            TYPE_SINGLE => {
                let [first, ..] = &mut source.words;
                *first = address;
            }
            TYPE_LIST => {
                let list = HostList::new(address, list_length(flags)).ok_or(Status::ErrorInput)?;
                source.length = list.length();
                let words = source.words.get_mut(..list.length());
                let granule = self.granules.lock::<Undelegated>(list.granule);
                let (words, granule) = words.zip(granule).ok_or(Status::ErrorInput)?;
                self.platform.read(&granule, list.first(), words);
            }
            _ => return Err(Status::ErrorInput),
        }
        Ok(source)
    }

    /// Where an unmap command with `flags` and `address` reports what it has let go.
    ///
    /// # Errors
    ///
    /// [`Status::ErrorInput`] if the flags are not valid, if there is an address or a length without
    /// a list, or if the list is empty, not aligned, or not in a granule of the host's.
    pub(super) fn target(&self, flags: u64, address: u64) -> Result<Target, Status> {
        match (address_type(flags), list_length(flags)) {
            (TYPE_NONE, 0) if address == 0 => Ok(Target::None),
            (TYPE_SINGLE, 0) if address == 0 => Ok(Target::Single),
            (TYPE_LIST, length) => HostList::new(address, length)
                .filter(|list| self.granules.state(list.granule) == Some(State::Undelegated))
                .map(Target::List)
                .ok_or(Status::ErrorInput),
            _ => Err(Status::ErrorInput),
        }
    }

    /// Reports what has been let go. Returns x2 and x3.
    ///
    /// A host that has delegated the granule of its list meanwhile finds out by a length of 0.
    pub(super) fn report(&self, target: Target, freed: &[u64]) -> [u64; 2] {
        match (target, freed) {
            (Target::Single, [first, ..]) => [RangeDesc::new(*first).without_state().raw(), 0],
            (Target::List(list), [_, ..]) => {
                let Some(granule) = self.granules.lock::<Undelegated>(list.granule) else {
                    return [0, 0];
                };
                self.platform.write(&granule, list.first(), freed);
                [0, freed.len() as u64]
            }
            _ => [0, 0],
        }
    }
}
