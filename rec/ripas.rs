// SPDX-License-Identifier: GPL-2.0

//! A RIPAS change, piece by piece.
//!
//! A realm may ask for any range of its protected half, whatever the VMM has put there. A piece is
//! what is in one memory slot, or lies between two:
//!
//! * Private memory of a slot changes once the memory attributes say the same. Until then user space
//!   is asked, for no more than the slot. A VM without attributes asks about everything, once: to run
//!   the vCPU again is to agree.
//! * Where there is no private memory user space is asked once for RAM, so that it can add a slot.
//!   Should there still be none when the vCPU runs again, the rest is rejected.
//! * EMPTY needs nobody's consent there, since the host has nothing to take away.
//!
//! Tables are made only where they map something of a slot: otherwise the realm could make the host
//! allocate for all of its IPA space. A change that needs one elsewhere ends there.

use crate::exit::{Ripas, RipasChange};
use crate::mmu::Step;
use crate::realm::MissingTable;
use crate::rmi::{Error, IpaRange, Protected, Status};
use core::ops::Range;

/// Bytes of a change to RAM that are compared with the attributes at once.
const RAM_PART: u64 = 64 << 20;

/// Most bytes between slots that user space is asked for at once.
const GAP_PART: u64 = 1 << 30;

/// Steps without progress before the rest is rejected: what is in the way is a command of another
/// CPU's, which is over after a moment.
const PATIENCE: u32 = 1000;

/// A memory slot.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Where it is.
    pub ipas: Range<u64>,
    /// It has private memory.
    pub private: bool,
}

/// What carries out a RIPAS change: the VM's memory, and the way to the RMM.
pub trait RipasHost {
    /// Why it cannot go on.
    type Error;

    /// The first slot, from the bottom, that has any of `ipas`.
    fn first_slot(&self, ipas: &Range<u64>) -> Option<Slot>;

    /// True if memory attributes say what user space agrees to.
    fn has_attributes(&self) -> bool;

    /// Up to where, from the base of `ipas` on, memory attributes say private, or shared.
    fn matching(&self, ipas: &Range<u64>, private: bool) -> u64;

    /// Called before each step.
    ///
    /// # Errors
    ///
    /// The change is to be interrupted.
    fn go_on(&self) -> Result<(), Self::Error>;

    /// [`crate::mmu::set_ripas`] for the REC that has asked for the change.
    ///
    /// # Errors
    ///
    /// There is no realm.
    fn set_ripas(&self, range: IpaRange<Protected>) -> Result<Step, Self::Error>;

    /// Makes a table.
    ///
    /// # Errors
    ///
    /// No memory, or the RMM refuses.
    fn make_table(&self, table: MissingTable) -> Result<(), Self::Error>;

    /// `ipas` are EMPTY now.
    fn emptied(&self, ipas: Range<u64>);

    /// What an error of the RMM's is to those who wait for the change.
    fn refused(&self, error: Error) -> Self::Error;
}

/// How far a RIPAS change has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The vCPU can be entered.
    Complete,
    /// User space has to look at this range first, and convert it, or add a slot.
    Convert(IpaRange<Protected>),
}

/// What to do about the first piece of what is left.
enum Piece {
    /// It can change.
    Ready(IpaRange<Protected>),
    /// See [`Progress::Convert`].
    Convert(IpaRange<Protected>),
    /// User space has been asked, and has nothing there.
    Nothing,
}

/// A RIPAS change that the host carries out.
///
/// The RMM remembers how far it has come, and tells the realm at the next entry. An entry before
/// all is done would be correct, but the realm would have to ask again for the rest, so the host
/// goes on until nothing is left, or it rejects the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RipasWork {
    rest: Option<IpaRange<Protected>>,
    ripas: Ripas,
    rejected: bool,
    /// Where user space was asked for memory last, and had none.
    asked: Option<u64>,
    /// Up to where user space has agreed, where there are no attributes: it was asked, and went on.
    agreed: u64,
}

/// An IPA that is not in the part of a RIPAS change that is left, or no granule's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Misplaced(pub u64);

impl RipasWork {
    pub(super) fn new(change: RipasChange) -> Self {
        Self {
            rest: Some(change.range),
            ripas: change.ripas,
            rejected: false,
            asked: None,
            agreed: change.range.base(),
        }
    }

    /// Goes on until nothing is left, or user space has to do something. May be called again after
    /// either, and after an error: what is done stays noted.
    ///
    /// # Errors
    ///
    /// Those of `host`.
    pub fn carry_out<H: RipasHost>(&mut self, host: &H) -> Result<Progress, H::Error> {
        let mut idle = 0u32;
        while let Some(rest) = self.rest {
            host.go_on()?;
            match self.piece(host, rest) {
                Piece::Ready(range) => match self.step(host, range)? {
                    Step::Until(at) if at == range.base() => idle = idle.saturating_add(1),
                    _ => idle = 0,
                },
                Piece::Convert(range) => return Ok(Progress::Convert(range)),
                Piece::Nothing => self.reject(),
            }
            if idle > PATIENCE {
                self.reject();
            }
        }
        Ok(Progress::Complete)
    }

    fn piece<H: RipasHost>(&mut self, host: &H, rest: IpaRange<Protected>) -> Piece {
        let (base, top) = (rest.base(), rest.top());
        let private = self.ripas == Ripas::Ram;
        // There always is something of `rest` below these limits.
        let until = |limit: u64| rest.until(limit.min(top)).unwrap_or(rest);
        let slot = host.first_slot(&(base..top));
        if let Some(slot) = slot.as_ref().filter(|slot| slot.ipas.start > base) {
            return self.gap(until(slot.ipas.start));
        }
        match slot {
            None => self.gap(rest),
            Some(slot) if !slot.private => self.gap(until(slot.ipas.end)),
            Some(slot) => {
                let piece = until(slot.ipas.end);
                if !host.has_attributes() {
                    return self.by_consent(piece);
                }
                let part = match private {
                    true => until(base.saturating_add(RAM_PART).min(piece.top())),
                    false => piece,
                };
                let same = host.matching(&(base..part.top()), private);
                part.until(same).map_or(Piece::Convert(piece), Piece::Ready)
            }
        }
    }

    /// A piece in a slot with private memory, where there are no attributes.
    fn by_consent(&mut self, range: IpaRange<Protected>) -> Piece {
        match range.until(self.agreed.min(range.top())) {
            Some(agreed) => Piece::Ready(agreed),
            None => {
                self.agreed = range.top();
                Piece::Convert(range)
            }
        }
    }

    /// A piece where there is no private memory.
    fn gap(&mut self, range: IpaRange<Protected>) -> Piece {
        let base = range.base();
        if self.ripas == Ripas::Empty {
            return Piece::Ready(range);
        }
        if self.asked.replace(base) == Some(base) {
            return Piece::Nothing;
        }
        let limit = base.saturating_add(GAP_PART).min(range.top());
        Piece::Convert(range.until(limit).unwrap_or(range))
    }

    /// Changes `range`, the first piece of what is left, as far as one step goes, and makes the table that
    /// the next one needs.
    ///
    /// # Errors
    ///
    /// Those of `host`.
    fn step<H: RipasHost>(
        &mut self,
        host: &H,
        range: IpaRange<Protected>,
    ) -> Result<Step, H::Error> {
        let step = host.set_ripas(range)?;
        // Before anything else can fail: the RMM has done this, and will not do it again.
        let done = step.reached(&range);
        if self.advance(done).is_err() {
            // No step leads out of its range.
            self.reject();
        }
        if self.ripas == Ripas::Empty && done > range.base() {
            host.emptied(range.base()..done);
        }
        match step {
            Step::Done | Step::Until(_) => {}
            Step::NeedTable(_, table) if host.first_slot(&table.ipas()).is_some() => {
                host.make_table(table)?;
            }
            Step::NeedTable(..) => self.reject(),
            Step::Failed(_, error) => match error.status() {
                // What is there was destroyed, and the realm wants to know rather than lose it; or
                // another vCPU has turned the realm off, which the next entry will tell.
                Some(Status::ErrorRtt | Status::ErrorRealm) => self.reject(),
                _ => return Err(host.refused(error)),
            },
        }
        Ok(step)
    }

    /// The range still to be changed; `None` if the vCPU can be entered.
    pub fn next(&self) -> Option<IpaRange<Protected>> {
        self.rest
    }

    /// What it is to become.
    pub fn ripas(&self) -> Ripas {
        self.ripas
    }

    /// Notes that the RMM has changed everything below `to`. The base itself is no progress, the top
    /// is the end.
    ///
    /// # Errors
    ///
    /// `to` is elsewhere: nothing has been noted.
    pub fn advance(&mut self, to: u64) -> Result<(), Misplaced> {
        let rest = self.rest.ok_or(Misplaced(to))?;
        self.rest = if to == rest.top() {
            None
        } else {
            Some(rest.from(to).ok_or(Misplaced(to))?)
        };
        Ok(())
    }

    /// Leaves the rest undone. Where the realm wants RAM it is told that the host refuses; a change
    /// to EMPTY cannot be refused, and the realm only sees how far it has come.
    pub fn reject(&mut self) {
        self.rejected = self.rest.take().is_some() || self.rejected;
    }

    /// True if the rest was left undone.
    pub fn is_rejected(&self) -> bool {
        self.rejected
    }
}
