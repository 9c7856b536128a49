// SPDX-License-Identifier: GPL-2.0

//! Which VMIDs are in use.

use core::sync::atomic::{AtomicU64, Ordering};

/// Words of the map: 16-bit VMIDs.
const WORDS: usize = 1 << (16 - 6);

/// The VMID that is in VTTBR_EL2 while no realm runs: the highest. No realm has it, since what the CPU looks
/// up ahead of time meanwhile must not be taken for a realm's.
pub const fn idle(bits: u32) -> u16 {
    let unused = 16u32.saturating_sub(bits);
    u16::MAX >> if unused < 15 { unused } else { 15 }
}

/// The VMIDs of a machine, a bit each, which is 1 while a realm has it.
pub struct Vmids {
    words: [AtomicU64; WORDS],
}

impl Vmids {
    /// All free.
    pub const fn new() -> Self {
        Self {
            words: [const { AtomicU64::new(0) }; WORDS],
        }
    }

    /// Takes the lowest free VMID, on a CPU whose VMIDs have `bits` bits. `None` if all are in use.
    pub fn take(&self, bits: u32) -> Option<u16> {
        (0..idle(bits)).find(|vmid| self.reserve(*vmid, bits))
    }

    /// Takes this VMID, on a CPU whose VMIDs have `bits` bits. False if it is in use, or none that a realm
    /// can have.
    pub fn reserve(&self, vmid: u16, bits: u32) -> bool {
        let (word, bit) = self.place(vmid);
        vmid < idle(bits)
            && word.is_some_and(|word| word.fetch_or(bit, Ordering::Relaxed) & bit == 0)
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
