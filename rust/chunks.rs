// SPDX-License-Identifier: GPL-2.0

//! Which granules of a realm are noted as mapped: a word for each chunk.
//!
//! The words of chunks that follow each other lie together. One look into the array leads to all of
//! them, and to change one is an atomic operation. There is room for all or for none of them.

use crate::{
    guest_memfd::{Bits, PageSet},
    words::XA_FLAGS_ACCOUNT, //
};
use core::{
    ops::Range,
    sync::atomic::{AtomicU32, Ordering}, //
};
use kernel::{
    bindings,
    prelude::*,
    types::Opaque, //
};

/// Chunks whose words lie together.
const TOGETHER: u64 = 64;

type Together = [AtomicU32; TOGETHER as usize];

/// Words of chunks, most of which are not there.
///
/// # Invariants
///
/// Every entry of the array is a [`Together`], in a box that this owns and keeps until the end.
#[pin_data(PinnedDrop)]
pub(crate) struct Chunks {
    #[pin]
    xa: Opaque<bindings::xarray>,
}

// SAFETY: An xarray has a lock of its own, and what is in it are atomics.
unsafe impl Send for Chunks {}
// SAFETY: As above.
unsafe impl Sync for Chunks {}

impl Chunks {
    /// Nothing is mapped, and there is no room. The array is charged to the memory cgroup of who makes
    /// some.
    pub(crate) fn new() -> impl PinInit<Self> {
        // INVARIANT: There are no entries.
        pin_init!(Self {
            // SAFETY: `xa` is where the array will stay, and valid for writing.
            xa <- Opaque::ffi_init(|xa| unsafe { bindings::xa_init_flags(xa, XA_FLAGS_ACCOUNT) }),
        })
    }

    /// True if there is room to note something of a chunk.
    pub(crate) fn has_room(&self, chunk: u64) -> bool {
        self.word(chunk).is_some()
    }

    /// The word of a chunk.
    fn word(&self, chunk: u64) -> Option<&AtomicU32> {
        // SAFETY: The array is initialised.
        let entry = unsafe { bindings::xa_load(self.xa.get(), (chunk / TOGETHER) as c_ulong) };
        // SAFETY: By the type's invariant it is valid for as long as `self` is.
        let words = unsafe { entry.cast::<Together>().as_ref() };
        words.map(|words| &words[(chunk % TOGETHER) as usize])
    }
}

#[pinned_drop]
impl PinnedDrop for Chunks {
    fn drop(self: Pin<&mut Self>) {
        let mut at = 0;
        loop {
            // SAFETY: The array is initialised. 8 is XA_PRESENT.
            let entry = unsafe { bindings::xa_find(self.xa.get(), &mut at, c_ulong::MAX, 8) };
            if entry.is_null() {
                break;
            }
            // SAFETY: By the type's invariant; it leaves the array right away.
            unsafe {
                bindings::xa_erase(self.xa.get(), at);
                drop(KBox::<Together>::from_raw(entry.cast()));
            }
        }
        // SAFETY: The array is initialised, and nobody uses it any more.
        unsafe { bindings::xa_destroy(self.xa.get()) };
    }
}

impl PageSet for Chunks {
    fn get(&self, chunk: u64) -> Bits {
        Bits(
            self.word(chunk)
                .map_or(0, |word| word.load(Ordering::Acquire)),
        )
    }

    fn reserve(&self, chunk: u64) -> bool {
        if self.has_room(chunk) {
            return true;
        }
        let words: Together = [const { AtomicU32::new(0) }; TOGETHER as usize];
        let Ok(words) = KBox::new(words, GFP_KERNEL_ACCOUNT) else {
            return false;
        };
        let (index, words) = ((chunk / TOGETHER) as c_ulong, KBox::into_raw(words));
        // SAFETY: The array is initialised, and its lock is taken; it is dropped to allocate memory.
        // INVARIANT: If this succeeds the array owns the box.
        let result = unsafe {
            bindings::xa_lock(self.xa.get());
            let gfp = bindings::GFP_KERNEL_ACCOUNT;
            let result = bindings::__xa_insert(self.xa.get(), index, words.cast(), gfp);
            bindings::xa_unlock(self.xa.get());
            result
        };
        if result != 0 {
            // SAFETY: The array has not taken it.
            drop(unsafe { KBox::from_raw(words) });
        }
        // Another CPU may have been faster.
        result == 0 || self.has_room(chunk)
    }

    fn add(&self, chunk: u64, bits: Bits) {
        if let Some(word) = self.word(chunk) {
            word.fetch_or(bits.0, Ordering::AcqRel);
        }
    }

    fn remove(&self, chunk: u64, bits: Bits) -> Bits {
        let word = self.word(chunk);
        Bits(word.map_or(0, |word| word.fetch_and(!bits.0, Ordering::AcqRel))).and(bits)
    }

    fn next(&self, chunks: Range<u64>) -> Option<(u64, Bits)> {
        let mut chunk = chunks.start;
        while chunk < chunks.end {
            let mut at = (chunk / TOGETHER) as c_ulong;
            let last = ((chunks.end - 1) / TOGETHER) as c_ulong;
            // SAFETY: The array is initialised. 8 is XA_PRESENT.
            let entry = unsafe { bindings::xa_find(self.xa.get(), &mut at, last, 8) };
            // SAFETY: By the type's invariant.
            let words = unsafe { entry.cast::<Together>().as_ref() }?;
            let first = at as u64 * TOGETHER;
            let from = chunk.saturating_sub(first) as usize;
            for (word, chunk) in words[from..].iter().zip(first + from as u64..chunks.end) {
                match word.load(Ordering::Acquire) {
                    0 => {}
                    word => return Some((chunk, Bits(word))),
                }
            }
            chunk = first + TOGETHER;
        }
        None
    }
}
