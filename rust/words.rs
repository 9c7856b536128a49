// SPDX-License-Identifier: GPL-2.0

//! Small numbers by large ones: which tables a realm has.
//!
//! The kernel crate's `XArray` owns pointers, and these are plain words.

use crate::{
    mmu::{MissingTable, TableSet},
    rmi::RttLevel, //
};
use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// `XA_FLAGS_ACCOUNT`, a macro with a cast that the bindings do not have: the array's nodes, which the
/// flags of a store do not reach before the first attempt has failed, are charged as well.
pub(crate) const XA_FLAGS_ACCOUNT: bindings::gfp_t = 32;

/// An array of words, most of which are not there.
#[pin_data(PinnedDrop)]
pub(crate) struct Words {
    #[pin]
    xa: Opaque<bindings::xarray>,
}

// SAFETY: An xarray has a lock of its own, and words have no owner.
unsafe impl Send for Words {}
// SAFETY: As above.
unsafe impl Sync for Words {}

impl Words {
    /// An empty array, whose nodes are charged to the memory cgroup of who adds to it.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // SAFETY: `xa` is where the array will stay, and valid for writing.
            xa <- Opaque::ffi_init(|xa| unsafe { bindings::xa_init_flags(xa, XA_FLAGS_ACCOUNT) }),
        })
    }

    /// `xa_mk_value()`: a word as the array has it. Its top bit is lost.
    fn entry(word: u32) -> *mut c_void {
        core::ptr::without_provenance_mut(((word as usize) << 1) | 1)
    }

    /// `xa_to_value()`, and nothing for no entry.
    fn word(entry: *mut c_void) -> Option<u32> {
        // CAST: Words are made of 32 bits.
        (!entry.is_null()).then(|| (entry.addr() >> 1) as u32)
    }

    /// The word at `index`.
    pub(crate) fn get(&self, index: u64) -> Option<u32> {
        // SAFETY: The array is initialised.
        Self::word(unsafe { bindings::xa_load(self.xa.get(), index as c_ulong) })
    }

    /// Stores a word. False if there is no memory for that.
    pub(crate) fn put(&self, index: u64, word: u32) -> bool {
        let gfp = bindings::GFP_KERNEL_ACCOUNT;
        // SAFETY: As above. What is stored is a value entry.
        let old =
            unsafe { bindings::xa_store(self.xa.get(), index as c_ulong, Self::entry(word), gfp) };
        !is_error(old)
    }

    /// Makes sure that there is a word at `index`; a new one is 0. May sleep. False if there is no
    /// memory for that.
    pub(crate) fn reserve(&self, index: u64) -> bool {
        self.get(index).is_some() || self.put(index, 0)
    }

    /// Stores a word where there is one. Does not sleep.
    pub(crate) fn set(&self, index: u64, word: u32) {
        // SAFETY: As above. There is an entry, so nothing is allocated.
        unsafe { bindings::xa_store(self.xa.get(), index as c_ulong, Self::entry(word), 0) };
    }

    /// Removes a word.
    pub(crate) fn remove(&self, index: u64) {
        // SAFETY: The array is initialised.
        unsafe { bindings::xa_erase(self.xa.get(), index as c_ulong) };
    }

    /// The first word in `index..=last` that is not 0, and where it is.
    pub(crate) fn next(&self, index: u64, last: u64) -> Option<(u64, u32)> {
        let mut at = index as c_ulong;
        loop {
            // SAFETY: The array is initialised. 8 is XA_PRESENT.
            let entry = unsafe { bindings::xa_find(self.xa.get(), &mut at, last as c_ulong, 8) };
            match Self::word(entry)? {
                0 => at = at.checked_add(1)?,
                word => return Some((at as u64, word)),
            }
        }
    }
}

/// `xa_is_err()`, for arrays of words.
fn is_error(entry: *mut c_void) -> bool {
    entry.addr() & 3 == 2
}

#[pinned_drop]
impl PinnedDrop for Words {
    fn drop(self: Pin<&mut Self>) {
        // SAFETY: The array is initialised, and nobody uses it any more.
        unsafe { bindings::xa_destroy(self.xa.get()) };
    }
}

impl Words {
    /// The first table at `level` for `ipa` or what follows it.
    pub(crate) fn next_table(&self, level: RttLevel, ipa: u64) -> Option<MissingTable> {
        let from = index_of(MissingTable { level, ipa });
        let all = (1 << LEVEL_SHIFT) - 1;
        let (index, _) = self.next(from, from | all)?;
        Some(MissingTable {
            level,
            ipa: (index & all) * table_size(level),
        })
    }

    /// How many tables there are at `level`.
    #[cfg(CONFIG_DEBUG_FS)]
    pub(crate) fn tables_at(&self, level: RttLevel) -> u64 {
        let (mut tables, mut from) = (0, 0);
        while let Some(table) = self.next_table(level, from) {
            tables += 1;
            from = table.ipa + table_size(level);
        }
        tables
    }
}

/// Where the level of a table stands in its index, above the number that it has at that level. No
/// higher than it takes for the end of an IPA space of 52 bits: each bit costs every look into the
/// array.
const LEVEL_SHIFT: u32 = 53 - (2 * crate::GRANULE_SHIFT - 3);

/// Bytes of IPA that a table at `level` maps.
fn table_size(level: RttLevel) -> u64 {
    level.block_size() << (crate::GRANULE_SHIFT - 3)
}

/// The table is there; until then there is just room for it.
const THERE: u32 = 1;

fn index_of(table: MissingTable) -> u64 {
    (table.level.raw() << LEVEL_SHIFT) | (table.ipa / table_size(table.level))
}

impl TableSet for Words {
    fn has(&self, table: MissingTable) -> bool {
        self.get(index_of(table)) == Some(THERE)
    }

    fn reserve(&self, table: MissingTable) -> bool {
        self.reserve(index_of(table))
    }

    fn insert(&self, table: MissingTable) {
        self.set(index_of(table), THERE);
    }

    fn suspend(&self, table: MissingTable) {
        self.set(index_of(table), 0);
    }

    fn remove(&self, table: MissingTable) {
        self.remove(index_of(table));
    }

    fn any(&self, level: RttLevel) -> Option<MissingTable> {
        self.next_table(level, 0)
    }
}
