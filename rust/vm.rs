// SPDX-License-Identifier: GPL-2.0

//! A VM that is a realm, or is to become one.
//!
//! # Locks
//!
//! In the order in which they are taken:
//!
//! 1. `vcpu->mutex`, by whoever runs a vCPU or calls an ioctl on it. Nobody waits for a second one:
//!    a first KVM_RUN tries all the others, see [`crate::create::activate`].
//! 2. `kvm->slots_lock`, which keeps the memory slots as they are. A signal ends the wait for it.
//! 3. [`Vm::life`]: the states of the realm. Held while one becomes the next, and for a part of a
//!    populate at a time; nothing of user space is waited for meanwhile.
//! 4. One of [`Vm::chunks`]: faults in the same few pages are served one after the other.
//! 5. [`Vm::making`]: one table at a time is made or folded.
//! 6. `kvm->mmu_lock`: faults hold it for reading while they map, and look first whether what they
//!    are about to map has been invalidated meanwhile; unmapping of shared memory holds it for
//!    writing. Which tables there are changes under it: a table is made while it is held for reading
//!    and folded while it is held for writing. So who holds it for writing knows exactly which there
//!    are; who holds it for reading knows that those that there are stay, and may find one more.
//!    One hold is over after [`COMMANDS`](crate::mmu::COMMANDS) at most and as many granules, or
//!    after one command that unmaps; MMU notifiers that must not block get all of theirs done in one.
//!
//! [`Vm::parting`], by whoever takes private memory out, comes after what KVM holds then (`slots_lock`, or
//! a lock of the file's), with `mmu_lock` dropped; nothing is taken while it is held.

use crate::{
    chunks::Chunks,
    create::Shape,
    ffi,
    host::{errno, Host},
    memory::{self, HostPages, RmmBuffer},
    mmu::{MissingTable, TableSet, Tables},
    realm::{Layout, Realm, State},
    rmi::{
        cmd::{
            data::Pieces,
            realm::{RdName, RealmGranules},
        },
        Counts, Delegated, GranuleRange, IpaSpace, Rmi,
    },
    smccc::{Pause, RealmSmc},
    status::VmFiles,
    views::MmuReadLock,
    words::Words, //
};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use kernel::{
    bindings,
    fmt,
    new_mutex,
    pr_err_once,
    prelude::*,
    sync::{
        Arc,
        Mutex,
        SetOnce, //
    }, //
};

/// Locks for chunks: enough that vCPUs seldom meet.
const CHUNK_LOCKS: usize = 16;

/// The realm, and a page for lists while something is done with it as a whole.
pub(crate) struct Life {
    pub(crate) realm: Realm,
    pub(crate) list: RmmBuffer,
    /// What it was made with, from when it is New.
    pub(crate) shape: Option<Shape>,
    /// vCPUs whose tasks are in [`crate::create::activate`]: they hold `vcpu->mutex`, and do
    /// nothing with the vCPU.
    pub(crate) first_runs: u32,
}

/// Delegated granules that are kept for the next tables.
#[derive(Default)]
pub(crate) struct Spares([Option<GranuleRange<Delegated>>; 8]);

impl Spares {
    /// Keeps a granule, or gives it back where there are enough.
    pub(crate) fn keep(
        &mut self,
        granule: GranuleRange<Delegated>,
    ) -> Option<GranuleRange<Delegated>> {
        match self.0.iter_mut().find(|spare| spare.is_none()) {
            Some(spare) => {
                *spare = Some(granule);
                None
            }
            None => Some(granule),
        }
    }

    /// Takes one.
    fn take(&mut self) -> Option<GranuleRange<Delegated>> {
        self.0.iter_mut().find_map(Option::take)
    }
}

/// A VM.
#[pin_data]
pub(crate) struct Vm {
    pub(crate) host: Arc<Host>,
    /// The VM to KVM. It outlives this.
    pub(crate) kvm: *mut bindings::kvm,
    pub(crate) space: IpaSpace,
    /// Where the starting tables are, and how many.
    pub(crate) layout: Layout,
    /// What this realm had done and has.
    pub(crate) counts: Counts,
    /// The realm's name, from when it is New.
    pub(crate) name: SetOnce<RdName>,
    /// The tables below the starting ones.
    #[pin]
    pub(crate) tables: Words,
    /// Notes of private granules, see [`PageSet`](crate::guest_memfd::PageSet). They are added under
    /// `mmu_lock` for reading and the lock of their chunk (or `life`, before a vCPU can run), and struck
    /// out under [`Vm::parting`].
    #[pin]
    pub(crate) pages: Chunks,
    /// Notes of shared granules. They are added under `mmu_lock` for reading and struck out under it for
    /// writing.
    #[pin]
    pub(crate) shared: Chunks,
    #[pin]
    pub(crate) life: Mutex<Life>,
    /// Granules that were tables and can be again.
    #[pin]
    pub(crate) making: Mutex<Spares>,
    pub(crate) chunks: KVec<Pin<KBox<Mutex<()>>>>,
    /// By whoever takes private memory out, with a page for lists.
    #[pin]
    pub(crate) parting: Mutex<RmmBuffer>,
    /// vCPUs that have a REC.
    pub(crate) recs: AtomicU32,
    /// Its files in debugfs, which have it as well until KVM destroys the VM. The lock is taken alone.
    #[pin]
    pub(crate) files: Mutex<Option<VmFiles>>,
    /// Its memory has been taken back; nothing is mapped any more.
    flushed: AtomicBool,
    /// See [`Vm::kill`].
    killed: AtomicBool,
}

// SAFETY: `kvm` is only handed to functions of KVM that any task may call; the rest can be sent.
unsafe impl Send for Vm {}
// SAFETY: As above.
unsafe impl Sync for Vm {}

impl Vm {
    /// A VM with an IPA space of `ipa_bits`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no realm can have such an IPA space, `ENOMEM`.
    pub(crate) fn new(
        host: Arc<Host>,
        kvm: *mut bindings::kvm,
        ipa_bits: u32,
    ) -> Result<Arc<Self>> {
        let space = IpaSpace::new(ipa_bits).ok_or(EINVAL)?;
        let layout = Layout::of(space);
        let mut chunks = KVec::with_capacity(CHUNK_LOCKS, GFP_KERNEL_ACCOUNT)?;
        for _ in 0..CHUNK_LOCKS {
            let lock = KBox::pin_init(new_mutex!((), "kvm_arm_rmi::chunk"), GFP_KERNEL_ACCOUNT)?;
            chunks.push(lock, GFP_KERNEL_ACCOUNT)?;
        }
        let life = Life {
            realm: Realm::None,
            list: RmmBuffer::new()?,
            shape: None,
            first_runs: 0,
        };
        let list = RmmBuffer::new()?;
        Arc::try_pin_init(
            try_pin_init!(Self {
                host,
                kvm,
                space,
                layout,
                counts: Counts::new(),
                name: SetOnce::new(),
                tables <- Words::new(),
                pages <- Chunks::new(),
                shared <- Chunks::new(),
                life <- new_mutex!(life, "kvm_arm_rmi::life"),
                making <- new_mutex!(Spares::default(), "kvm_arm_rmi::making"),
                chunks,
                parting <- new_mutex!(list, "kvm_arm_rmi::parting"),
                recs: AtomicU32::new(0),
                files <- new_mutex!(None, "kvm_arm_rmi::files"),
                flushed: AtomicBool::new(false),
                killed: AtomicBool::new(false),
            }? Error),
            GFP_KERNEL_ACCOUNT,
        )
    }

    /// The way to the RMM for this realm.
    pub(crate) fn rmi(&self, pause: Pause) -> Rmi<RealmSmc<'_>> {
        Rmi::new(RealmSmc {
            smc: self.host.rmi.conduit(),
            counts: &self.counts,
            name: &self.name,
            pause,
        })
    }

    /// The tables.
    pub(crate) fn tables(&self) -> Tables<'_, Words> {
        Tables {
            set: &self.tables,
            start: self.layout.start,
        }
    }

    /// The realm's name.
    ///
    /// # Errors
    ///
    /// `EIO` if there is no realm.
    pub(crate) fn name(&self) -> Result<RdName> {
        self.name.copy().ok_or(EIO)
    }

    /// The lock for a chunk.
    pub(crate) fn chunk_lock(&self, chunk: u64) -> &Mutex<()> {
        // CAST: The remainder is small. There are as many locks as in `new()`.
        &self.chunks[chunk as usize % CHUNK_LOCKS]
    }

    /// Allocates `1 << order` granules and delegates them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what [`errno`] makes of the RMM's answer. Either way nothing is kept.
    pub(crate) fn alloc_delegated(&self, order: u32) -> Result<GranuleRange<Delegated>> {
        let moved = memory::alloc(order)?.delegate(&self.rmi(Pause::Resched));
        if let Some(rest) = moved.rest {
            memory::free(rest);
        }
        match (moved.done, moved.error) {
            (Some(granules), None) => Ok(granules),
            (done, error) => {
                done.into_iter().for_each(|granules| self.free(granules));
                Err(error.map_or(EIO, errno))
            }
        }
    }

    /// Takes granules back that came from [`Self::alloc_delegated`]. What the RMM keeps is leaked.
    pub(crate) fn free(&self, granules: GranuleRange<Delegated>) {
        if let Err(error) = self.undelegate(granules, memory::free) {
            report(error);
        }
    }

    /// Takes pages of guest_memfd back. What the RMM keeps is leaked, and the realm with it: its file
    /// would offer such a page again.
    pub(crate) fn give_back(&self, pages: GranuleRange<Delegated>) {
        if let Err(error) = self.undelegate(pages, memory::put) {
            report(error);
            self.kill(fmt!("the RMM keeps a page of its: {error}"));
        }
    }

    /// As [`Self::give_back`], for pages in pieces.
    pub(crate) fn put_pieces(&self, pieces: &mut Pieces) {
        while let Some(piece) = pieces.pop() {
            self.give_back(piece);
        }
    }

    /// Takes granules back and hands them to `give`. What the RMM keeps is leaked.
    ///
    /// # Errors
    ///
    /// It keeps some.
    fn undelegate(
        &self,
        granules: GranuleRange<Delegated>,
        give: impl Fn(GranuleRange<crate::rmi::Undelegated>),
    ) -> Result<(), crate::rmi::Error> {
        let rmi = self.rmi(Pause::Resched);
        let moved = granules.undelegate(&rmi);
        if let Some(done) = moved.done {
            give(done);
        }
        if let Some(rest) = moved.rest {
            rest.leak(&rmi);
        }
        moved.error.map_or(Ok(()), Err)
    }

    /// Makes a table. Another vCPU may have made it meanwhile, which is as good.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what [`errno`] makes of the RMM's answer.
    pub(crate) fn make_table(&self, table: MissingTable) -> Result {
        let name = self.name()?;
        let mut making = self.making.lock();
        if self.tables.has(table) {
            return Ok(());
        }
        let granule = match making.take() {
            Some(spare) => spare,
            None => self.alloc_delegated(0)?,
        };
        // What it takes is there before the lock is, under which nothing can be allocated.
        let (left, result) = match TableSet::reserve(&self.tables, table) {
            true => {
                let _lock = MmuReadLock::new(self.kvm);
                let rmi = self.rmi(Pause::Never);
                match self.tables().create(&rmi, name, table, granule) {
                    Ok(left) => (left, Ok(())),
                    Err(failed) => (failed.granules, Err(errno(failed.error))),
                }
            }
            false => (Some(granule), Err(ENOMEM)),
        };
        let left = left.and_then(|left| making.keep(left));
        left.into_iter().for_each(|left| self.free(left));
        result
    }

    /// The first table at `level` for `ipa` or what follows it.
    pub(crate) fn next_table(&self, level: crate::rmi::RttLevel, ipa: u64) -> Option<MissingTable> {
        self.tables.next_table(level, ipa)
    }

    /// Makes all tables that entries at `level` for `ipa` need.
    ///
    /// # Errors
    ///
    /// As for [`Self::make_table`].
    pub(crate) fn make_tables(&self, ipa: u64, level: crate::rmi::RttLevel) -> Result {
        while let Some(table) = self.tables().missing(ipa, level) {
            self.make_table(table)?;
        }
        Ok(())
    }

    /// The realm is beyond help: none of its vCPUs runs any more, and `KVM_RUN` says `EIO`. The log
    /// has the first reason.
    pub(crate) fn kill(&self, why: fmt::Arguments<'_>) {
        self.log_death(why);
        // SAFETY: The VM is alive as long as `self`.
        unsafe { ffi::kvm_rmi_helper_vm_dead(self.kvm) };
    }

    /// The log says why the realm is dead, once. Its state keeps it from being used.
    pub(crate) fn log_death(&self, why: fmt::Arguments<'_>) {
        if !self.killed.swap(true, Ordering::Relaxed) {
            let rd = self.name.copy().map_or(0, RdName::raw);
            pr_err!("realm {:#x} is dead: {}\n", rd, why);
        }
    }

    /// No vCPU will run any more: takes back what is mapped.
    pub(crate) fn flush(&self) {
        if self.flushed.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut life = self.life.lock();
        let Life { realm, list, .. } = &mut *life;
        let rmi = self.rmi(Pause::Resched);
        if realm.terminate(&rmi, (&HostPages, list)).is_err() {
            // It has to be kept from the host's memory in another way.
            self.kill(fmt!("it cannot be terminated"));
        }
        let terminated = matches!(realm.state(), State::Dying | State::Dead);
        drop(life);
        crate::unmap::all(self, !terminated);
    }

    /// Removes its files from debugfs. Nobody reads them when this returns.
    pub(crate) fn remove_files(&self) {
        let _files = self.files.lock().take();
    }

    /// The VM goes away, and its vCPUs are gone.
    pub(crate) fn destroy(&self) {
        self.flush();
        while let Some(spare) = self.making.lock().take() {
            self.free(spare);
        }
        let mut life = self.life.lock();
        let Life { realm, list, .. } = &mut *life;
        let rmi = self.rmi(Pause::Resched);
        let Some(name) = realm.name() else { return };
        let gone = crate::realm::destroy_tables(&rmi, name, &self.tables(), |table| {
            self.free(table);
        });
        if let Err(error) = gone {
            report(error);
        }
        match realm.destroy(&rmi, (&HostPages, list)) {
            Ok(Some(RealmGranules { rd, roots })) => match rd.merge(roots) {
                Ok(both) => self.free(both),
                Err((rd, roots)) => {
                    self.free(rd);
                    self.free(roots);
                }
            },
            Ok(None) => {}
            Err(_) => {
                pr_err_once!("a realm cannot be destroyed; its memory is lost\n");
                realm.abandon(&rmi);
            }
        }
        rmi.write_off(&self.counts);
    }
}

/// Says, once, that the RMM has kept memory.
pub(crate) fn report(error: crate::rmi::Error) {
    pr_err_once!(
        "memory is lost to the realm world, see granules in debugfs: {}\n",
        error
    );
}
