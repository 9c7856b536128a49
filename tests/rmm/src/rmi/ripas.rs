// SPDX-License-Identifier: GPL-2.0

//! The commands that change what a realm may expect of its IPAs.
//!
//! A call goes through one table, from the base on, and stops at the first entry that it cannot
//! change. If that is not the first of the call, the call reports success up to there.

use core::ops::Range;

use kvm_arm_rmi::rmi::{PhysAddr, Regs, Status, GRANULE_SIZE};

use super::{Failure, Reply, Rmm};
use crate::granule::Rec as RecGranule;
use crate::platform::Platform;
use crate::rd::State;
use crate::rec::Rec;
use crate::rtt::{block_size, span, Entry, Ripas, Stage2, Walk, ENTRIES, LAST_LEVEL};

/// What becomes of an entry.
enum Change {
    /// Nothing: it says what it should.
    None,
    /// It becomes this.
    To(Entry),
    /// It cannot be changed.
    Refused,
}

impl<P: Platform> Rmm<'_, P> {
    /// RMI_RTT_INIT_RIPAS. x1: PA of the RD. x2, x3: base and top IPA, in the protected half.
    ///
    /// Returns the top of what is RAM. In RMI 1.0 each entry on the way is measured.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: the range is empty or turned over; not an RD; the
    /// range is not made of granules, or not in the protected half. ERROR_REALM: the realm is not
    /// new. ERROR_RTT: the base is not where the entry starts that the walk ends at, or that entry
    /// goes beyond the top, or is a table or destroyed, or in RMI 1.0 has memory.
    pub(super) fn init_ripas(&self, regs: &Regs) -> Result<Reply, Failure> {
        let (base, top) = (regs.x(2), regs.x(3));
        if top <= base {
            return Err(Status::ErrorInput.into());
        }
        let mut rd = self.lock_rd(regs.x(1))?;
        let (state, stage2) = self.with_rd(&mut rd, |rd| (rd.state(), rd.stage2()));
        let last = top.wrapping_sub(GRANULE_SIZE);
        if ![base, last]
            .iter()
            .all(|ipa| stage2.is_block(*ipa, LAST_LEVEL) && stage2.is_protected(*ipa))
        {
            return Err(Status::ErrorInput.into());
        }
        if state != State::New {
            return Err(Status::ErrorRealm.into());
        }

        let root = self.lock_root(&stage2, base);
        let mut walk = self.walk(&stage2, root, base, LAST_LEVEL);
        let v1 = self.is_v1();
        let done = self.change_ripas(&stage2, &mut walk, base, top, |entry, ipas| {
            if !v1 {
                return change(entry, Ripas::Ram, Destroyed::EmptyOnly);
            }
            if !matches!(entry, Entry::Unassigned(Ripas::Empty | Ripas::Ram)) {
                return Change::Refused;
            }
            self.with_rd(&mut rd, |rd| rd.rim().add_ripas(ipas));
            Change::To(entry.with_ripas(Ripas::Ram))
        })?;
        Ok(Reply::with(Status::Success, [done]))
    }

    /// RMI_RTT_SET_RIPAS. x1: PA of the RD. x2: PA of the REC that has asked for the change. x3, x4: base
    /// and top IPA.
    ///
    /// Returns the top of what has changed, which is the next base.
    ///
    /// # Errors
    ///
    /// In this order. ERROR_INPUT: the
    /// range is empty or turned over, or its top is not aligned, which RMI 1.0 does not mind; not an RD and a
    /// REC. ERROR_REC: the
    /// REC runs, or is another realm's. ERROR_INPUT: the range is not what is left of the change, from
    /// its start. ERROR_RTT: the base is not where the entry starts that the walk ends at, or that
    /// entry goes beyond the top, or is a table, destroyed though the realm did not allow for that, or
    /// in the hands of a stateful operation.
    pub(super) fn set_ripas(&self, regs: &Regs) -> Result<Reply, Failure> {
        let (base, top) = (regs.x(3), regs.x(4));
        let aligned = self.is_v1() || top & GRANULE_SIZE.wrapping_sub(1) == 0;
        if top <= base || !aligned {
            return Err(Status::ErrorInput.into());
        }
        let mut rd = self.lock_rd(regs.x(1))?;
        let mut rec = self
            .granules
            .lock::<RecGranule>(PhysAddr::new(regs.x(2)))
            .ok_or(Status::ErrorInput)?;
        if rec.count() != 0 {
            return Err(Status::ErrorRec.into());
        }
        let (owner, wanted) = self.platform.with(&mut rec, |data| {
            let rec = Rec::view(data);
            (rec.rd(), rec.ripas.clone())
        });
        if owner != rd.pa() {
            return Err(Status::ErrorRec.into());
        }
        if base != wanted.next || top > wanted.top {
            return Err(Status::ErrorInput.into());
        }

        let stage2 = self.with_rd(&mut rd, |rd| rd.stage2());
        let root = self.lock_root(&stage2, base);
        let mut walk = self.walk(&stage2, root, base, LAST_LEVEL);
        let ripas = Ripas::from_raw(wanted.value).unwrap_or(Ripas::Empty);
        let destroyed = match (wanted.destroyed, self.is_v1()) {
            (0, true) => Destroyed::Kept,
            (0, false) => Destroyed::EmptyOnly,
            _ => Destroyed::Any,
        };
        let done = self.change_ripas(&stage2, &mut walk, base, top, |entry, _| {
            change(entry, ripas, destroyed)
        })?;
        self.platform
            .with(&mut rec, |data| Rec::view(data).ripas.next = done);
        Ok(Reply::with(Status::Success, [done]))
    }

    /// Changes entries of the table at the end of a walk to `base`, up to `top`, as `change` says that sees
    /// each and its IPAs. Returns the IPA of the first that is as it was.
    ///
    /// # Errors
    ///
    /// ERROR_RTT if `base` is not where an entry starts, or if that entry goes beyond `top` or cannot
    /// be changed.
    fn change_ripas(
        &self,
        stage2: &Stage2,
        walk: &mut Walk<'_>,
        base: u64,
        top: u64,
        mut change: impl FnMut(Entry, Range<u64>) -> Change,
    ) -> Result<u64, Failure> {
        let (first, level) = (walk.index, walk.level);
        let size = block_size(level);
        if !stage2.is_block(base, level) {
            return Err(Failure::rtt(level));
        }
        let mut done = base;
        // The IPAs that may be in a TLB though their entry is no longer valid.
        let mut cached = None;
        self.with_table(walk, |table| {
            for index in first..ENTRIES {
                let next = done.saturating_add(size);
                if next > top {
                    break;
                }
                let entry = table.get(index);
                match change(entry, done..next) {
                    Change::None => {}
                    Change::To(changed) => {
                        table.set(index, changed);
                        if entry.is_valid_leaf() {
                            cached = Some(span(cached.take(), done..next));
                        }
                    }
                    Change::Refused => break,
                }
                done = next;
            }
        });
        if let Some(ipas) = cached {
            self.platform.invalidate_stage2(stage2.vmid, ipas);
        }
        if done == base {
            return Err(Failure::rtt(level));
        }
        Ok(done)
    }
}

/// What may become of an IPA whose RIPAS is DESTROYED.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Destroyed {
    /// It stays, since the realm has not allowed for anything else: RMI 1.0.
    Kept,
    /// The same, but for EMPTY: RMI 2.0.
    EmptyOnly,
    /// Whatever is asked for.
    Any,
}

/// What becomes of an entry that is to have `ripas`.
fn change(entry: Entry, ripas: Ripas, destroyed: Destroyed) -> Change {
    if !matches!(entry, Entry::Unassigned(_) | Entry::Assigned(..)) {
        return Change::Refused;
    }
    match (entry.ripas(), ripas) {
        (Some(now), wanted) if now == wanted => Change::None,
        (Some(Ripas::Destroyed), _) if destroyed == Destroyed::Kept => Change::Refused,
        (Some(Ripas::Destroyed), Ripas::Ram) if destroyed == Destroyed::EmptyOnly => {
            Change::Refused
        }
        _ => Change::To(entry.with_ripas(ripas)),
    }
}
