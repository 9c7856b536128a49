// SPDX-License-Identifier: GPL-2.0

//! The way to the RMM: for the host as a whole, and on behalf of one realm.

use crate::{
    rmi::{
        cmd::realm::RdName,
        Conduit,
        Counts,
        Dialect,
        Fid,
        GranuleRange,
        Pages,
        Regs,
        Undelegated, //
    },
    sys::{
        memory,
        prelude::*,
        sched,
        smc::Smc,
        sync::atomic::{AtomicU64, Ordering}, //
    }, //
};

/// The SMC instruction, what went that way, and what is known of who is at its end.
#[derive(Debug)]
pub struct HostSmc {
    smc: Smc,
    counts: Counts,
    dialect: Dialect,
}

impl HostSmc {
    /// Nothing was called yet.
    pub fn new(smc: Smc) -> Self {
        Self {
            smc,
            counts: Counts::new(),
            dialect: Dialect::new(),
        }
    }

    /// What went this way so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Conduit for HostSmc {
    fn smc(&self, args: &Regs) -> Regs {
        self.smc.call(args, || 0)
    }

    fn pause(&self) {
        sched::cond_resched();
    }

    fn wait(&self) {
        sched::sleep_1ms();
    }

    fn dialect(&self) -> &Dialect {
        &self.dialect
    }

    fn count(&self, note: impl Fn(&Counts)) {
        note(&self.counts);
    }
}

/// What may happen between two calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pause {
    /// Others may run.
    Resched,
    /// Nothing: a spinning lock is held.
    Never,
}

/// The SMC instruction on behalf of one realm, which has counters of its own.
pub struct RealmSmc<'a> {
    /// The host's.
    pub smc: &'a HostSmc,
    /// The realm's counters.
    pub counts: &'a Counts,
    /// The realm's name, from when it has one.
    pub name: &'a SetOnce<RdName>,
    /// What may happen between two calls.
    pub pause: Pause,
    /// The realm's patience.
    pub patience: &'a Patience,
    /// Who knows what is bad of it.
    pub watch: &'a dyn Watch,
}

/// Who keeps the RMM from memory of a realm's that is bad.
pub trait Watch {
    /// See [`Conduit::may_ask`]. Without `may_sleep` a spinning lock is held.
    fn may_ask(&self, fid: Fid, args: &[u64], may_sleep: bool) -> bool;
}

/// Which commands a realm has waited for in vain: a bit for each. Two that have the same one, of which there
/// are some, share their patience.
#[derive(Debug, Default)]
pub struct Patience(AtomicU64);

impl Patience {
    fn bit(fid: Fid) -> u64 {
        1 << (fid.raw() % u64::BITS)
    }

    /// See [`Conduit::is_patient`]. What one CPU finds out another may not know yet, and finds out as well.
    pub fn has(&self, fid: Fid) -> bool {
        self.0.load(Ordering::Relaxed) & Self::bit(fid) == 0
    }

    /// See [`Conduit::set_patience`].
    pub fn set(&self, fid: Fid, patient: bool) {
        match patient {
            true => self.0.fetch_and(!Self::bit(fid), Ordering::Relaxed),
            false => self.0.fetch_or(Self::bit(fid), Ordering::Relaxed),
        };
    }
}

/// A realm as events and the log have it: the address of its RD, or 0.
pub fn rd(name: &SetOnce<RdName>) -> u64 {
    name.copy().map_or(0, RdName::raw)
}

impl Conduit for RealmSmc<'_> {
    fn smc(&self, args: &Regs) -> Regs {
        self.smc.smc.call(args, || rd(self.name))
    }

    fn pause(&self) {
        match self.pause {
            Pause::Resched => self.smc.pause(),
            Pause::Never => {}
        }
    }

    fn wait(&self) {
        self.smc.wait();
    }

    fn may_wait(&self) -> bool {
        self.pause == Pause::Resched
    }

    fn is_patient(&self, fid: Fid) -> bool {
        self.patience.has(fid)
    }

    fn set_patience(&self, fid: Fid, patient: bool) {
        self.patience.set(fid, patient);
    }

    fn may_ask(&self, fid: Fid, args: &[u64]) -> bool {
        self.watch.may_ask(fid, args, self.may_wait())
    }

    fn dialect(&self) -> &Dialect {
        &self.smc.dialect
    }

    fn count(&self, note: impl Fn(&Counts)) {
        note(&self.smc.counts);
        note(self.counts);
    }
}

/// The kernel's page allocator, as stateful operations borrow from it.
pub struct HostPages;

impl Pages for HostPages {
    fn alloc(&self, order: u32) -> Option<GranuleRange<Undelegated>> {
        memory::alloc(order).ok()
    }

    fn free(&self, granules: GranuleRange<Undelegated>) {
        memory::put(granules);
    }
}
