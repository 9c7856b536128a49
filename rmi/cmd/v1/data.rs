// SPDX-License-Identifier: GPL-2.0

//! Commands that give a realm memory and take it away, granule by granule. Contents come by
//! RMI_DATA_CREATE, which is the same as RMI_RTT_DATA_MAP_INIT of 2.0.

use super::{come_to, go_on, map_each, AT_ONCE};
use crate::rmi::cmd::realm::RdName;
use crate::rmi::{
    AddrRange,
    Broken,
    Conduit,
    Delegated,
    Error,
    Fid,
    GranuleRange,
    IpaRange,
    PhysAddr,
    Protected,
    ReturnCode,
    Rmi,
    RttLevel,
    Status,
    GRANULE_SIZE, //
};

/// RMI_DATA_CREATE_UNKNOWN (0xC4000154), one granule after the other: maps the delegated memory in `pieces`
/// at the base of a range. Returns how far it came.
///
/// # Errors
///
/// Nothing is mapped.
///
/// * ERROR_INPUT: `level` is that of a block, which RMI 1.0 does not map.
/// * ERROR_RTT: the tables end above level 3 (the index has the level where the walk ended), or something
///   is mapped.
/// * [`Error::Broken`] by the RMM: nobody knows what is mapped.
pub(in crate::rmi::cmd) fn map<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Protected>,
    pieces: impl Iterator<Item = AddrRange>,
    level: RttLevel,
) -> Result<u64, Error> {
    let fid = Fid::DATA_CREATE_UNKNOWN;
    if level != RttLevel::L3 {
        let code = ReturnCode::new(Status::ErrorInput.raw().into());
        return Err(Error::Refused(fid, code));
    }
    let granules = pieces.flat_map(|piece| piece.addresses());
    map_each(rmi, fid, range, GRANULE_SIZE, granules, |ipa, pa| {
        rmi.plain(fid, &[rd.raw(), pa.raw(), ipa])
    })
}

/// RMI_DATA_DESTROY (0xC4000155), one granule after the other: unmaps memory from the base of a range on, and
/// hands it to `each`. Returns how far it came, holes included.
///
/// # Errors
///
/// * ERROR_RTT: there is a block at the base, of the level that the index has.
/// * [`Broken::Range`]: the RMM names no next address.
pub(in crate::rmi::cmd) fn unmap<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Protected>,
    mut each: impl FnMut(GranuleRange<Delegated>),
) -> Result<u64, Error> {
    let fid = Fid::DATA_DESTROY;
    let mut at = range.base();
    for _ in 0..AT_ONCE {
        let (code, regs) = match rmi.patiently(fid, &[rd.raw(), at]) {
            Ok(told) => told,
            Err(error) => return come_to(range, at, error),
        };
        let next = regs.x(2);
        match code.status() {
            Status::Success => {
                let pa = PhysAddr::new(regs.x(1));
                let top = PhysAddr::new(pa.raw().wrapping_add(GRANULE_SIZE));
                // What happens to it next is its undelegation, which the RMM refuses for what is not
                // delegated, or not free: a wrong address frees nothing.
                let granule = AddrRange::new(pa, top).map(GranuleRange::of);
                each(granule.ok_or(Error::Broken(fid, Broken::Range { top: pa.raw() }))?);
            }
            Status::ErrorRtt if next > at => {}
            _ => return come_to(range, at, Error::Refused(fid, code)),
        }
        at = go_on(fid, range, at, next)?;
        if at == range.top() {
            break;
        }
        rmi.pause();
    }
    Ok(at)
}
