// SPDX-License-Identifier: GPL-2.0

//! What DATA_MAP and UNPROT_MAP have in common, and UNPROT_MAP.
//!
//! A call maps blocks of one size, that of the first descriptor, from the base on, within one table.
//! It stops at the first block that it cannot map. If that is not the first of the call, the call
//! reports success up to there, and the error is the answer to the next one. It also stops when an
//! interrupt is pending, but never before it has mapped something.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status, GRANULE_SIZE};

use super::blocks::Source;
use super::{Dialect, Failure, Reply, Rmm};
use crate::platform::Platform;
use crate::rd::{Rd, State};
use crate::rtt::{block_size, Entry, NsAttributes, Stage2, ENTRIES, LAST_LEVEL, MIN_BLOCK_LEVEL};

/// `RmiRttUnprotMapFlags`, bits 18:16: MemAttr.
const MEMATTR_SHIFT: u32 = 16;
/// `RmiRttUnprotMapFlags`, bits 22:19: S2AP.
const S2AP_SHIFT: u32 = 19;
/// `RmiS2AP`, direct encoding: writes are allowed.
const S2AP_WRITE: u64 = 1 << 0;
/// `RmiS2AP`, direct encoding: reads are allowed.
const S2AP_READ: u64 = 1 << 1;

/// What a map command is to do, after all checks that need no walk.
pub(super) struct Map {
    pub(super) stage2: Stage2,
    pub(super) base: u64,
    pub(super) top: u64,
    /// The level of the table: 1 to 3.
    pub(super) level: i8,
    source: Source,
    /// The memory has to be delegated.
    delegated: bool,
    /// A pending interrupt stops the command before it has done anything.
    yields_at_once: bool,
}

impl Map {
    /// The next block, to be mapped at `ipa`. `None` if an interrupt is to be served first.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT if there is no block left, or if it has the wrong state or is not aligned or out
    /// of reach. ERROR_RTT if it is of another size than the first, or beyond the top.
    pub(super) fn next(
        &mut self,
        ipa: u64,
        platform: &impl Platform,
    ) -> Result<Option<PhysAddr>, Failure> {
        if (self.yields_at_once || ipa != self.base) && platform.interrupt_pending() {
            return Ok(None);
        }
        let block = self.source.next().ok_or(Status::ErrorInput)?;
        if self.delegated && !block.is_delegated() {
            return Err(Status::ErrorInput.into());
        }
        if block.level() != self.level || ipa.saturating_add(block_size(self.level)) > self.top {
            return Err(Failure::rtt(self.level));
        }
        if !block.is_aligned() || block.top() > self.stage2.pa_limit() {
            return Err(Status::ErrorInput.into());
        }
        Ok(Some(block.base()))
    }

    /// The answer of a command that has mapped everything up to `ipa`, and then stopped.
    ///
    /// # Errors
    ///
    /// What has stopped it, if that was the first block.
    pub(super) fn answer(&self, ipa: u64, stopped: Result<(), Failure>) -> Result<Reply, Failure> {
        if ipa == self.base {
            stopped?;
        }
        Ok(Reply::with(Status::Success, [ipa]))
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// The checks of a map command. x2, x3: base and top IPA. x4: flags. x5: memory.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_REALM: the realm is neither new nor active. ERROR_INPUT: the range is
    /// empty or turned over; the memory is not named properly, or not delegated though it has to be;
    /// the blocks are too large; base or top are not aligned, or in the wrong half of the IPA space.
    /// ERROR_RTT: the range is smaller than a block.
    pub(super) fn check_map(&self, rd: &Rd, regs: &Regs, protected: bool) -> Result<Map, Failure> {
        let (base, top) = (regs.x(2), regs.x(3));
        if !matches!(rd.state(), State::New | State::Active) {
            return Err(Status::ErrorRealm.into());
        }
        if top <= base {
            return Err(Status::ErrorInput.into());
        }
        let source = self.source(regs.x(4), regs.x(5))?;
        let first = source.first();
        let level = first.level();
        let stage2 = rd.stage2();
        let last = top.wrapping_sub(GRANULE_SIZE);
        let inside = stage2.is_protected(base) && stage2.is_protected(last);
        let is_ours = match protected {
            true => first.is_delegated(),
            false => self.is_undelegated(first),
        };
        if !is_ours
            || level < MIN_BLOCK_LEVEL
            || !stage2.is_block(base, level)
            || !stage2.is_block(last, LAST_LEVEL)
            || inside != protected
        {
            return Err(Status::ErrorInput.into());
        }
        if top.saturating_sub(base) < block_size(level) {
            return Err(Failure::rtt(level));
        }
        Ok(Map {
            stage2,
            base,
            top,
            level,
            source,
            delegated: protected,
            yields_at_once: self.dialect() == Dialect::Bet2,
        })
    }

    /// RMI_RTT_UNPROT_MAP. x1: PA of the RD. x2, x3: base and top IPA, in the unprotected half. x4:
    /// flags. x5: memory, any that is not the RMM's to give: the GPT decides about every access.
    ///
    /// Returns the top of what is mapped.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: not an RD. Then as [`Self::check_map`].
    /// ERROR_INPUT: permissions that there are not. ERROR_RTT: the walk ends above the level of the
    /// blocks, or something else is mapped. ERROR_INPUT: the memory is not as in [`Map::next`], or has
    /// reserved attributes.
    pub(super) fn unprot_map(&self, regs: &Regs) -> Result<Reply, Failure> {
        let mut rd = self.lock_rd(regs.x(1))?;
        let mut map = self.with_rd(&mut rd, |rd| self.check_map(rd, regs, false))?;
        let attributes = attributes(regs.x(4))?;

        let root = self.lock_root(&map.stage2, map.base);
        drop(rd);
        let mut walk = self.walk(&map.stage2, root, map.base, map.level);
        if walk.level != map.level {
            return Err(Failure::rtt(walk.level));
        }
        let mut ipa = map.base;
        let mut stopped = Ok(());
        for index in walk.index..ENTRIES {
            walk.index = index;
            let pa = match map.next(ipa, &self.platform) {
                Ok(Some(pa)) => pa,
                Ok(None) => break,
                Err(failure) => {
                    stopped = Err(failure);
                    break;
                }
            };
            if !attributes.is_valid() {
                stopped = Err(Status::ErrorInput.into());
                break;
            }
            let wanted = Entry::AssignedNs(attributes, pa);
            match self.entry(&mut walk) {
                Entry::UnassignedNs => self.set_entry(&mut walk, wanted),
                entry if entry == wanted => {}
                _ => {
                    stopped = Err(Failure::rtt(map.level));
                    break;
                }
            }
            ipa = ipa.saturating_add(block_size(map.level));
        }
        map.answer(ipa, stopped)
    }
}

/// The attributes in the flags of UNPROT_MAP.
///
/// # Errors
///
/// ERROR_INPUT if there are no such permissions.
fn attributes(flags: u64) -> Result<NsAttributes, Failure> {
    let s2ap = flags >> S2AP_SHIFT & 0xf;
    if s2ap & !(S2AP_READ | S2AP_WRITE) != 0 {
        return Err(Status::ErrorInput.into());
    }
    Ok(NsAttributes::new(
        flags >> MEMATTR_SHIFT & 7,
        s2ap & S2AP_READ != 0,
        s2ap & S2AP_WRITE != 0,
    ))
}
