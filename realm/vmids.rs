// SPDX-License-Identifier: GPL-2.0

//! Which VMIDs realms have, for an RMM that leaves that to the host, as in RMI 1.0.

use crate::{
    rmi::cmd::realm::Vmid,
    sys::prelude::*, //
};

/// The VMIDs of a host: a bit each, which is 1 while a realm may have it. Without any the RMM chooses them.
///
/// The kernel's own VMIDs are of another world, where another TLB entry is meant by the same number.
pub struct Vmids {
    taken: KVec<u64>,
    /// Where the next one is looked for: one that has just been given back comes last.
    next: usize,
}

impl Vmids {
    /// VMIDs of so many bits, 8 or 16; or 0 if the RMM chooses them. Nobody has one.
    ///
    /// The highest is left to the RMM, which may want one for when no realm runs.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn new(bits: u32) -> Result<Self> {
        let words = (1usize << bits) / BITS;
        let mut taken = KVec::with_capacity(words, GFP_KERNEL)?;
        for _ in 0..words {
            taken.push(0, GFP_KERNEL)?;
        }
        if let Some(last) = taken.last_mut() {
            *last = 1 << (BITS - 1);
        }
        Ok(Self { taken, next: 0 })
    }

    /// Takes the next VMID that nobody has, if there is one.
    pub fn take(&mut self) -> Option<Vmid> {
        let most = self.taken.len() * BITS;
        if most == 0 {
            return Some(Vmid::new(0));
        }
        let mut all = (self.next..most).chain(0..self.next);
        let number = all.find(|number| self.taken[number / BITS] >> (number % BITS) & 1 == 0)?;
        self.taken[number / BITS] |= 1 << (number % BITS);
        self.next = (number + 1) % most;
        // CAST: A number of 16 bits at most.
        Some(Vmid::new(number as u16))
    }

    /// Gives a VMID back: the RMM knows no realm that has it.
    pub fn give(&mut self, vmid: Vmid) {
        let number = usize::from(vmid.raw());
        if let Some(word) = self.taken.get_mut(number / BITS) {
            *word &= !(1 << (number % BITS));
        }
    }

    /// Takes another one in the place of one that the RMM refuses, perhaps because it has a realm of that
    /// from before. False where the RMM chooses, or nobody could have another.
    pub fn exchange(&mut self, vmid: &mut Vmid) -> bool {
        if self.taken.is_empty() {
            return false;
        }
        match self.take() {
            Some(another) => {
                self.give(core::mem::replace(vmid, another));
                true
            }
            None => false,
        }
    }
}

/// Bits of a word.
const BITS: usize = u64::BITS as usize;
