// SPDX-License-Identifier: GPL-2.0

//! Entries of realm translation tables: what the host and the realm call HIPAS and RIPAS, and the
//! 64 bits that stand for it.
//!
//! Valid entries are the descriptors of stage 2 with 4 KiB granules and FEAT_S2FWB. Of the others, the
//! hardware looks at bit 0 only, and the RMM keeps its own notes in the rest: bits 2:1 RIPAS, bits 5:3
//! what it is, and the address in place.
//!
//! The address has 48 bits, or with FEAT_LPA2 (VTCR_EL2.DS) 52: its bits 51:50 are then in bits 9:8 of
//! the descriptor, where the shareability is otherwise, which is in VTCR_EL2 then.

use kvm_arm_rmi::rmi::PhysAddr;

use super::{block_size, LAST_LEVEL};

/// `RmiRipas`: what a realm may expect of a protected IPA.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Ripas {
    /// Nothing is there; an access is an abort that the realm takes.
    Empty = 0,
    /// Memory; an access waits until the host has provided some.
    Ram = 1,
    /// Memory whose contents the host has taken away.
    Destroyed = 2,
}

impl Ripas {
    /// The RIPAS with this number, if the RMM has it.
    pub fn from_raw(raw: u64) -> Option<Self> {
        [Self::Empty, Self::Ram, Self::Destroyed]
            .into_iter()
            .find(|ripas| *ripas as u64 == raw)
    }
}

/// `RmiHipas`: what the host has put at an IPA, as RTT_READ_ENTRY reports it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Hipas {
    /// Nothing.
    Unassigned = 0,
    /// Memory.
    Assigned = 1,
    /// A table.
    Table = 2,
}

/// An entry of a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Protected, without memory.
    Unassigned(Ripas),
    /// As [`Self::Unassigned`], and reserved for a stateful operation that is about to change it.
    Pending(Ripas),
    /// Protected, with memory at this address.
    Assigned(Ripas, PhysAddr),
    /// Unprotected, without memory.
    UnassignedNs,
    /// Unprotected, with memory of the host's at this address.
    AssignedNs(NsAttributes, PhysAddr),
    /// A table at this address.
    Table(PhysAddr),
}

const VALID: u64 = 1 << 0;
const TABLE_OR_PAGE: u64 = 1 << 1;
/// Bits 4:2, MemAttr, of the host's memory, which the host chooses.
const MEMATTR_SHIFT: u32 = 2;
const MEMATTR: u64 = 7 << MEMATTR_SHIFT;
/// MemAttr with FEAT_S2FWB: normal memory, write-back.
const MEMATTR_WB: u64 = 6 << MEMATTR_SHIFT;
/// MemAttr with FEAT_S2FWB: reserved.
const MEMATTR_RESERVED: u64 = 4 << MEMATTR_SHIFT;
/// S2AP: bit 6 allows reads, bit 7 writes.
const S2AP_SHIFT: u32 = 6;
const S2AP: u64 = 3 << S2AP_SHIFT;
/// SH, without FEAT_LPA2.
const INNER_SHAREABLE: u64 = 3 << 8;
const ACCESSED: u64 = 1 << 10;
const NON_SECURE: u64 = 1 << 55;
/// XN: not executable at EL1 nor at EL0.
const NO_EXECUTE: u64 = 2 << 53;
/// Bits 47:12.
const ADDRESS: u64 = ((1 << 36) - 1) << 12;
/// Bits 49:12, with FEAT_LPA2.
const ADDRESS_LPA2: u64 = ((1 << 38) - 1) << 12;
/// Bits 9:8, with FEAT_LPA2.
const TOP: u64 = 3 << 8;
/// How far the top two bits of an address are above those.
const TOP_SHIFT: u32 = 50 - 8;

/// What every leaf with a realm's memory has.
const LEAF: u64 = VALID | MEMATTR_WB | S2AP | ACCESSED;
/// What every leaf with the host's memory has.
const LEAF_NS: u64 = VALID | ACCESSED | NO_EXECUTE | NON_SECURE;

const RIPAS_SHIFT: u32 = 1;
const KIND_SHIFT: u32 = 3;
const KIND_UNASSIGNED: u64 = 0;
const KIND_ASSIGNED: u64 = 1;
const KIND_PENDING: u64 = 2;
const KIND_UNASSIGNED_NS: u64 = 3;

/// What the host chooses about a mapping of its own memory: MemAttr and S2AP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NsAttributes(u64);

impl NsAttributes {
    /// `memattr`: bits 4:2 of the descriptor, with FEAT_S2FWB. `s2ap`: bit 0 allows writes, bit 1
    /// reads. Other bits must not be set.
    pub fn new(memattr: u64, read: bool, write: bool) -> Self {
        let s2ap = u64::from(read) | u64::from(write) << 1;
        Self((memattr << MEMATTR_SHIFT & MEMATTR) | s2ap << S2AP_SHIFT)
    }

    /// True unless the memory attributes are the reserved ones.
    pub fn is_valid(self) -> bool {
        self.0 & MEMATTR != MEMATTR_RESERVED
    }
}

/// The address in a descriptor.
fn address(raw: u64, lpa2: bool) -> PhysAddr {
    PhysAddr::new(match lpa2 {
        true => raw & ADDRESS_LPA2 | (raw & TOP) << TOP_SHIFT,
        false => raw & ADDRESS,
    })
}

/// A descriptor with nothing but an address.
fn with_address(pa: PhysAddr, lpa2: bool) -> u64 {
    match lpa2 {
        true => pa.raw() & ADDRESS_LPA2 | pa.raw() >> TOP_SHIFT & TOP,
        false => pa.raw() & ADDRESS,
    }
}

impl Entry {
    /// The entry that `raw` stands for in a table at `level`, with FEAT_LPA2 or without.
    pub fn decode(raw: u64, level: i8, lpa2: bool) -> Self {
        let pa = address(raw, lpa2);
        if raw & VALID == 0 {
            let ripas = Ripas::from_raw(raw >> RIPAS_SHIFT & 3).unwrap_or(Ripas::Destroyed);
            return match raw >> KIND_SHIFT & 7 {
                KIND_UNASSIGNED => Self::Unassigned(ripas),
                KIND_ASSIGNED => Self::Assigned(ripas, pa),
                KIND_PENDING => Self::Pending(ripas),
                _ => Self::UnassignedNs,
            };
        }
        if raw & TABLE_OR_PAGE != 0 && level < LAST_LEVEL {
            Self::Table(pa)
        } else if raw & NON_SECURE != 0 {
            Self::AssignedNs(NsAttributes(raw & (MEMATTR | S2AP)), pa)
        } else {
            Self::Assigned(Ripas::Ram, pa)
        }
    }

    /// The bits that stand for the entry in a table at `level`, with FEAT_LPA2 or without.
    pub fn encode(self, level: i8, lpa2: bool) -> u64 {
        let page = if level == LAST_LEVEL {
            TABLE_OR_PAGE
        } else {
            0
        };
        let leaf = page | if lpa2 { 0 } else { INNER_SHAREABLE };
        let address = |pa| with_address(pa, lpa2);
        let note = |kind: u64, ripas: Ripas| kind << KIND_SHIFT | (ripas as u64) << RIPAS_SHIFT;
        match self {
            Self::Unassigned(ripas) => note(KIND_UNASSIGNED, ripas),
            Self::Pending(ripas) => note(KIND_PENDING, ripas),
            Self::Assigned(Ripas::Ram, pa) => address(pa) | LEAF | leaf,
            Self::Assigned(ripas, pa) => address(pa) | note(KIND_ASSIGNED, ripas),
            Self::UnassignedNs => note(KIND_UNASSIGNED_NS, Ripas::Empty),
            Self::AssignedNs(NsAttributes(attributes), pa) => {
                address(pa) | attributes | LEAF_NS | leaf
            }
            Self::Table(pa) => address(pa) | VALID | TABLE_OR_PAGE,
        }
    }

    /// True if the entry refers to memory or to a table.
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Assigned(..) | Self::AssignedNs(..) | Self::Table(_)
        )
    }

    /// True if the hardware translates by it.
    pub fn is_valid_leaf(self) -> bool {
        matches!(self, Self::Assigned(Ripas::Ram, _) | Self::AssignedNs(..))
    }

    /// The RIPAS of a leaf with a protected IPA.
    pub fn ripas(self) -> Option<Ripas> {
        match self {
            Self::Unassigned(ripas) | Self::Pending(ripas) | Self::Assigned(ripas, _) => {
                Some(ripas)
            }
            _ => None,
        }
    }

    /// The same leaf with memory that starts `bytes` further on, if it has any.
    pub fn offset(self, bytes: u64) -> Self {
        let add = |pa: PhysAddr| PhysAddr::new(pa.raw().saturating_add(bytes));
        match self {
            Self::Assigned(ripas, pa) => Self::Assigned(ripas, add(pa)),
            Self::AssignedNs(attributes, pa) => Self::AssignedNs(attributes, add(pa)),
            other => other,
        }
    }

    /// The same leaf with another RIPAS, if it has any.
    pub fn with_ripas(self, ripas: Ripas) -> Self {
        match self {
            Self::Unassigned(_) => Self::Unassigned(ripas),
            Self::Pending(_) => Self::Pending(ripas),
            Self::Assigned(_, pa) => Self::Assigned(ripas, pa),
            other => other,
        }
    }

    /// The memory that a leaf has.
    pub fn memory(self) -> Option<PhysAddr> {
        match self {
            Self::Assigned(_, pa) | Self::AssignedNs(_, pa) => Some(pa),
            _ => None,
        }
    }

    /// The descriptor that RTT_READ_ENTRY tells in RMI 1.0, with FEAT_LPA2 or without: nothing about what
    /// is DESTROYED, and memory of the host's as the host has described it.
    pub fn v1_descriptor(self, lpa2: bool) -> u64 {
        match self {
            Self::Assigned(Ripas::Empty | Ripas::Ram, pa) | Self::Table(pa) => pa.raw(),
            Self::AssignedNs(NsAttributes(attributes), pa) => with_address(pa, lpa2) | attributes,
            _ => 0,
        }
    }

    /// Memory of the host's as the host describes it in RMI 1.0, for a table at `level`, 1 to 3, with
    /// FEAT_LPA2 or without: the address, MemAttr and S2AP of a descriptor. `None` if anything else is set,
    /// the address is not aligned to the level, or the memory attributes are the reserved ones.
    pub fn from_host(descriptor: u64, level: i8, lpa2: bool) -> Option<Self> {
        let pa = address(descriptor, lpa2);
        let attributes = NsAttributes(descriptor & (MEMATTR | S2AP));
        let whole = with_address(pa, lpa2) | attributes.0 == descriptor;
        let aligned = pa.raw() & block_size(level).wrapping_sub(1) == 0;
        (whole && aligned && attributes.is_valid()).then_some(Self::AssignedNs(attributes, pa))
    }

    /// What RTT_READ_ENTRY tells about the entry in RMI 2.0: HIPAS, descriptor and RIPAS.
    pub fn report(self) -> (Hipas, u64, Ripas) {
        match self {
            Self::Unassigned(ripas) | Self::Pending(ripas) => (Hipas::Unassigned, 0, ripas),
            Self::Assigned(ripas, pa) => (Hipas::Assigned, pa.raw(), ripas),
            Self::UnassignedNs => (Hipas::Unassigned, 0, Ripas::Empty),
            Self::AssignedNs(NsAttributes(attributes), pa) => {
                (Hipas::Assigned, pa.raw() | attributes, Ripas::Empty)
            }
            Self::Table(pa) => (Hipas::Table, pa.raw(), Ripas::Empty),
        }
    }
}
