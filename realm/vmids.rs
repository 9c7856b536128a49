// SPDX-License-Identifier: GPL-2.0

//! Which VMIDs realms have, for an RMM that leaves that to the host, as in RMI 1.0.

use crate::{
    rmi::cmd::realm::Vmid,
    sys::prelude::*, //
};

/// The VMIDs of a host: a bit each, which is 1 while a realm may have it. Without any the RMM chooses them.
///
/// The kernel's own VMIDs are of another world, where another TLB entry is meant by the same number.
pub struct Vmids(KVec<u64>);

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
        Ok(Self(taken))
    }

    /// Takes the lowest VMID that nobody has, if there is one.
    pub fn take(&mut self) -> Option<Vmid> {
        if self.0.is_empty() {
            return Some(Vmid::new(0));
        }
        let free = |word: &u64| *word != u64::MAX;
        let at = self.0.iter().position(free)?;
        let bit = self.0[at].trailing_ones();
        self.0[at] |= 1 << bit;
        // CAST: A number of 16 bits at most.
        Some(Vmid::new((at * BITS) as u16 | bit as u16))
    }

    /// Gives a VMID back: the RMM knows no realm that has it.
    pub fn give(&mut self, vmid: Vmid) {
        let (at, bit) = (usize::from(vmid.raw()) / BITS, vmid.raw() % BITS as u16);
        if let Some(word) = self.0.get_mut(at) {
            *word &= !(1 << bit);
        }
    }
}

/// Bits of a word.
const BITS: usize = u64::BITS as usize;
