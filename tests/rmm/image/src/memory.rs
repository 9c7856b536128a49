// SPDX-License-Identifier: GPL-2.0

//! The RMM's view of physical memory.
//!
//! Besides its own image, the RMM has each granule of memory mapped twice for good: in the window
//! of the Realm physical address space and in that of the Non-secure one. Only one of them works at
//! a time, since the GPT stops the other. Its own memory is in neither.

use core::ptr;

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr, GRANULE_SIZE};
use rmm::el3::Manifest;
use rmm::granule::{Delegated, Held, Locked, Undelegated};
use rmm::platform::{GranuleData, GRANULE_WORDS};
use rmm::stage1::{MapError, Mapper, Memory, Table};

use crate::{arch, layout};

/// Tables for the windows. The machine at hand needs eight.
const POOL_TABLES: usize = 32;

static mut POOL: [Table; POOL_TABLES] = [Table::EMPTY; POOL_TABLES];

extern "C" {
    /// The level 1 table, in `entry.S`.
    static mut rmm_root_table: Table;
}

/// The RMM's own memory, the page shared with EL3 included.
pub(crate) fn own() -> Option<AddrRange> {
    let top = layout::BASE + layout::SIZE;
    AddrRange::new(PhysAddr::new(layout::BASE), PhysAddr::new(top))
}

/// The RMM's address space, at boot.
pub(crate) struct AddressSpace {
    mapper: Mapper<'static>,
}

impl AddressSpace {
    /// Takes charge of the translation tables.
    ///
    /// # Safety
    ///
    /// To be called once, on the first CPU, before any other boots.
    pub(crate) unsafe fn new() -> Self {
        let (root, pool) = (&raw mut rmm_root_table, &raw mut POOL);
        let pool_pa = PhysAddr::new(pool.addr() as u64);
        // SAFETY: these are the only references to the two, because this function is called once.
        // Table walkers read the tables as the mapper extends them; it writes whole descriptors.
        let (root, pool) = unsafe { (&mut *root, &mut *pool) };
        Self {
            mapper: Mapper::new(root, pool, pool_pa),
        }
    }

    /// Maps the page shared with EL3, and reads it.
    pub(crate) fn read_shared(&mut self, pa: PhysAddr) -> Result<GranuleData, MapError> {
        let page = pa
            .raw()
            .checked_add(GRANULE_SIZE)
            .filter(|top| *top <= layout::RAM_LIMIT)
            .and_then(|top| AddrRange::new(pa, PhysAddr::new(top)))
            .ok_or(MapError::Occupied)?;
        self.map(page, layout::REALM_WINDOW, Memory::Realm)?;

        let mut data = [0; GRANULE_WORDS];
        // SAFETY: just mapped, and EL3 does not write to it while the RMM boots.
        unsafe { read(window(pa, layout::REALM_WINDOW), &mut data) };
        Ok(data)
    }

    /// Maps the memory and the console of the manifest. Returns where the console's registers are.
    pub(crate) fn map_manifest(&mut self, manifest: &Manifest) -> Result<Option<usize>, MapError> {
        for range in manifest.ram.banks().flat_map(around_own).flatten() {
            self.map(range, layout::REALM_WINDOW, Memory::Realm)?;
            self.map(range, layout::NS_WINDOW, Memory::NonSecure)?;
        }
        let Some(console) = manifest.console else {
            return Ok(None);
        };
        self.map(console.registers, layout::DEVICE_WINDOW, Memory::Device)?;
        Ok(Some(
            window(console.registers.base(), layout::DEVICE_WINDOW).addr(),
        ))
    }

    fn map(&mut self, range: AddrRange, offset: u64, memory: Memory) -> Result<(), MapError> {
        self.mapper.map(range, offset, memory)?;
        arch::complete_writes();
        Ok(())
    }
}

/// What of `bank` lies below and above the RMM's own memory.
fn around_own(bank: AddrRange) -> [Option<AddrRange>; 2] {
    let Some(own) = own() else {
        return [None, None];
    };
    [
        AddrRange::new(bank.base(), bank.top().min(own.base())),
        AddrRange::new(bank.base().max(own.top()), bank.top()),
    ]
}

/// The windows, once they are mapped: access to the granules that a handler holds.
pub(crate) struct Windows(());

impl Windows {
    /// Access through the windows.
    ///
    /// # Safety
    ///
    /// There is one table of granules, the RMM's own memory is reserved in it, and the windows are
    /// mapped for the rest.
    pub(crate) const unsafe fn new() -> Self {
        Self(())
    }

    /// Fills a granule with zeroes.
    pub(crate) fn scrub(&self, granule: &Locked<'_, Delegated>) {
        let words = window(granule.pa(), layout::REALM_WINDOW);
        // SAFETY: the granule is memory, mapped, in the Realm address space, and nobody else uses
        // it: the token says so.
        unsafe { ptr::write_bytes(words, 0, GRANULE_WORDS) };
        arch::complete_writes();
    }

    /// Runs `f` on the contents of a granule.
    pub(crate) fn with<G: Held, R>(
        &self,
        granule: &mut G,
        f: impl FnOnce(&mut GranuleData) -> R,
    ) -> R {
        let data = window(granule.pa(), layout::REALM_WINDOW).cast::<GranuleData>();
        // SAFETY: the granule is memory, mapped, in the Realm address space. The token says that no
        // other CPU accesses it, and this one has lent the token to us. Table walkers may read it at
        // any time, and do not mind that words change one by one.
        let result = f(unsafe { &mut *data });
        arch::complete_writes();
        result
    }

    /// Reads words of a granule from number `first` on.
    pub(crate) fn read(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &mut [u64]) {
        let from = part(first, words.len(), granule);
        // SAFETY: the granule is memory, mapped, and stays in the Non-secure address space while it
        // is held: the token says so.
        unsafe { read(from, words) };
    }

    /// Writes words of a granule from number `first` on.
    pub(crate) fn write(&self, granule: &Locked<'_, Undelegated>, first: usize, words: &[u64]) {
        let to = part(first, words.len(), granule);
        for (n, word) in words.iter().enumerate() {
            // SAFETY: as for `read`; volatile, because the host may access it at the same time.
            unsafe { to.add(n).write_volatile(*word) };
        }
    }
}

/// Word `first` of a granule of the host's, from where there are `count` words in it.
fn part(first: usize, count: usize, granule: &Locked<'_, Undelegated>) -> *mut u64 {
    assert!(first <= GRANULE_WORDS && count <= GRANULE_WORDS - first);
    window(granule.pa(), layout::NS_WINDOW).wrapping_add(first)
}

/// The granule at `pa` in the Realm physical address space, if it is memory.
pub(crate) fn realm_granule(pa: PhysAddr) -> *mut u64 {
    window(pa, layout::REALM_WINDOW)
}

/// The first word of the granule at `pa`, as seen through the window at `offset`.
fn window(pa: PhysAddr, offset: u64) -> *mut u64 {
    ptr::with_exposed_provenance_mut((pa.raw() + offset) as usize)
}

/// Reads words, each of them once, whoever may write to them meanwhile.
///
/// # Safety
///
/// `from` is mapped for as many words as `to` holds, and the GPT lets the RMM read them.
unsafe fn read(from: *const u64, to: &mut [u64]) {
    for (n, word) in to.iter_mut().enumerate() {
        // SAFETY: in bounds, as the caller says.
        *word = unsafe { from.add(n).read_volatile() };
    }
}
