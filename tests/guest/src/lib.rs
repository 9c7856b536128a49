// SPDX-License-Identifier: GPL-2.0

//! What the test client and the guest in its VMs agree on.
//!
//! Each CPU of the guest does what the VMM tells it to. It reads an [`Order`] from its
//! [`mailbox`], which the VMM emulates, carries it out, writes the results back, and reads the next
//! order. An order that is one word long costs a realm two exits, its read and the write of the result;
//! or one if that is 0, which the next read says as well.

#![no_std]

mod layout;
mod order;

pub use layout::{
    AFF0_BITS,
    BASE,
    CPUS,
    GICD,
    GICR,
    GICR_STRIDE,
    IMAGE_SIZE,
    MAILBOXES,
    PAGE_SIZE,
    STACK_SHIFT, //
};
pub use order::{Op, Order};
pub use realm_payload::fid;

/// Words that an order takes or gives at most.
pub const WORDS: usize = 9;

/// Registers that a VMM emulates for each CPU, as offsets in its page. All have 64 bits.
pub mod mailbox {
    /// Read: the next order.
    pub const ORDER: u64 = 0x000;
    /// Read: the arguments of the order, from here on.
    pub const ARGUMENTS: u64 = 0x008;
    /// Read: the same; the first result of the order before is 0, and it is done.
    pub const ORDER_DONE: u64 = 0x080;
    /// Write: the results, from here on. The first one comes last: then the order is done.
    pub const RESULTS: u64 = 0x100;
    /// Write: takes anything.
    pub const SINK: u64 = 0x200;
    /// Read: gives 1 at the first read, 2 at the second, and so on.
    pub const SOURCE: u64 = 0x208;
    /// Write: something happened that the guest has not provoked. It has written ESR_EL1,
    /// ELR_EL1 and FAR_EL1 to the results before, and does nothing any more.
    pub const FAILED: u64 = 0x300;
    /// From here on: registers for single accesses, which the VMM treats as a test wants.
    pub const FREE: u64 = 0x800;
}

/// The affinity fields of CPU `number`, as KVM and the RMM count them.
pub const fn affinity(number: u64) -> u64 {
    number % (1 << AFF0_BITS) | number >> AFF0_BITS << 8
}

/// The number of the CPU with this MPIDR_EL1.
pub const fn number(mpidr: u64) -> u64 {
    mpidr % (1 << AFF0_BITS) | (mpidr >> 8 & 0xff) << AFF0_BITS
}

/// What the guest writes into its memory at `ipa`, an address without the bit for the upper half.
/// The two halves have different contents.
pub const fn pattern(ipa: u64, shared: bool) -> u64 {
    let mix = ipa.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5ec2_e75e_c2e7_5ec2;
    if shared {
        !mix
    } else {
        mix
    }
}

/// A word of memory that all who use it renew again and again: where it is, or where it is in its page if
/// all pages are to be `alike`, and below that its generation. It is never 0.
pub const fn word(ipa: u64, generation: u32, alike: bool) -> u64 {
    let place = if alike { ipa % PAGE_SIZE } else { ipa };
    let mix = (place + 8).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mix | 1 << 63) & !0xffff_ffff | generation as u64
}

/// How [`Op::Renew`] goes about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Renewal {
    /// The generation that all words have before.
    pub generation: u32,
    /// By so many the words of this CPU are renewed, one after the other. With none of them all words are
    /// only looked at.
    pub rounds: u32,
    /// Of `classes` words that follow each other this one belongs to who does it, the others to others.
    pub class: u64,
    /// How many there are that have words.
    pub classes: u64,
    /// All pages have the same words.
    pub alike: bool,
    /// A word may also have been lost, and is 0 then.
    pub lossy: bool,
}

impl Renewal {
    /// What is wrong with a word of this value at `ipa`, in a round (the first is 1): the least generation
    /// that it may have.
    pub const fn is_wrong(&self, ipa: u64, value: u64, round: u32) -> Option<u32> {
        if self.lossy && value == 0 {
            return None;
        }
        let (from, to) = match (self.is_own(ipa), self.rounds) {
            (_, 0) => (self.generation, self.generation),
            (true, _) => (self.generation + round - 1, self.generation + round - 1),
            (false, rounds) => (self.generation, self.generation + rounds),
        };
        let generation = value as u32;
        let right = value == word(ipa, generation, self.alike);
        if right && generation >= from && generation <= to {
            None
        } else {
            Some(from)
        }
    }

    /// True if the word belongs to who does it.
    pub const fn is_own(&self, ipa: u64) -> bool {
        ipa / 8 % self.classes == self.class
    }

    /// What an own word becomes in a round.
    pub const fn renewed(&self, ipa: u64, round: u32) -> u64 {
        word(ipa, self.generation + round, self.alike)
    }

    /// The order's arguments.
    pub const fn to_arguments(self) -> [u64; 3] {
        [
            self.generation as u64 | (self.rounds as u64) << 32,
            self.class | self.classes << 32,
            self.alike as u64 | (self.lossy as u64) << 1,
        ]
    }

    /// From the order's arguments.
    pub const fn from_arguments(arguments: [u64; 3]) -> Self {
        let [generation, class, flags] = arguments;
        Self {
            generation: generation as u32,
            rounds: (generation >> 32) as u32,
            class: class & 0xffff_ffff,
            classes: class >> 32,
            alike: flags & 1 != 0,
            lossy: flags & 2 != 0,
        }
    }
}

/// `RsiResponse`, and RIPAS, as a realm asks for them.
pub mod rsi {
    /// RSI_IPA_STATE_SET: there is nothing.
    pub const EMPTY: u64 = 0;
    /// RSI_IPA_STATE_SET: there is memory.
    pub const RAM: u64 = 1;
    /// RSI_IPA_STATE_SET: also where the host has destroyed what was there.
    pub const CHANGE_DESTROYED: u64 = 1;
    /// The call did what it says.
    pub const SUCCESS: u64 = 0;
    /// An input is invalid.
    pub const ERROR_INPUT: u64 = 1;
    /// The host did what was asked.
    pub const ACCEPT: u64 = 0;
    /// The host refused.
    pub const REJECT: u64 = 1;
}
