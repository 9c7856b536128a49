// SPDX-License-Identifier: GPL-2.0

//! Commands that map and unmap memory of the host, which a realm shares.

use super::data::{in_blocks, ADDR_LIST, ADDR_NONE, ADDR_SINGLE, LIST_COUNT_LOW};
use super::realm::RdName;
use super::rtt::ranged;
use super::v1;
use crate::rmi::{
    AddrRange,
    Broken,
    Conduit,
    Error,
    Fid,
    Form,
    IpaRange,
    PhysAddr,
    RangeDesc,
    Rmi,
    RttLevel,
    SharedPage,
    Status,
    Unprotected,
    GRANULE_SIZE, //
};

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
    pub(super) fn raw(self) -> u64 {
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
    rd: RdName,
    range: IpaRange<Unprotected>,
    memory: AddrRange,
    level: RttLevel,
    how: (MemAttr, Access),
) -> Result<u64, Error> {
    if rmi.is_v1() {
        let (size, base) = (level.block_size(), memory.base().raw());
        let blocks = 0..memory.bytes().checked_div(size).unwrap_or(0);
        let blocks = blocks.map(|n| PhysAddr::new(base.saturating_add(n.saturating_mul(size))));
        return v1::unprotected::map(rmi, rd, range, blocks, level, how);
    }
    let Some((descriptor, _)) = RangeDesc::new(memory, level) else {
        return Err(nothing(range));
    };
    in_either_form(rmi, rd, range, level, how, |form| {
        (ADDR_SINGLE, 1, descriptor.undelegated(form).raw())
    })
}

/// As [`unprot_map`], of granules wherever they are: one after the other, from the base of the range on.
///
/// `list` is used while this runs.
///
/// # Errors
///
/// As for [`unprot_map`].
pub fn unprot_map_granules<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Unprotected>,
    granules: &[PhysAddr],
    how: (MemAttr, Access),
    list: &mut impl SharedPage,
) -> Result<u64, Error> {
    if granules.is_empty() || granules.len() > UNPROT_LIST {
        return Err(nothing(range));
    }
    if rmi.is_v1() {
        let granules = granules.iter().copied();
        return v1::unprotected::map(rmi, rd, range, granules, RttLevel::L3, how);
    }
    in_either_form(rmi, rd, range, RttLevel::L3, how, |form| {
        let mut count = 0u64;
        for (offset, base) in (0..).step_by(8).zip(granules) {
            let top = PhysAddr::new(base.raw().saturating_add(GRANULE_SIZE));
            let one = AddrRange::new(*base, top).and_then(|one| RangeDesc::new(one, RttLevel::L3));
            // The RMM refuses a descriptor of nothing.
            list.write(
                offset,
                one.map_or(0, |(one, _)| one.undelegated(form).raw()),
            );
            count = count.saturating_add(1);
        }
        (ADDR_LIST, count, list.pa().raw())
    })
}

/// The most granules that a list names.
pub const UNPROT_LIST: usize = 256;

fn nothing(range: IpaRange<Unprotected>) -> Error {
    Error::Broken(Fid::RTT_UNPROT_MAP, Broken::Range { top: range.base() })
}

/// RTT_UNPROT_MAP in the form of descriptors that the RMM has taken before, or else in the other.
/// `address` says for a form of what kind the address is, of how many descriptors, and the address.
///
/// # Errors
///
/// As for [`unprot_map`].
fn in_either_form<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Unprotected>,
    level: RttLevel,
    (attr, access): (MemAttr, Access),
    mut address: impl FnMut(Form) -> (u64, u64, u64),
) -> Result<u64, Error> {
    let fid = Fid::RTT_UNPROT_MAP;
    let s2ap = match access {
        Access::Read => 0b10,
        Access::ReadWrite => 0b11,
    };
    let mut map = |form| {
        let (kind, count, address) = address(form);
        let flags = kind | (count << LIST_COUNT_LOW) | (attr.raw() << 16) | (s2ap << 19);
        let args = [rd.raw(), range.base(), range.top(), flags, address];
        let done = in_blocks(fid, range, level, ranged(rmi, fid, &args, range));
        if done.is_ok() {
            rmi.conduit().dialect().learn(form);
        }
        done
    };
    let [likely, other] = rmi.conduit().dialect().forms();
    match map(likely) {
        // What else may be wrong with the input is as wrong in the other form.
        Err(error) if error.status() == Some(Status::ErrorInput) => map(other).map_err(|_| error),
        done => done,
    }
}

/// RMI_RTT_UNPROT_UNMAP (0xC40001FC): unmaps memory of the host from the base of an unprotected
/// range on, as far as the RMM goes. Returns how far it came, holes included.
///
/// # Errors
///
/// * ERROR_RTT: a block reaches beyond the range; the index has its level.
pub fn unprot_unmap<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Unprotected>,
) -> Result<u64, Error> {
    if rmi.is_v1() {
        return v1::unprotected::unmap(rmi, rd, range);
    }
    let fid = Fid::RTT_UNPROT_UNMAP;
    let args = [rd.raw(), range.base(), range.top(), ADDR_NONE, 0];
    ranged(rmi, fid, &args, range)
}
