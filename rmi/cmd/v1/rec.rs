// SPDX-License-Identifier: GPL-2.0

//! Commands on RECs, which get all of their memory at once.

use crate::rmi::cmd::realm::RdName;
use crate::rmi::{Broken, Conduit, Error, Fid, Memory, Pages, Rmi, SharedPage};

/// `RmiRecParams`: byte offset of the number of auxiliary granules, whose addresses follow.
const AUX: usize = 0x800;

/// Addresses that there is room for.
const MOST_AUX: u64 = 16;

/// RMI_REC_AUX_COUNT (0xC4000167) and RMI_REC_CREATE (0xC400015A), whose arguments are `args`: lends the
/// granules that the first asks for, and names them in `page`, which has the other parameters.
///
/// # Errors
///
/// Those of the commands; [`Error::NoMemory`]. Nothing is lent any more, unless the RMM leaves unclear
/// whether there is a REC.
pub(in crate::rmi::cmd) fn create<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    rd: RdName,
    args: &[u64],
    page: &mut impl SharedPage,
    memory: &mut Memory<'_, P, L>,
) -> Result<(), Error> {
    let made =
        lend_aux(rmi, rd, page, memory).and_then(|()| rmi.plain(Fid::REC_CREATE, args).map(drop));
    match made {
        Err(error) if error.changed_nothing() => memory.end(rmi),
        _ => {}
    }
    made
}

/// RMI_REC_DESTROY (0xC400015B), whose arguments are `args`: what was lent is free.
///
/// # Errors
///
/// Those of the command.
pub(in crate::rmi::cmd) fn destroy<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    args: &[u64],
    memory: &mut Memory<'_, P, L>,
) -> Result<(), Error> {
    rmi.plain(Fid::REC_DESTROY, args)?;
    memory.end(rmi);
    Ok(())
}

/// Lends the auxiliary granules of a REC.
///
/// # Errors
///
/// Those of RMI_REC_AUX_COUNT, [`Broken::Count`] if it is more than can be named, or [`Error::NoMemory`].
fn lend_aux<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    rd: RdName,
    page: &mut impl SharedPage,
    memory: &mut Memory<'_, P, L>,
) -> Result<(), Error> {
    let fid = Fid::REC_AUX_COUNT;
    let count = rmi.plain(fid, &[rd.raw()])?.x(1);
    if count > MOST_AUX {
        return Err(Error::Broken(fid, Broken::Count { entries: count }));
    }
    page.write(AUX, count);
    let mut named = 0u64;
    while named < count {
        let range = memory
            .lend(rmi, count.saturating_sub(named))
            .ok_or(Error::NoMemory(Fid::REC_CREATE))?;
        for granule in range.addresses() {
            named = named.saturating_add(1);
            let word = usize::try_from(named.saturating_mul(8)).unwrap_or(0);
            page.write(AUX.saturating_add(word), granule.raw());
        }
    }
    Ok(())
}
