// SPDX-License-Identifier: GPL-2.0

//! Commands that map memory of the host's in the unprotected half of a realm, entry by entry.

use super::{come_to, go_on, map_each, AT_ONCE};
use crate::rmi::cmd::realm::RdName;
use crate::rmi::cmd::unprot::{Access, MemAttr};
use crate::rmi::{
    Broken, Conduit, Error, Fid, IpaRange, PhysAddr, Rmi, RttLevel, Status, Unprotected,
};

/// What the host says about a mapping, as in a descriptor of stage 2: MemAttr, and what the realm may do.
const MEMATTR_LOW: u32 = 2;
const S2AP_READ: u64 = 1 << 6;
const S2AP_WRITE: u64 = 1 << 7;

/// Bits 49:12 of an address are in place. Bits 51:50, which takes FEAT_LPA2, are in bits 9:8.
const ADDRESS: u64 = (1 << 50) - (1 << 12);
const TOP_LOW: u32 = 50;
const TOP_AT: u32 = 8;

/// RMI_RTT_MAP_UNPROTECTED (0xC400015F), one block of `level` after the other: maps memory of the host,
/// wherever each block is, from the base of a range on, as far as both reach. Returns how far it came.
///
/// # Errors
///
/// Nothing is mapped.
///
/// * ERROR_RTT: the tables end above `level` (the index has the level where the walk ended), or something is
///   mapped.
pub(in crate::rmi::cmd) fn map<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Unprotected>,
    memory: impl Iterator<Item = PhysAddr>,
    level: RttLevel,
    (attr, access): (MemAttr, Access),
) -> Result<u64, Error> {
    let fid = Fid::RTT_MAP_UNPROTECTED;
    let s2ap = match access {
        Access::Read => S2AP_READ,
        Access::ReadWrite => S2AP_READ | S2AP_WRITE,
    };
    map_each(rmi, fid, range, level.block_size(), memory, |ipa, pa| {
        let pa = pa.raw();
        let address = pa & ADDRESS | (pa >> TOP_LOW) << TOP_AT;
        let descriptor = address | attr.raw() << MEMATTR_LOW | s2ap;
        rmi.plain(fid, &[rd.raw(), ipa, level.raw(), descriptor])
    })
}

/// RMI_RTT_UNMAP_UNPROTECTED (0xC4000162), one entry after the other: unmaps memory of the host from the base
/// of a range on. Returns how far it came, holes included.
///
/// # Errors
///
/// * ERROR_RTT: a block reaches beyond the range; the index has its level.
/// * [`Broken::Range`]: the RMM names no next address.
pub(in crate::rmi::cmd) fn unmap<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Unprotected>,
) -> Result<u64, Error> {
    let fid = Fid::RTT_UNMAP_UNPROTECTED;
    let mut at = range.base();
    // Where the last entry was, the next one is, mostly.
    let mut level = RttLevel::L3;
    for _ in 0..AT_ONCE {
        let fits = at & level.block_size().wrapping_sub(1) == 0
            && range.top().wrapping_sub(at) >= level.block_size();
        if !fits {
            level = RttLevel::L3;
        }
        let (code, regs) = match rmi.patiently(fid, &[rd.raw(), at, level.raw()]) {
            Ok(told) => told,
            Err(error) => return come_to(range, at, error),
        };
        let next = regs.x(1);
        match code.status() {
            Status::Success => {}
            Status::ErrorRtt if next > at => {}
            Status::ErrorRtt => {
                // A larger block, or tables that go further down.
                let there = RttLevel::from_raw(code.index().into()).filter(|there| *there < level);
                let down = (there.is_none())
                    .then_some(RttLevel::L3)
                    .filter(|l3| *l3 != level);
                let size = there.map_or(0, RttLevel::block_size);
                let whole = at & size.wrapping_sub(1) == 0 && range.top().wrapping_sub(at) >= size;
                match there.filter(|_| whole).or(down) {
                    Some(other) => {
                        level = other;
                        continue;
                    }
                    None => return come_to(range, at, Error::Refused(fid, code)),
                }
            }
            _ => return come_to(range, at, Error::Refused(fid, code)),
        }
        at = go_on(fid, range, at, next)?;
        if at == range.top() {
            return Ok(at);
        }
        rmi.pause();
    }
    match at == range.base() {
        true => Err(Error::Broken(fid, Broken::Range { top: at })),
        false => Ok(at),
    }
}
