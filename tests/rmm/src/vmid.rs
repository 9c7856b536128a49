// SPDX-License-Identifier: GPL-2.0

//! Which VMIDs are in use.

use core::sync::atomic::{AtomicU64, Ordering};

/// Words of the map: 16-bit VMIDs.
const WORDS: usize = 1 << (16 - 6);

/// The VMIDs of a machine, a bit each, which is 1 while a realm has it.
pub struct Vmids {
    words: [AtomicU64; WORDS],
}

impl Vmids {
    /// All free, except for 0: that is in VTTBR_EL2 while no realm runs.
    pub const fn new() -> Self {
        let mut words = [const { AtomicU64::new(0) }; WORDS];
        words[0] = AtomicU64::new(1);
        Self { words }
    }

    /// Takes the lowest free VMID, on a CPU whose VMIDs have `bits` bits. `None` if all are in use.
    pub fn take(&self, bits: u32) -> Option<u16> {
        (0..=u16::MAX >> 16u32.saturating_sub(bits).min(15)).find(|vmid| {
            let (word, bit) = self.place(*vmid);
            word.is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
        })
    }

    /// Gives a VMID back. Nothing is left in any TLB that has it.
    pub fn give(&self, vmid: u16) {
        let (word, bit) = self.place(vmid);
        if let Some(word) = word {
            word.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    fn place(&self, vmid: u16) -> (Option<&AtomicU64>, u64) {
        (self.words.get(usize::from(vmid >> 6)), 1 << (vmid & 63))
    }
}

impl Default for Vmids {
    fn default() -> Self {
        Self::new()
    }
}
