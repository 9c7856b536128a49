// SPDX-License-Identifier: GPL-2.0

//! Orders, each in one word.

/// What a CPU is to do. Arguments are those of the mailbox; *base* and *count* are in the order.
/// Where nothing is said of results there is one, 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Op {
    /// Results: 0, the IPA width that the RMM tells (0 if there is none), x0 at the entry,
    /// MPIDR_EL1, ID_AA64DFR0_EL1, CNTFRQ_EL0.
    Describe,
    /// Calls the RMM, or in an ordinary VM the host. Arguments: *count* registers from x0 on, at
    /// most 9. Results: x0 to x8.
    Smc,
    /// Loads. Arguments: address, bytes (1, 2, 4 or 8). Results: the syndrome of an exception or
    /// 0, the value.
    Load,
    /// Stores. Arguments: address, bytes, value. Result: syndrome.
    Store,
    /// Loads two words with one instruction, of which no syndrome tells the host. Argument:
    /// address. Results: syndrome, the first word.
    LoadPair,
    /// Stores 1, 2, ... *count* to the mailbox.
    MmioWrite,
    /// Loads *count* times from the mailbox. Result: the sum.
    MmioRead,
    /// Makes a host call *count* times. Arguments: gprs[0] to gprs[3]. Results: how many did not
    /// end as the first, the status of the last, its gprs[0] to gprs[3].
    HostCall,
    /// Fills *count* pages from *base* with the pattern, in order.
    Touch,
    /// The same in another order. *count* is a power of two.
    TouchScattered,
    /// Fills *count* pages, the first at *base* and each of the others so many bytes behind the one before it.
    /// Argument: that.
    TouchEvery,
    /// Result: how many of the pages do not have the pattern.
    Check,
    /// Result: how many of the pages are not zero at the places that have the pattern.
    CheckZero,
    /// Stores 1, 2, 3, ... to the first word of *count* pages from *base*, one after another and round
    /// and round. No result: it never ends.
    Scribble,
    /// Looks at every word of the pages, and renews its own, as a [`crate::Renewal`] says. Arguments: that.
    /// Results: how many words were wrong, and of the first of them its address, its value, and the least
    /// generation that it may have.
    Renew,
    /// Gives the pages up. Results: status, up to where it went, calls that it took, response.
    SetEmpty,
    /// Takes the pages back. Results: the same.
    SetRam,
    /// Gives the pages up, with nothing but the calls to measure. Result: pages that are left.
    GiveUp,
    /// Takes the pages back, likewise.
    TakeBack,
    /// Asks the host *count* times for its version of the SMCCC. Result: answers that were none.
    AskVersion,
    /// Turns on CPU number *count*, where the guest begins. Result: what CPU_ON returned.
    CpuOn,
    /// Sets up the distributor and this CPU's interrupts.
    InitGic,
    /// Waits, in WFI, for the timer to fire after *count* ticks. Result: its interrupts meanwhile.
    Timer,
    /// The same in CPU_SUSPEND. Results: its interrupts, what CPU_SUSPEND returned.
    Suspend,
    /// Sends software-generated interrupt 1 to CPU number *count*.
    SendSgi,
    /// Waits until this CPU has got *count* of them in all. Result: the interrupts so far.
    AwaitSgi,
    /// Keeps the CPU busy for *count* ticks of the counter. Result: rounds that it went.
    Spin,
    /// Turns this CPU off. No result.
    CpuOff,
    /// Turns the machine off. No result.
    SystemOff,
    /// Asks for a reset. No result.
    SystemReset,
}

const OPS: [Op; 30] = [
    Op::Describe,
    Op::Smc,
    Op::Load,
    Op::Store,
    Op::LoadPair,
    Op::MmioWrite,
    Op::MmioRead,
    Op::HostCall,
    Op::Touch,
    Op::TouchScattered,
    Op::TouchEvery,
    Op::Check,
    Op::CheckZero,
    Op::Scribble,
    Op::Renew,
    Op::SetEmpty,
    Op::SetRam,
    Op::GiveUp,
    Op::TakeBack,
    Op::AskVersion,
    Op::CpuOn,
    Op::InitGic,
    Op::Timer,
    Op::Suspend,
    Op::SendSgi,
    Op::AwaitSgi,
    Op::Spin,
    Op::CpuOff,
    Op::SystemOff,
    Op::SystemReset,
];

/// Bit of a word that says [`Order::shared`], beside the operation's number.
const SHARED: u64 = 1 << 7;
const PAGE_SHIFT: u32 = 12;
/// Base and count have so many bits each, above the operation.
const FIELD_BITS: u32 = 28;
const FIELD: u64 = (1 << FIELD_BITS) - 1;
const BASE_SHIFT: u32 = 8;
const COUNT_SHIFT: u32 = BASE_SHIFT + FIELD_BITS;

/// An operation with what fits beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Order {
    /// What to do.
    pub op: Op,
    /// True if the pages are to be accessed through the upper half of the IPA space.
    pub shared: bool,
    /// IPA of the first page, without the bit for the upper half; below 1 TiB.
    pub base: u64,
    /// Pages, or whatever the operation counts; below 1 << 28.
    pub count: u64,
}

impl Order {
    /// An order without pages.
    pub const fn new(op: Op, count: u64) -> Self {
        Self {
            op,
            shared: false,
            base: 0,
            count,
        }
    }

    /// An order on the pages from `base` on, as many as are in `bytes`.
    pub const fn pages(op: Op, base: u64, bytes: u64) -> Self {
        Self {
            op,
            shared: false,
            base,
            count: bytes >> PAGE_SHIFT,
        }
    }

    /// The same through the upper half.
    pub const fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// The word for it.
    pub const fn raw(self) -> u64 {
        let shared = if self.shared { SHARED } else { 0 };
        let base = self.base >> PAGE_SHIFT & FIELD;
        self.op as u64 | shared | base << BASE_SHIFT | (self.count & FIELD) << COUNT_SHIFT
    }

    /// What a word says; `None` if there is no such order.
    pub fn from_raw(raw: u64) -> Option<Self> {
        let op = (raw & (SHARED - 1)) as usize;
        Some(Self {
            op: *OPS.get(op)?,
            shared: raw & SHARED != 0,
            base: (raw >> BASE_SHIFT & FIELD) << PAGE_SHIFT,
            count: raw >> COUNT_SHIFT & FIELD,
        })
    }
}
