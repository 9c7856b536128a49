// SPDX-License-Identifier: GPL-2.0

//! What an RMI command says in X0.

use core::fmt;

/// The status of a command, `RmiStatusCode`: bits 7:0 of X0. Codes we do not know are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Status {
    /// The command did what it says.
    Success,
    /// An input is invalid, or names a granule that is not in the state the command needs.
    ErrorInput,
    /// The realm is not in the state that the command needs.
    ErrorRealm,
    /// The REC is not in the state that the command needs.
    ErrorRec,
    /// The RTT walk ended at another level or entry than the command needs; the index has the level.
    ErrorRtt,
    /// The RMM does not have this command or option.
    ErrorNotSupported,
    /// The device is not in the state that the command needs.
    ErrorDevice,
    /// As [`Status::ErrorRtt`], in the tree of an auxiliary plane.
    ErrorRttAux,
    /// The stream table of an SMMU is not in the state that the command needs.
    ErrorPsmmuSt,
    /// A device permission table is not in the state that the command needs.
    ErrorDpt,
    /// Something the command needs is in use; the same call may succeed later.
    Busy,
    /// The RMM itself is not in the state that the command needs.
    ErrorGlobal,
    /// The memory is not tracked as the command needs it.
    ErrorTracking,
    /// A stateful operation has begun and wants something: see [`ReturnCode::memory_request`].
    Incomplete,
    /// Another operation has to end first.
    Blocked,
    /// The granule protection table is not in the state that the command needs.
    ErrorGpt,
    /// A granule is not in the state that the command needs.
    ErrorGranule,
    /// A code that the specification did not have when this was written.
    Unknown(u8),
}

/// The codes in the order of their numbers: entry `n` is status `n`.
const STATUS: [Status; 17] = [
    Status::Success,
    Status::ErrorInput,
    Status::ErrorRealm,
    Status::ErrorRec,
    Status::ErrorRtt,
    Status::ErrorNotSupported,
    Status::ErrorDevice,
    Status::ErrorRttAux,
    Status::ErrorPsmmuSt,
    Status::ErrorDpt,
    Status::Busy,
    Status::ErrorGlobal,
    Status::ErrorTracking,
    Status::Incomplete,
    Status::Blocked,
    Status::ErrorGpt,
    Status::ErrorGranule,
];

impl Status {
    /// The status that has number `raw`.
    pub fn from_raw(raw: u8) -> Self {
        STATUS
            .get(usize::from(raw))
            .copied()
            .unwrap_or(Status::Unknown(raw))
    }

    /// The number of this status.
    pub fn raw(self) -> u8 {
        match self {
            Status::Unknown(raw) => raw,
            known => (0..=u8::MAX)
                .zip(STATUS)
                .find_map(|(raw, status)| (status == known).then_some(raw))
                .unwrap_or(u8::MAX),
        }
    }
}

/// What a stateful operation wants next, `RmiOpMemReq`: bits 9:8 of an INCOMPLETE result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryRequest {
    /// Nothing: go on with OP_CONTINUE.
    None,
    /// Memory: OP_MEM_DONATE.
    Donate,
    /// A place to put memory that it gives back: OP_MEM_RECLAIM.
    Reclaim,
    /// A request that the specification did not have when this was written.
    Unknown,
}

/// The whole of X0 after a command, `RmiResult`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReturnCode(u64);

impl ReturnCode {
    /// What EL3 answers to a function identifier that nobody handles (SMCCC NOT_SUPPORTED).
    pub const NOT_FORWARDED: Self = Self(u64::MAX);

    /// Wraps X0.
    pub const fn new(x0: u64) -> Self {
        Self(x0)
    }

    /// The value of X0.
    pub const fn raw(self) -> u64 {
        self.0
    }

    /// Bits 7:0.
    pub fn status(self) -> Status {
        Status::from_raw(self.byte(0))
    }

    /// Bits 15:8: the RTT level for [`Status::ErrorRtt`], otherwise as the command says.
    pub fn index(self) -> u8 {
        self.byte(1)
    }

    /// Bits 9:8, meaningful with [`Status::Incomplete`].
    pub fn memory_request(self) -> MemoryRequest {
        match self.index() & 3 {
            0 => MemoryRequest::None,
            1 => MemoryRequest::Donate,
            2 => MemoryRequest::Reclaim,
            _ => MemoryRequest::Unknown,
        }
    }

    /// Bit 10, meaningful with [`Status::Incomplete`]: OP_CANCEL may be used.
    pub const fn can_cancel(self) -> bool {
        self.0 & (1 << 10) != 0
    }

    /// True for an operation that goes on by giving memory back.
    pub fn wants_reclaim(self) -> bool {
        self.status() == Status::Incomplete && self.memory_request() == MemoryRequest::Reclaim
    }

    fn byte(self, n: usize) -> u8 {
        self.0.to_le_bytes().get(n).copied().unwrap_or(0)
    }
}

impl fmt::Display for ReturnCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::NOT_FORWARDED {
            return write!(f, "not handled by the firmware");
        }
        write!(f, "{:?} (x0 = {:#x})", self.status(), self.0)
    }
}
