// SPDX-License-Identifier: GPL-2.0

//! The commands that take memory away from a realm.
//!
//! A call goes through one table, from the base on. It passes over entries that have no memory, and
//! stops at the top, at the end of the table, at a table below, when it can report no more memory, or
//! when an interrupt is pending. What it cannot do for the first entry of a call is an error. It
//! reports the IPA where it has stopped.

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status, GRANULE_SIZE};

use super::blocks::Target;
use super::{Failure, Reply, Rmm};
use crate::desc::RangeDesc;
use crate::granule::{Data, Delegated, Rtt};
use crate::platform::{Platform, GRANULE_WORDS};
use crate::rtt::{block_size, span, Entry, Ripas, Stage2, Walk, ENTRIES, LAST_LEVEL};
use crate::sro::{Next, Operation, Work};

/// A block of a realm's that is being unmapped. Its entry is pending, and counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DataUnmap {
    /// The table.
    table: PhysAddr,
    /// Its level.
    level: i8,
    /// It is one of FEAT_LPA2's.
    lpa2: bool,
    /// The entry.
    index: usize,
    /// The memory.
    block: RangeDesc,
    /// Bytes of the memory that are delegated already.
    done: u64,
    /// Where the command has stopped.
    top: u64,
    target: Target,
}

/// What a sweep over a table has let go.
struct Freed {
    /// Descriptors, as many as `length`.
    words: [u64; GRANULE_WORDS],
    length: usize,
    /// Number of entries.
    entries: u16,
    /// The last of them.
    last: usize,
    /// Where the sweep has stopped.
    top: u64,
}

impl Freed {
    /// Adds a block. False if there is no room.
    fn add(&mut self, block: RangeDesc, target: Target) -> bool {
        let (used, _) = self.words.split_at_mut(self.length);
        for word in used {
            // One descriptor alone lists the memory in the order of the IPAs.
            let below = block.top() == RangeDesc::new(*word).base().raw();
            if target == Target::Single && below {
                return false;
            }
            if let Some(joined) = RangeDesc::new(*word).join(block) {
                *word = joined.raw();
                return true;
            }
        }
        let free = self.words.get_mut(self.length);
        let Some(word) = free.filter(|_| self.length < target.room()) else {
            return false;
        };
        *word = block.raw();
        self.length = self.length.saturating_add(1);
        true
    }

    fn descriptors(&self) -> &[u64] {
        self.words.get(..self.length).unwrap_or(&[])
    }
}

impl<P: Platform> Rmm<'_, P> {
    /// RMI_RTT_DATA_UNMAP. x1: PA of the RD. x2, x3: base and top IPA, in the protected half. x4: flags.
    /// x5: where to list the memory.
    ///
    /// Returns the IPA where it has stopped; and the memory, which is delegated: one descriptor, or
    /// the number of descriptors in the list. What was RAM is destroyed. INCOMPLETE, with a handle: an
    /// interrupt is pending in the middle of a block.
    ///
    /// # Errors
    ///
    /// In this order. BLOCKED or BUSY: no more stateful operations. ERROR_INPUT: not an RD; the range is empty,
    /// turned over, not made of granules, or not in the protected half; the flags or the list are
    /// not valid. ERROR_RTT: the base is not where the entry starts that the walk ends at, or that
    /// entry goes beyond the top, or it is a table.
    pub(super) fn data_unmap(&self, regs: &Regs) -> Result<Reply, Failure> {
        let place = self.operations.reserve()?;
        let (target, stage2, mut walk) = self.start_unmap(regs, true)?;
        let freed = self.sweep(&stage2, &mut walk, regs, target)?;

        // A single block may take long enough that it has to be interruptible.
        if let (1, [word]) = (freed.entries, freed.descriptors()) {
            let mut work = DataUnmap {
                table: walk.table.pa(),
                level: walk.level,
                lpa2: walk.lpa2,
                index: freed.last,
                block: RangeDesc::new(*word),
                done: 0,
                top: freed.top,
                target,
            };
            if !self.release(&mut work) {
                walk.index = work.index;
                if let Some(ripas) = self.entry(&mut walk).ripas() {
                    self.set_entry(&mut walk, Entry::Pending(ripas));
                }
                let operation = Operation {
                    next: Next::Continue,
                    work: Work::DataUnmap(work),
                };
                return Ok(Reply::incomplete(operation.next, place.suspend(operation)));
            }
        } else {
            for word in freed.descriptors() {
                self.release_range(RangeDesc::new(*word), 0, false);
            }
        }
        walk.table.put(freed.entries);
        Ok(self.unmapped(freed.top, target, freed.descriptors()))
    }

    /// Goes on with a block. Returns `None` if another interrupt is to be served first, and otherwise
    /// how DATA_UNMAP ends.
    pub(super) fn data_unmap_continue(&self, work: &mut DataUnmap) -> Option<Reply> {
        let mut walk = Walk {
            table: self.granules.own::<Rtt>(work.table),
            level: work.level,
            lpa2: work.lpa2,
            index: work.index,
        };
        if !self.release(work) {
            return None;
        }
        if let Some(ripas) = self.entry(&mut walk).ripas() {
            self.set_entry(&mut walk, Entry::Unassigned(ripas));
        }
        walk.table.put(1);
        Some(self.unmapped(work.top, work.target, &[work.block.raw()]))
    }

    /// RMI_RTT_UNPROT_UNMAP. x1: PA of the RD. x2, x3: base and top IPA, in the unprotected half. x4:
    /// flags. x5: where to list the memory.
    ///
    /// Returns the IPA where it has stopped; and the memory: one descriptor, or the number of
    /// descriptors in the list. It is never INCOMPLETE.
    ///
    /// # Errors
    ///
    /// As for DATA_UNMAP.
    pub(super) fn unprot_unmap(&self, regs: &Regs) -> Result<Reply, Failure> {
        let _place = self.operations.reserve()?;
        let (target, stage2, mut walk) = self.start_unmap(regs, false)?;
        let freed = self.sweep(&stage2, &mut walk, regs, target)?;
        Ok(self.unmapped(freed.top, target, freed.descriptors()))
    }

    /// Checks the arguments of an unmap command, and walks to the base.
    ///
    /// # Errors
    ///
    /// ERROR_INPUT or ERROR_RTT, as DATA_UNMAP says.
    fn start_unmap(
        &self,
        regs: &Regs,
        protected: bool,
    ) -> Result<(Target, Stage2, Walk<'_>), Failure> {
        let mut rd = self.lock_rd(regs.x(1))?;
        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let (base, top) = (regs.x(2), regs.x(3));
        let last = top.wrapping_sub(GRANULE_SIZE);
        if top <= base
            || ![base, last].iter().all(|ipa| {
                stage2.is_block(*ipa, LAST_LEVEL) && stage2.is_protected(*ipa) == protected
            })
        {
            return Err(Status::ErrorInput.into());
        }
        let target = self.target(regs.x(4), regs.x(5))?;

        let root = self.lock_root(&stage2, base);
        drop(rd);
        let walk = self.walk(&stage2, root, base, LAST_LEVEL);
        if !stage2.is_block(base, walk.level) {
            return Err(Failure::rtt(walk.level));
        }
        Ok((target, stage2, walk))
    }

    /// Makes entries of a table unassigned, and the TLBs forget them. Their references stay.
    ///
    /// # Errors
    ///
    /// ERROR_RTT if the first entry goes beyond the top, or is a table.
    fn sweep(
        &self,
        stage2: &Stage2,
        walk: &mut Walk<'_>,
        regs: &Regs,
        target: Target,
    ) -> Result<Freed, Failure> {
        let (base, top, level) = (regs.x(2), regs.x(3), walk.level);
        let (first, size) = (walk.index, block_size(level));
        let mut freed = Freed {
            words: [0; GRANULE_WORDS],
            length: 0,
            entries: 0,
            last: first,
            top: base,
        };
        // The IPAs that may be in a TLB.
        let mut cached = None;
        let swept = self.with_table(walk, |table| {
            for index in first..ENTRIES {
                let ipa = freed.top;
                let next = ipa.saturating_add(size);
                let entry = table.get(index);
                if next > top || matches!(entry, Entry::Table(_)) {
                    return if index == first {
                        Err(Failure::rtt(level))
                    } else {
                        Ok(())
                    };
                }
                let (block, left) = match entry {
                    Entry::Assigned(Ripas::Empty, pa) => (
                        RangeDesc::delegated(pa, level),
                        Entry::Unassigned(Ripas::Empty),
                    ),
                    Entry::Assigned(_, pa) => (
                        RangeDesc::delegated(pa, level),
                        Entry::Unassigned(Ripas::Destroyed),
                    ),
                    Entry::AssignedNs(_, pa) => {
                        (RangeDesc::undelegated(pa, level), Entry::UnassignedNs)
                    }
                    _ => {
                        freed.top = next;
                        continue;
                    }
                };
                if freed.entries != 0 && self.platform.interrupt_pending()
                    || !freed.add(block, target)
                {
                    return Ok(());
                }
                table.set(index, left);
                if entry.is_valid_leaf() {
                    cached = Some(span(cached.take(), ipa..next));
                }
                freed.entries = freed.entries.saturating_add(1);
                freed.last = index;
                freed.top = next;
            }
            Ok(())
        });
        swept?;
        if let Some(ipas) = cached {
            self.platform.invalidate_stage2(stage2.vmid, ipas);
        }
        Ok(freed)
    }

    /// Makes the memory of a block delegated. False if an interrupt is to be served first.
    fn release(&self, work: &mut DataUnmap) -> bool {
        work.done = self.release_range(work.block, work.done, true);
        work.done == work.block.size()
    }

    /// Makes memory delegated, from `done` bytes on. Stops for an interrupt if it may, but never
    /// before it has done something. Returns the bytes that are done.
    fn release_range(&self, range: RangeDesc, mut done: u64, interruptible: bool) -> u64 {
        while done < range.size() {
            let pa = PhysAddr::new(range.base().raw().saturating_add(done));
            drop(self.granules.own::<Data>(pa).change::<Delegated>());
            done = done.saturating_add(GRANULE_SIZE);
            if interruptible && done < range.size() && self.platform.interrupt_pending() {
                break;
            }
        }
        done
    }

    /// The answer of an unmap command.
    fn unmapped(&self, top: u64, target: Target, freed: &[u64]) -> Reply {
        let [desc, count] = self.report(target, freed);
        Reply::with(Status::Success, [top, desc, count])
    }
}
