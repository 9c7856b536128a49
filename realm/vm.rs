// SPDX-License-Identifier: GPL-2.0

//! A VM that is a realm, or is to become one.
//!
//! # Locks
//!
//! In the order in which they are taken:
//!
//! 1. `vcpu->mutex`, by whoever runs a vCPU or calls an ioctl on it. Nobody waits for a second one: a
//!    first KVM_RUN tries all the others, see [`crate::sys::all_vcpus`].
//! 2. `kvm->slots_lock`, which keeps the memory slots as they are. A signal ends the wait for it.
//! 3. The list of those who wait for a first run, in [`crate::sys::all_vcpus`].
//! 4. [`Vm::lifecycle`]: the states of the realm. Held while one becomes the next, and for a part of a
//!    populate at a time; nothing of user space is waited for meanwhile.
//! 5. One of [`Vm::places`]: faults in the same few pages are served one after the other.
//! 6. One of [`Vm::making`]: a table is made or folded by one task at a time, others meanwhile by others.
//! 7. `kvm->mmu_lock`: faults hold it for reading while they map, and look first whether what they
//!    are about to map has been invalidated meanwhile; unmapping of shared memory holds it for
//!    writing. Which tables there are changes under it: a table is made while it is held for reading
//!    and folded while it is held for writing. So who holds it for writing knows exactly which there
//!    are; who holds it for reading knows that those that there are stay, and may find one more.
//!    One hold is over after as many commands as a table has entries (`COMMANDS` in `mmu/`) and as many
//!    granules, or after one command that unmaps; MMU notifiers that must not block get all of theirs
//!    done in one.
//!
//! [`Vm::table_cache`], [`Vm::objects`], the host's [list of realms](Host::realms) and [VMIDs](Host::vmids) come
//! last; nothing is taken while one of them is held, and none is waited for where `mmu_lock` is held. Nothing is
//! asked of the RMM under them, and but for the pages of a list nothing allocated: all vCPUs take them, and
//! hold them for a moment. [`Vm::objects`] is taken before each command by whoever finds that more of the host's
//! memory is known to be bad ([`Vm::look`]), and tried only where `mmu_lock` is held.
//!
//! [`Vm::parting`], by whoever takes private memory out, comes after what KVM holds then (`slots_lock`, or
//! the file's invalidation lock), with `mmu_lock` dropped, and before [`Vm::making`], which splitting a block
//! takes. Whoever brings memory in takes the file's lock for reading, for a moment, after [`Vm::places`] or
//! [`Vm::lifecycle`].

use super::{
    bad::Bad,
    bitmap::Bitmap,
    blocks::Blocks,
    chunk::{block_of, chunk_of, CHUNK},
    dump::Objects,
    host::{self, report, Host},
    lock_set::LockSet,
    shape::{Choice, Shape},
    smc::{rd, HostPages, Patience, Pause, RealmSmc},
    table_cache::TableCache,
    table_map::{MissingTable, TableMap},
    tables::Tables,
    Layout, Realm,
};
use crate::{
    rmi::{
        cmd::{
            data::Pieces,
            realm::{RdName, RealmGranules},
        },
        Counts, Delegated, Fid, GranuleRange, IpaSpace, Pending, Rmi, BLOCKED_TRIES, GRANULE_SIZE,
    },
    sys::{
        debugfs::Dir,
        kvm::Kvm,
        memory::{self, Page},
        platform,
        prelude::*,
        sync::{
            atomic::{AtomicBool, AtomicU32, Ordering},
            MutexGuard, //
        }, //
    }, //
};

/// The realm, and what it takes to lead it from one state to the next.
pub struct Lifecycle {
    /// The realm.
    pub realm: Realm,
    /// A page for lists.
    pub list: Page,
    /// What it was made with, from when it is New.
    pub shape: Option<Shape>,
    /// What it is made with that its VMM may choose.
    pub choice: Choice,
}

/// A VM.
pub struct Vm {
    /// What all VMs have.
    pub host: Arc<Host>,
    /// The VM to KVM.
    pub kvm: Kvm,
    /// Its IPA space.
    pub space: IpaSpace,
    /// Where the starting tables are, and how many.
    pub layout: Layout,
    /// What this realm had done and has.
    pub counts: Counts,
    /// The realm's name, from when it is New.
    pub name: SetOnce<RdName>,
    /// The tables below the starting ones.
    pub tables: TableMap,
    /// Notes of private granules, see `notes.rs`. They are added under `mmu_lock` for
    /// reading and the lock of their place (or `lifecycle`, before a vCPU can run), and struck out under
    /// [`Vm::parting`].
    pub pages: Bitmap,
    /// Notes of shared granules. They are added under `mmu_lock` for reading and struck out under it for
    /// writing.
    pub shared: Bitmap,
    /// The realm.
    pub lifecycle: Mutex<Lifecycle>,
    /// What the RMM has for it, as crash kernels find it, from when it is New.
    pub objects: Objects,
    /// Granules that were tables and can be again.
    pub table_cache: Mutex<TableCache>,
    /// The tables that are set aside for blocks of private memory.
    pub blocks: Blocks,
    /// Faults bring in more than a chunk: it was asked for when the VM was made. That decides what has a
    /// lock to itself, and so it stays.
    pub wide: bool,
    /// Locks for faults in the same few pages, see [`Self::lock_place`].
    places: LockSet,
    /// Locks for tables, see [`Self::lock_table`].
    making: LockSet,
    /// By whoever takes private memory out, with a page for lists.
    pub parting: Mutex<Page>,
    /// vCPUs that a REC was made for.
    pub recs: AtomicU32,
    /// Its files in debugfs, which have it as well until KVM destroys the VM. The lock is taken alone.
    pub files: Mutex<Option<Dir<Vm>>>,
    /// Whether memory attributes count, from when the realm is made: see `halves.rs`.
    pub(super) attributes: AtomicU32,
    /// Its memory has been taken back, as far as the RMM gives it.
    flushed: AtomicBool,
    /// How long it waits for the RMM.
    patience: Patience,
    /// What is bad of what the RMM has for it.
    pub bad: Bad,
    /// See [`Vm::kill`].
    killed: AtomicBool,
}

impl Vm {
    /// A VM with an IPA space of `ipa_bits`.
    ///
    /// # Errors
    ///
    /// `EINVAL` if no realm can have such an IPA space, `ENOMEM`.
    pub fn new(host: Arc<Host>, kvm: Kvm, ipa_bits: u32) -> Result<Arc<Self>> {
        let space = IpaSpace::new(ipa_bits).ok_or(EINVAL)?;
        let lifecycle = Lifecycle {
            realm: Realm::None,
            list: Page::new()?,
            shape: None,
            choice: Choice::new(&host.negotiated.features),
        };
        let vm = Self {
            host,
            kvm,
            space,
            layout: Layout::of(space),
            counts: Counts::new(),
            name: SetOnce::new(),
            tables: TableMap::new()?,
            pages: Bitmap::new()?,
            shared: Bitmap::new()?,
            lifecycle: mutex!(lifecycle, "kvm_arm_rmi::lifecycle")?,
            objects: Objects::new()?,
            table_cache: mutex!(TableCache::default(), "kvm_arm_rmi::table_cache")?,
            blocks: Blocks::new()?,
            wide: u64::from(platform::fault_around()) > CHUNK * GRANULE_SIZE,
            places: LockSet::new(|| mutex!((), "kvm_arm_rmi::place"))?,
            making: LockSet::new(|| mutex!((), "kvm_arm_rmi::making"))?,
            parting: mutex!(Page::new()?, "kvm_arm_rmi::parting")?,
            recs: AtomicU32::new(0),
            files: mutex!(None, "kvm_arm_rmi::files")?,
            attributes: AtomicU32::new(0),
            flushed: AtomicBool::new(false),
            patience: Patience::default(),
            bad: Bad::new(),
            killed: AtomicBool::new(false),
        };
        let vm = Arc::new(vm, GFP_KERNEL_ACCOUNT)?;
        Ok(vm)
    }

    /// The way to the RMM for this realm.
    pub fn rmi(&self, pause: Pause) -> Rmi<RealmSmc<'_>> {
        Rmi::new(RealmSmc {
            smc: self.host.rmi.conduit(),
            counts: &self.counts,
            name: &self.name,
            pause,
            patience: &self.patience,
            watch: self,
        })
    }

    /// A command was BLOCKED under a lock, `tries` times in a row. True if it may be tried again after a
    /// while, without the lock.
    pub fn may_try_again(&self, fid: Fid, tries: u32) -> bool {
        if tries >= BLOCKED_TRIES {
            self.patience.set(fid, false);
        }
        self.patience.has(fid)
    }

    /// The tables.
    pub fn tables(&self) -> Tables<'_> {
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
    pub fn name(&self) -> Result<RdName> {
        self.name.copy().ok_or(EIO)
    }

    /// Takes the lock for the chunk that granule `gfn` is in, or for its block where faults may bring in
    /// more than a chunk.
    pub fn lock_place(&self, gfn: u64) -> MutexGuard<'_, ()> {
        self.places.lock(match self.wide {
            true => block_of(gfn),
            false => chunk_of(gfn),
        })
    }

    /// Takes the lock under which a table is made or folded.
    pub fn lock_table(&self, table: MissingTable) -> MutexGuard<'_, ()> {
        self.making.lock(table.number())
    }

    /// The address of the RD, or 0: what events and the log call the realm.
    pub fn rd(&self) -> u64 {
        rd(&self.name)
    }

    /// Allocates `1 << order` granules and delegates them.
    ///
    /// # Errors
    ///
    /// `ENOMEM`, or what [`errno`] makes of the RMM's answer. Either way nothing is kept.
    pub fn alloc_delegated(&self, order: u32) -> Result<GranuleRange<Delegated>> {
        host::alloc_delegated(&self.rmi(Pause::Resched), order)
    }

    /// Takes granules back that came from [`Self::alloc_delegated`]. What the RMM keeps is leaked.
    pub fn free(&self, granules: GranuleRange<Delegated>) {
        self.objects.remove(&granules);
        // It is in the log, and there is nobody to tell.
        let _ = host::undelegate(&self.rmi(Pause::Resched), granules);
    }

    /// What a realm was made of is free again, and so is its VMID.
    pub fn free_realm(&self, granules: RealmGranules) {
        let RealmGranules { rd, roots, vmid } = granules;
        self.host.vmids.lock().give(vmid);
        match rd.merge(roots) {
            Ok(both) => self.free(both),
            Err((rd, roots)) => {
                self.free(rd);
                self.free(roots);
            }
        }
    }

    /// Takes pages of guest_memfd back. What the RMM keeps is leaked, and the realm with it: its file
    /// would offer such a page again. Returns whether it keeps none.
    pub fn give_back(&self, pages: GranuleRange<Delegated>) -> bool {
        let undelegated = host::undelegate(&self.rmi(Pause::Resched), pages);
        if let Err(error) = &undelegated {
            self.kill(fmt!("the RMM keeps a page of its: {error}"));
        }
        undelegated.is_ok()
    }

    /// Takes pages of guest_memfd back that the RMM has unmapped. Their file has them still: it gives them
    /// up when those return who ask for them here. Until then they are nobody else's, and so they get the
    /// references that those had which were mapped. Returns whether all of them are the host's.
    pub fn take_back(&self, pages: GranuleRange<Delegated>) -> bool {
        if memory::take_from_file(pages.range()) {
            return self.give_back(pages);
        }
        self.kill(fmt!("the RMM gives back what was not its"));
        pages.leak(&self.rmi(Pause::Resched));
        false
    }

    /// As [`Self::give_back`], for pages in pieces.
    pub fn put_pieces(&self, pieces: &mut Pieces) {
        while let Some(piece) = pieces.pop() {
            self.give_back(piece);
        }
    }

    /// The realm is beyond help: none of its vCPUs runs any more, and `KVM_RUN` says `EIO`. The log
    /// has the first reason.
    pub fn kill(&self, why: fmt::Arguments<'_>) {
        self.log_death(why);
        self.kvm.kill();
    }

    /// True if the realm is beyond help.
    pub fn is_dead(&self) -> bool {
        self.killed.load(Ordering::Relaxed)
    }

    /// The log says why the realm is dead, once. Its state keeps it from being used.
    pub fn log_death(&self, why: fmt::Arguments<'_>) {
        if !self.killed.swap(true, Ordering::Relaxed) {
            pr_err!("realm {:#x} is dead: {}\n", self.rd(), why);
        }
    }

    /// No vCPU will run any more: the realm is Dying from now on. `None` if that was so before; false if
    /// the RMM does not terminate it, so that it has what is shared still. Then it may be tried again.
    pub fn terminate(&self) -> Option<bool> {
        if self.flushed.load(Ordering::Relaxed) {
            return None;
        }
        let mut lifecycle = self.lifecycle.lock();
        let Lifecycle { realm, list, .. } = &mut *lifecycle;
        let rmi = self.rmi(Pause::Resched);
        let told = realm.terminate(&rmi, (&HostPages, list));
        if told.is_err() {
            // It has to be kept from the host's memory in another way.
            self.kill(fmt!("it cannot be terminated"));
        }
        self.flushed.store(told.is_ok(), Ordering::Relaxed);
        Some(told == Ok(true))
    }

    /// Removes its files from debugfs. Nobody reads them when this returns.
    pub fn remove_files(&self) {
        let _files = self.files.lock().take();
    }

    /// The VM goes away; its vCPUs are gone, and so is what it has mapped.
    pub fn destroy(&self) {
        // Before what it lists, so that nobody looks for that in a list that may be long.
        self.objects.end(&self.host.realms);
        let mut spares = Pending::new(|spares| self.free(spares));
        while let Some(spare) = self.table_cache.lock().take() {
            spares.add(spare);
        }
        self.blocks.take_all().for_each(|table| spares.add(table));
        drop(spares);
        let mut lifecycle = self.lifecycle.lock();
        let Lifecycle { realm, list, .. } = &mut *lifecycle;
        let rmi = self.rmi(Pause::Resched);
        let Some(name) = realm.name() else { return };
        let gone = super::destroy_tables(&rmi, name, &self.tables(), |table| {
            self.free(table);
        });
        if let Err(error) = gone {
            report(error);
        }
        match realm.destroy(&rmi, (&HostPages, list)) {
            Ok(granules) => granules
                .into_iter()
                .for_each(|granules| self.free_realm(granules)),
            Err(_) => {
                pr_err_once!("a realm cannot be destroyed; its memory is lost\n");
                realm.abandon(&rmi);
            }
        }
        rmi.write_off(&self.counts);
    }
}
