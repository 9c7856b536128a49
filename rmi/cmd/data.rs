// SPDX-License-Identifier: GPL-2.0

//! Commands that map and unmap memory.

use super::realm::{Failed, Rd};
use super::rtt::progress;
use crate::rmi::{
    AddrRange,
    Broken,
    Conduit,
    Delegated,
    Error,
    Fid,
    GranuleRange,
    IpaRange,
    MemState,
    PhysAddr,
    Protected,
    RangeDesc,
    Rmi,
    RttLevel,
    SharedPage,
    Unprotected,
    GRANULE_SIZE, //
};

/// `RmiRttAddrType`, in bits 1:0 of the flags: there is no address.
const ADDR_NONE: u64 = 0;
/// The address is one descriptor, in the register.
const ADDR_SINGLE: u64 = 1;
/// The address is that of a list of descriptors, of which bits 15:2 have the number.
const ADDR_LIST: u64 = 2;
const LIST_COUNT_LOW: u32 = 2;

/// Descriptors that fit a list.
pub const LIST_ENTRIES: u64 = GRANULE_SIZE / 8;

/// Whether what is mapped becomes part of the realm's initial measurement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Measure {
    /// Only that there is something.
    Location,
    /// The contents too.
    Contents,
}

/// RMI_RTT_DATA_MAP_INIT (0xC4000153): maps one granule into a realm that is New and fills it from
/// the host's granule at `source`.
///
/// # Errors
///
/// * ERROR_REALM: the realm is not New.
/// * ERROR_RTT: there is no table of level 3 there (the index has the level where the walk ended),
///   or something is mapped already.
pub fn map_init<C: Conduit>(
    rmi: &Rmi<C>,
    rd: &Rd,
    data: GranuleRange<Delegated>,
    ipa: u64,
    source: PhysAddr,
    measure: Measure,
) -> Result<(), Failed<GranuleRange<Delegated>>> {
    let flags = match measure {
        Measure::Location => 0,
        Measure::Contents => 1,
    };
    let pa = data.range().base().raw();
    let args = [rd.raw(), pa, ipa, source.raw(), flags];
    match rmi.stateful(Fid::RTT_DATA_MAP_INIT, &args) {
        Ok(_) => Ok(()),
        Err(error) if error.changed_nothing() => Err(Failed {
            granules: Some(data),
            error,
        }),
        Err(error) => {
            data.leak(rmi);
            Err(Failed {
                granules: None,
                error,
            })
        }
    }
}

/// What RMI_RTT_DATA_MAP did.
#[derive(Debug)]
#[must_use = "memory that is not given back is lost"]
pub struct Mapped {
    /// How far it came: the first IPA that is not mapped.
    pub top: u64,
    /// The memory that is not mapped.
    pub rest: Option<GranuleRange<Delegated>>,
}

/// RMI_RTT_DATA_MAP (0xC40001F5): maps delegated memory at the base of a range, in blocks of
/// `level`, as far as both reach and the RMM goes.
///
/// # Errors
///
/// Nothing is mapped.
///
/// * ERROR_RTT: the tables end above `level` there (the index has the level where the walk ended),
///   or something else is mapped.
pub fn map<C: Conduit>(
    rmi: &Rmi<C>,
    rd: &Rd,
    range: IpaRange<Protected>,
    data: GranuleRange<Delegated>,
    level: RttLevel,
) -> Result<Mapped, Failed<GranuleRange<Delegated>>> {
    let fid = Fid::RTT_DATA_MAP;
    let Some((descriptor, _)) = RangeDesc::new(data.range(), level, MemState::Delegated) else {
        let error = Error::Broken(fid, Broken::Range { top: range.base() });
        return Err(Failed {
            granules: Some(data),
            error,
        });
    };
    let flags = ADDR_SINGLE | (1 << LIST_COUNT_LOW);
    let args = [rd.raw(), range.base(), range.top(), flags, descriptor.raw()];
    let done = rmi
        .stateful(fid, &args)
        .and_then(|regs| progress(fid, range, &regs));
    match done {
        Ok(top) => {
            let granules = top.wrapping_sub(range.base()) >> crate::GRANULE_SHIFT;
            // What is mapped belongs to the page that it was made from: see `guest_memfd`.
            let (_mapped, rest) = data.split(granules);
            Ok(Mapped { top, rest })
        }
        Err(error) if error.changed_nothing() => Err(Failed {
            granules: Some(data),
            error,
        }),
        Err(error) => {
            data.leak(rmi);
            Err(Failed {
                granules: None,
                error,
            })
        }
    }
}

/// RMI_RTT_DATA_UNMAP (0xC40001F6): unmaps memory from the base of a range on, as far as the RMM
/// goes, and hands each piece of it to `each`. Returns how far it came, holes included.
///
/// # Errors
///
/// * ERROR_RTT: a block reaches beyond the range; the index has its level.
pub fn unmap<C: Conduit>(
    rmi: &Rmi<C>,
    rd: &Rd,
    range: IpaRange<Protected>,
    list: &mut impl SharedPage,
    mut each: impl FnMut(GranuleRange<Delegated>),
) -> Result<u64, Error> {
    let fid = Fid::RTT_DATA_UNMAP;
    let flags = ADDR_LIST | (LIST_ENTRIES << LIST_COUNT_LOW);
    let args = [rd.raw(), range.base(), range.top(), flags, list.pa().raw()];
    let regs = rmi.stateful(fid, &args)?;
    let entries = regs.x(3);
    if entries > LIST_ENTRIES {
        return Err(Error::Broken(fid, Broken::Count { entries }));
    }
    let mut most = range.bytes();
    for n in 0..entries {
        let offset = usize::try_from(n.saturating_mul(8)).unwrap_or(usize::MAX);
        let descriptor = RangeDesc::from_raw(list.read(offset)).decode();
        let Some((pa, MemState::Delegated)) = descriptor else {
            continue;
        };
        // The range cannot have held more than its own size.
        let Some(left) = most.checked_sub(pa.bytes()) else {
            return Err(Error::Broken(fid, Broken::Count { entries }));
        };
        most = left;
        // What happens to unmapped memory next is its undelegation, which the RMM refuses for what
        // is not delegated, or not free: a wrong address frees nothing.
        each(GranuleRange::of(pa));
    }
    progress(fid, range, &regs)
}

/// Memory types of an unprotected mapping, `RmiS2MemAttr`: what stage 2 forces.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemAttr {
    /// Normal memory, write-back.
    Normal,
    /// Normal memory, not cached.
    NormalNonCacheable,
    /// Device-nGnRE.
    Device,
}

impl MemAttr {
    /// The stage 2 encoding with FEAT_S2FWB.
    fn raw(self) -> u64 {
        match self {
            Self::Normal => 6,
            Self::NormalNonCacheable => 5,
            Self::Device => 1,
        }
    }
}

/// What a realm may do with an unprotected mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read.
    Read,
    /// Read and write.
    ReadWrite,
}

/// RMI_RTT_UNPROT_MAP (0xC40001FB): maps memory of the host at the base of an unprotected range, in
/// blocks of `level`, as far as both reach and the RMM goes. Returns how far it came.
///
/// # Errors
///
/// Nothing is mapped.
///
/// * ERROR_RTT: the tables end above `level` there (the index has the level where the walk ended),
///   or something is mapped already.
pub fn unprot_map<C: Conduit>(
    rmi: &Rmi<C>,
    rd: &Rd,
    range: IpaRange<Unprotected>,
    memory: AddrRange,
    level: RttLevel,
    (attr, access): (MemAttr, Access),
) -> Result<u64, Error> {
    let fid = Fid::RTT_UNPROT_MAP;
    let s2ap = match access {
        Access::Read => 0b10,
        Access::ReadWrite => 0b11,
    };
    let Some((descriptor, _)) = RangeDesc::new(memory, level, MemState::Undelegated) else {
        return Err(Error::Broken(fid, Broken::Range { top: range.base() }));
    };
    let flags = ADDR_SINGLE | (1 << LIST_COUNT_LOW) | (attr.raw() << 16) | (s2ap << 19);
    let args = [rd.raw(), range.base(), range.top(), flags, descriptor.raw()];
    let regs = rmi.stateful(fid, &args)?;
    progress(fid, range, &regs)
}

/// RMI_RTT_UNPROT_UNMAP (0xC40001FC): unmaps memory of the host from the base of an unprotected
/// range on, as far as the RMM goes. Returns how far it came, holes included.
///
/// # Errors
///
/// * ERROR_RTT: a block reaches beyond the range; the index has its level.
pub fn unprot_unmap<C: Conduit>(
    rmi: &Rmi<C>,
    rd: &Rd,
    range: IpaRange<Unprotected>,
) -> Result<u64, Error> {
    let fid = Fid::RTT_UNPROT_UNMAP;
    let args = [rd.raw(), range.base(), range.top(), ADDR_NONE, 0];
    let regs = rmi.stateful(fid, &args)?;
    progress(fid, range, &regs)
}
