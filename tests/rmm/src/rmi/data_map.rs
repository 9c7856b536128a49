// SPDX-License-Identifier: GPL-2.0

//! The commands that give a realm memory of its own.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status, GRANULE_SIZE};

use super::{Failure, Reply, Rmm};
use crate::granule::{self, Data, Delegated, Rtt, Undelegated};
use crate::platform::Platform;
use crate::rd::State;
use crate::rtt::{block_size, tables, Entry, Ripas, Walk, ENTRIES, LAST_LEVEL};
use crate::sro::{Next, Operation, Work};

/// `RmiDataFlags`: the contents are measured.
const MEASURE: u64 = 1;

/// A block that is being mapped. Its entry is pending, and counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataMap {
    /// The table.
    table: PhysAddr,
    /// Its level.
    level: i8,
    /// It is one of FEAT_LPA2's.
    lpa2: bool,
    /// The entry.
    index: usize,
    /// The memory.
    pa: PhysAddr,
    /// Bytes of the memory that are the realm's already.
    done: u64,
    /// Where the block goes.
    ipa: u64,
    /// Base IPA of the command.
    base: u64,
}

/// How far a block has come.
enum Progress {
    /// It is mapped.
    Mapped,
    /// Some of its memory is not delegated, and all of it is as it was.
    Refused,
    /// An interrupt is to be served first.
    Interrupted,
}

impl<P: Platform> Rmm<'_, P> {
    /// RMI_RTT_DATA_MAP. x1: PA of the RD. x2, x3: base and top IPA, in the protected half. x4: flags.
    /// x5: delegated memory.
    ///
    /// Returns the top of what is mapped; it holds zeroes. INCOMPLETE, with a handle: an interrupt is
    /// pending in the middle of a block.
    ///
    /// # Errors
    ///
    /// In this order. BLOCKED or BUSY: no more stateful operations. ERROR_INPUT: not an RD. Then as [`Self::check_map`]. ERROR_RTT: the walk ends
    /// above the level of the blocks, or something else is mapped. ERROR_INPUT: the memory is not as
    /// in [`Map::next`](super::map::Map::next), or not delegated. BUSY: another operation has the
    /// entry.
    pub(super) fn data_map(&self, regs: &Regs) -> Result<Reply, Failure> {
        let place = self.operations.reserve()?;
        let mut rd = self.lock_rd(regs.x(1))?;
        let mut map = self.with_rd(&mut rd, |rd| self.check_map(rd, regs, true))?;

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
            match self.entry(&mut walk) {
                Entry::Unassigned(ripas) => {
                    self.set_entry(&mut walk, Entry::Pending(ripas));
                    walk.table.get(1);
                }
                Entry::Assigned(_, there) if there == pa => {
                    ipa = ipa.saturating_add(block_size(map.level));
                    continue;
                }
                Entry::Pending(_) => {
                    stopped = Err(Status::Busy.into());
                    break;
                }
                _ => {
                    stopped = Err(Failure::rtt(map.level));
                    break;
                }
            }
            let mut work = DataMap {
                table: walk.table.pa(),
                level: walk.level,
                lpa2: walk.lpa2,
                index,
                pa,
                done: 0,
                ipa,
                base: map.base,
            };
            match self.fill(&mut work, &mut walk) {
                Progress::Mapped => ipa = ipa.saturating_add(block_size(map.level)),
                Progress::Refused => {
                    stopped = Err(Status::ErrorInput.into());
                    break;
                }
                Progress::Interrupted => {
                    let operation = Operation {
                        next: Next::Continue,
                        work: Work::DataMap(work),
                    };
                    return Ok(Reply::incomplete(operation.next, place.suspend(operation)));
                }
            }
        }
        map.answer(ipa, stopped)
    }

    /// Goes on with a block. Returns `None` if another interrupt is to be served first, and otherwise
    /// how DATA_MAP ends.
    pub(super) fn data_map_continue(&self, work: &mut DataMap) -> Option<Result<Reply, Failure>> {
        let mut walk = Walk {
            table: self.granules.own::<Rtt>(work.table),
            level: work.level,
            lpa2: work.lpa2,
            index: work.index,
        };
        let top = match self.fill(work, &mut walk) {
            Progress::Interrupted => return None,
            Progress::Refused if work.ipa == work.base => {
                return Some(Err(Status::ErrorInput.into()))
            }
            Progress::Refused => work.ipa,
            Progress::Mapped => work.ipa.saturating_add(block_size(work.level)),
        };
        Some(Ok(Reply::with(Status::Success, [top])))
    }

    /// Makes the memory of a block the realm's, granule by granule, and then maps it.
    fn fill(&self, work: &mut DataMap, walk: &mut Walk<'_>) -> Progress {
        let Some(ripas) = self.entry(walk).ripas() else {
            return Progress::Refused;
        };
        let mut fresh = true;
        while work.done < block_size(work.level) {
            if !fresh && self.platform.interrupt_pending() {
                return Progress::Interrupted;
            }
            fresh = false;
            let pa = PhysAddr::new(work.pa.raw().saturating_add(work.done));
            let Some(granule) = self.granules.lock::<Delegated>(pa) else {
                for pa in tables(work.pa, work.done / GRANULE_SIZE) {
                    drop(self.granules.own::<Data>(pa).change::<Delegated>());
                }
                self.set_entry(walk, Entry::Unassigned(ripas));
                walk.table.put(1);
                return Progress::Refused;
            };
            self.platform.scrub(&granule);
            drop(granule.change::<Data>());
            work.done = work.done.saturating_add(GRANULE_SIZE);
        }
        self.set_entry(walk, Entry::Assigned(ripas, work.pa));
        Progress::Mapped
    }

    /// RMI_RTT_DATA_MAP_INIT. x1: PA of the RD. x2: PA of a delegated granule. x3: IPA, in the
    /// protected half. x4: PA of a granule of the host's, whose contents are copied. x5: 1 to measure
    /// them, 0 not to. The IPA is RAM afterwards. In RMI 1.0 this is DATA_CREATE, where the granule is looked
    /// at before the realm.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: flags that there are not; the source is not the host's; not an RD.
    /// ERROR_REALM: the realm is not new. ERROR_INPUT: the IPA is not aligned or not protected.
    /// ERROR_RTT: the walk ends above the last level, or something is mapped. BUSY: a stateful
    /// operation has the entry. ERROR_INPUT: the granule is not delegated.
    pub(super) fn data_map_init(&self, regs: &Regs) -> Result<Reply, Failure> {
        let (pa, ipa, source) = (
            PhysAddr::new(regs.x(2)),
            regs.x(3),
            PhysAddr::new(regs.x(4)),
        );
        let flags = regs.x(5);
        if flags > MEASURE || self.granules.state(source) != Some(granule::State::Undelegated) {
            return Err(Status::ErrorInput.into());
        }
        if self.is_v1() && self.granules.state(pa) != Some(granule::State::Delegated) {
            return Err(Status::ErrorInput.into());
        }
        let mut rd = self.lock_rd(regs.x(1))?;
        let (state, stage2) = self.with_rd(&mut rd, |rd| (rd.state(), rd.stage2()));
        if state != State::New {
            return Err(Status::ErrorRealm.into());
        }
        let reachable = pa.raw() < stage2.pa_limit();
        if !stage2.is_protected(ipa) || !stage2.is_block(ipa, LAST_LEVEL) || !reachable {
            return Err(Status::ErrorInput.into());
        }

        let root = self.lock_root(&stage2, ipa);
        let mut walk = self.walk(&stage2, root, ipa, LAST_LEVEL);
        if walk.level != LAST_LEVEL {
            return Err(Failure::rtt(walk.level));
        }
        match self.entry(&mut walk) {
            Entry::Unassigned(_) => {}
            Entry::Pending(_) => return Err(Status::Busy.into()),
            _ => return Err(Failure::rtt(LAST_LEVEL)),
        }
        let mut granule = self
            .granules
            .lock::<Delegated>(pa)
            .ok_or(Status::ErrorInput)?;
        let source = self
            .granules
            .lock::<Undelegated>(source)
            .ok_or(Status::ErrorInput)?;
        self.platform.with(&mut granule, |data| {
            self.platform.read(&source, 0, data);
            let measured = (flags == MEASURE).then_some(&*data);
            self.with_rd(&mut rd, |rd| rd.rim().add_data(ipa, flags, measured));
        });
        drop(source);
        drop(granule.change::<Data>());
        self.set_entry(&mut walk, Entry::Assigned(Ripas::Ram, pa));
        walk.table.get(1);
        Ok(Reply::new(Status::Success))
    }
}
