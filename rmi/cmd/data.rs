// SPDX-License-Identifier: GPL-2.0

//! Commands that map and unmap memory.

use super::realm::{Failed, RdName};
use super::rtt::{progress, ranged};
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
    MemState,
    PhysAddr,
    Protected,
    RangeDesc,
    Rmi,
    RttLevel,
    SharedPage,
    GRANULE_SIZE, //
};

/// `RmiRttAddrType`, in bits 1:0 of the flags: there is no address.
pub(super) const ADDR_NONE: u64 = 0;
/// The address is one descriptor, in the register.
pub(super) const ADDR_SINGLE: u64 = 1;
/// The address is that of a list of descriptors, of which bits 15:2 have the number.
pub(super) const ADDR_LIST: u64 = 2;
pub(super) const LIST_COUNT_LOW: u32 = 2;

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
    rd: RdName,
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

/// Pieces of memory that one command maps, in the order of their IPAs.
pub const PIECES: usize = 32;

/// Memory on its way into a realm: delegated, in pieces that need not be next to each other.
///
/// Dropping one frees nothing.
#[derive(Debug, Default)]
#[must_use = "memory that is not given back is lost"]
pub struct Pieces {
    pieces: [Option<GranuleRange<Delegated>>; PIECES],
}

impl Pieces {
    /// No memory.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece at the end.
    ///
    /// # Errors
    ///
    /// There are [`PIECES`] already: the piece comes back.
    pub fn push(&mut self, piece: GranuleRange<Delegated>) -> Result<(), GranuleRange<Delegated>> {
        match self.pieces.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => {
                *slot = Some(piece);
                Ok(())
            }
            None => Err(piece),
        }
    }

    /// Bytes in all pieces.
    pub fn bytes(&self) -> u64 {
        let bytes = self.ranges().map(|range| range.bytes());
        bytes.fold(0, u64::saturating_add)
    }

    /// The addresses of the pieces.
    pub fn ranges(&self) -> impl Iterator<Item = AddrRange> + '_ {
        self.pieces.iter().flatten().map(GranuleRange::range)
    }

    /// Takes the first piece away.
    pub fn pop(&mut self) -> Option<GranuleRange<Delegated>> {
        let first = self.pieces.iter_mut().find(|slot| slot.is_some());
        first.and_then(Option::take)
    }

    /// Parts with the first `granules`, which are mapped now, and tells `gone` which they are.
    fn mapped(&mut self, granules: u64, mut gone: impl FnMut(AddrRange)) {
        let mut left = granules;
        for slot in &mut self.pieces {
            let Some(piece) = slot.take() else { continue };
            let size = piece.range().granules();
            let (mapped, rest) = piece.split(left);
            if let Some(mapped) = mapped {
                gone(mapped.range());
            }
            left = left.saturating_sub(size);
            *slot = rest;
        }
    }
}

/// RMI_RTT_DATA_MAP (0xC40001F5): maps delegated memory at the base of a range of the same size, in
/// blocks of `level`, as far as the RMM goes. Returns how far it came: the first IPA that is not
/// mapped. What is mapped has left `pieces`, and `gone` was told.
///
/// `list` is used while this runs.
///
/// # Errors
///
/// Nothing is mapped.
///
/// * ERROR_RTT: the tables end above `level` there (the index has the level where the walk ended),
///   or something else is mapped.
/// * [`Error::Broken`] by the RMM: nobody knows what is mapped, and all pieces are gone.
pub fn map<C: Conduit>(
    rmi: &Rmi<C>,
    rd: RdName,
    range: IpaRange<Protected>,
    pieces: &mut Pieces,
    level: RttLevel,
    list: &mut impl SharedPage,
    gone: impl FnMut(AddrRange),
) -> Result<u64, Error> {
    if rmi.is_v1() {
        let done = v1::data::map(rmi, rd, range, pieces.ranges(), level);
        return taken(pieces, range, done, gone);
    }
    let fid = Fid::RTT_DATA_MAP;
    let wrong = Error::Broken(fid, Broken::Range { top: range.base() });
    let mut count = 0u64;
    let mut first = 0;
    for (offset, piece) in (0..).step_by(8).zip(pieces.ranges()) {
        // A descriptor that is not for the whole piece would put the next one elsewhere.
        let descriptor = match RangeDesc::new(piece, level) {
            Some((descriptor, part)) if part == piece => descriptor.raw(),
            _ => return Err(wrong),
        };
        if count == 0 {
            first = descriptor;
        }
        list.write(offset, descriptor);
        count = count.saturating_add(1);
    }
    let (kind, address) = match count {
        0 => return Err(wrong),
        1 => (ADDR_SINGLE, first),
        _ => (ADDR_LIST, list.pa().raw()),
    };
    let flags = kind | (count << LIST_COUNT_LOW);
    let args = [rd.raw(), range.base(), range.top(), flags, address];
    let done = in_blocks(fid, range, level, ranged(rmi, fid, &args, range));
    taken(pieces, range, done, gone)
}

/// Parts with what a command has mapped that came to `done`, and tells `gone`.
///
/// # Errors
///
/// That of the command.
fn taken(
    pieces: &mut Pieces,
    range: IpaRange<Protected>,
    done: Result<u64, Error>,
    gone: impl FnMut(AddrRange),
) -> Result<u64, Error> {
    match done {
        Ok(top) => pieces.mapped(top.wrapping_sub(range.base()) >> crate::GRANULE_SHIFT, gone),
        Err(error) if error.changed_nothing() => {}
        // What is mapped comes back with what is unmapped; the rest stays counted as delegated, see
        // [`Rmi::write_off`].
        Err(_) => pieces.mapped(u64::MAX, gone),
    }
    done
}

/// How far a command came that maps blocks of `level`, from the base of a range on: nothing ends in the
/// middle of one.
///
/// # Errors
///
/// Those of the command, and [`Broken::Range`].
pub(super) fn in_blocks<H>(
    fid: Fid,
    range: IpaRange<H>,
    level: RttLevel,
    done: Result<u64, Error>,
) -> Result<u64, Error> {
    let top = done?;
    match top.wrapping_sub(range.base()) & level.block_size().wrapping_sub(1) {
        0 => Ok(top),
        _ => Err(Error::Broken(fid, Broken::Range { top })),
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
    rd: RdName,
    range: IpaRange<Protected>,
    list: &mut impl SharedPage,
    mut each: impl FnMut(GranuleRange<Delegated>),
) -> Result<u64, Error> {
    if rmi.is_v1() {
        return v1::data::unmap(rmi, rd, range, each);
    }
    let fid = Fid::RTT_DATA_UNMAP;
    let flags = ADDR_LIST | (LIST_ENTRIES << LIST_COUNT_LOW);
    let args = [rd.raw(), range.base(), range.top(), flags, list.pa().raw()];
    // Nothing is unmapped where nothing is listed.
    let regs = rmi.ranged(fid, &args, |regs| {
        regs.x(1) == range.base() && regs.x(3) == 0
    })?;
    let entries = regs.x(3);
    if entries > LIST_ENTRIES {
        return Err(Error::Broken(fid, Broken::Count { entries }));
    }
    // What was unmapped cannot have held more than its own size.
    let done = progress(fid, range, &regs);
    let mut most = match done {
        Ok(top) => top.wrapping_sub(range.base()),
        Err(_) => range.bytes(),
    };
    for n in 0..entries {
        let offset = usize::try_from(n.saturating_mul(8)).unwrap_or(usize::MAX);
        let descriptor = RangeDesc::from_raw(list.read(offset)).decode();
        let Some((pa, MemState::Delegated)) = descriptor else {
            continue;
        };
        let Some(left) = most.checked_sub(pa.bytes()) else {
            return Err(Error::Broken(fid, Broken::Count { entries }));
        };
        most = left;
        // Who gets this looks whether it is memory of guest_memfd, and has it undelegated, which the RMM
        // refuses for what is not delegated, or not free.
        each(GranuleRange::of(pa));
    }
    done
}
