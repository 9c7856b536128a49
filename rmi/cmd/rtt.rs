// SPDX-License-Identifier: GPL-2.0

//! Commands on the realm translation tables (RTTs), and on the RIPAS: what a realm takes its memory
//! for.

use super::realm::{Failed, RdName};
use super::v1;
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
    Results,
    Rmi,
    RttLevel,
    GRANULE_SIZE, //
};

use super::rec::RecName;

/// RMI_RTT_CREATE (0xC400015D): adds a table at `level`, for the block of the level above that
/// begins at `ipa`.
///
/// # Errors
///
/// * ERROR_RTT: there is a table already, or none at the level above; the index has the level
///   where the walk ended.
pub fn create<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    table: GranuleRange<Delegated>,
    ipa: u64,
    level: RttLevel,
) -> Result<(), Failed<GranuleRange<Delegated>>> {
    let args = [rd.raw(), table.range().base().raw(), ipa, level.raw()];
    match rmi.stateful(Fid::RTT_CREATE, &args) {
        Ok(_) => Ok(()),
        Err(error) if error.changed_nothing() => Err(Failed {
            granules: Some(table),
            error,
        }),
        Err(error) => {
            table.leak(rmi);
            Err(Failed {
                granules: None,
                error,
            })
        }
    }
}

/// RMI_RTT_DESTROY (0xC400015E): removes the table at `level` that maps the block at `ipa`, which
/// must map nothing.
///
/// # Errors
///
/// * ERROR_RTT: there is no such table, or something is still mapped by it.
pub fn destroy<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    ipa: u64,
    level: RttLevel,
) -> Result<GranuleRange<Delegated>, Error> {
    table_command(rmi, Fid::RTT_DESTROY, rd, ipa, level)
}

/// RMI_RTT_FOLD (0xC4000166): replaces the table at `level` that maps the block at `ipa`, all in one
/// piece and in one way, by one entry at the level above.
///
/// # Errors
///
/// * ERROR_RTT: there is no such table, or its entries do not make one block.
pub fn fold<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    ipa: u64,
    level: RttLevel,
) -> Result<GranuleRange<Delegated>, Error> {
    table_command(rmi, Fid::RTT_FOLD, rd, ipa, level)
}

/// A command that gives a table back, by naming it in X1.
///
/// # Errors
///
/// Those of the command.
fn table_command<C: Conduit>(
    rmi: &Rmi<C>,
    fid: Fid,
    rd: RdName,
    ipa: u64,
    level: RttLevel,
) -> Result<GranuleRange<Delegated>, Error> {
    let regs = rmi.stateful(fid, &[rd.raw(), ipa, level.raw()])?;
    let base = regs.x(1);
    let top = base.wrapping_add(GRANULE_SIZE);
    AddrRange::new(PhysAddr::new(base), PhysAddr::new(top))
        // The next thing to happen to a table is its undelegation, which the RMM refuses for what
        // is not a delegated granule: a wrong address frees nothing.
        .map(GranuleRange::of)
        .ok_or(Error::Broken(fid, Broken::Range { top: base }))
}

/// What an entry of the tables is, `RmiRttEntryState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntryState {
    /// Nothing is mapped.
    Unassigned,
    /// Memory is mapped.
    Assigned,
    /// There is a table below.
    Table,
    /// A device is mapped, or a value that the specification did not have when this was written.
    Other(u64),
}

/// The entry where a walk ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its level.
    pub level: RttLevel,
    /// What it is.
    pub state: EntryState,
    /// What was there is lost (RIPAS DESTROYED), and the realm gets nothing else there until it says
    /// that it knows.
    pub destroyed: bool,
    /// The realm takes it for memory (RIPAS RAM).
    pub ram: bool,
}

/// RIPAS: it is memory.
const RIPAS_RAM: u64 = 1;
/// RIPAS: what was there is lost.
const RIPAS_DESTROYED: u64 = 2;

/// RMI_RTT_READ_ENTRY (0xC4000161): what the walk to the entry for `ipa` at `level` ends at.
///
/// # Errors
///
/// * ERROR_INPUT: the address is beyond the realm's, or not on an entry of that level.
pub fn read_entry<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    ipa: u64,
    level: RttLevel,
) -> Result<Entry, Error> {
    let fid = Fid::RTT_READ_ENTRY;
    let regs = rmi.plain(fid, &[rd.raw(), ipa, level.raw()])?;
    let level = RttLevel::from_raw(regs.x(1));
    Ok(Entry {
        level: level.ok_or(Error::Broken(fid, Broken::Range { top: regs.x(1) }))?,
        state: match regs.x(2) {
            0 => EntryState::Unassigned,
            1 => EntryState::Assigned,
            2 => EntryState::Table,
            other => EntryState::Other(other),
        },
        destroyed: regs.x(4) == RIPAS_DESTROYED,
        ram: regs.x(4) == RIPAS_RAM,
    })
}

/// RMI_RTT_INIT_RIPAS (0xC4000168): declares memory of a realm that is New to be RAM, from the base
/// of the range on. Returns how far it came.
///
/// # Errors
///
/// * ERROR_REALM: the realm is not New.
/// * ERROR_RTT: the base is not on an entry of the tables that are there; the index has the level.
pub fn init_ripas<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Protected>,
) -> Result<u64, Error> {
    if rmi.is_v1() {
        if let Some(done) = v1::rtt::ram_already(rmi, rd, range)? {
            return Ok(done);
        }
    }
    let args = [rd.raw(), range.base(), range.top()];
    ranged(rmi, Fid::RTT_INIT_RIPAS, &args, range)
}

/// RMI_RTT_SET_RIPAS (0xC4000169): carries out the change that the REC has asked for at its last
/// exit, from the base of the range on, which is where the last one ended. Returns how far it came.
///
/// # Errors
///
/// * ERROR_INPUT: the REC has asked for something else.
/// * ERROR_RTT: the base is not on an entry of the tables that are there; the index has the level.
pub fn set_ripas<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    rec: RecName,
    range: IpaRange<Protected>,
) -> Result<u64, Error> {
    let args = [rd.raw(), rec.raw(), range.base(), range.top()];
    ranged(rmi, Fid::RTT_SET_RIPAS, &args, range)
}

/// Makes a call that answers in X1 with how far it came in `range`, which is past the base.
///
/// # Errors
///
/// Those of the command.
pub(super) fn ranged<C: Conduit, H>(
    rmi: &Rmi<C>,
    fid: Fid,
    args: &[u64],
    range: IpaRange<H>,
) -> Result<u64, Error> {
    let regs = rmi.ranged(fid, args, |regs| regs.x(1) == range.base())?;
    progress(fid, range, &regs)
}

/// The IPA in X1: past the base of the request, not past its top, and on a granule.
///
/// # Errors
///
/// [`Broken::Range`].
pub(super) fn progress<H>(fid: Fid, range: IpaRange<H>, regs: &Results) -> Result<u64, Error> {
    let top = regs.x(1);
    range
        .until(top)
        .map(|done| done.top())
        .ok_or(Error::Broken(fid, Broken::Range { top }))
}
