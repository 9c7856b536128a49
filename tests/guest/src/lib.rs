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
