// SPDX-License-Identifier: GPL-2.0

//! Why a command did not do what was asked.

use super::{Fid, ReturnCode, Status};
use core::fmt;

/// A command that failed. An errno is made of it in one place only, at the border to the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The RMM refused the command and changed nothing.
    Refused(Fid, ReturnCode),
    /// The firmware below us does not hand this function to an RMM; nothing changed.
    NotForwarded(Fid),
    /// The RMM was busy at every try; nothing changed.
    StillBusy(Fid),
    /// The command succeeded at every try without having done anything; nothing changed.
    Idle(Fid),
    /// The RMM wanted memory for an operation that the specification gives none.
    WantsMemory(Fid),
    /// The RMM was not asked, for it would look at memory that is bad.
    Withheld(Fid),
    /// The host had no memory for an operation, which was cancelled; nothing changed.
    NoMemory(Fid),
    /// The answer contradicts the specification: what was done is unknown.
    Broken(Fid, Broken),
}

/// How an answer contradicts the specification.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// SUCCESS, with a range that ends outside the request or off a granule.
    Range {
        /// Where the RMM says the range ends.
        top: u64,
    },
    /// More list entries than the list has room for.
    Count {
        /// How many the RMM says it wrote.
        entries: u64,
    },
    /// A stateful operation that went on without ever ending.
    Endless,
    /// A stateful operation that could neither go on nor be cancelled.
    Stuck,
    /// A stateful operation ended with a request that no specification has.
    Request(ReturnCode),
}

impl Error {
    /// The status that the RMM gave, if it gave one.
    pub fn status(&self) -> Option<Status> {
        match self {
            Error::Refused(_, code) => Some(code.status()),
            _ => None,
        }
    }

    /// True if an operation has to end first, which may be another realm's: the command may be tried
    /// again after a while.
    pub fn is_blocked(&self) -> bool {
        self.status() == Some(Status::Blocked)
    }

    /// True if the RMM certainly left everything as it was.
    pub fn changed_nothing(&self) -> bool {
        !matches!(self, Error::Broken(..) | Error::WantsMemory(_))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Refused(fid, code) => write!(f, "{fid}: {code}"),
            Error::NotForwarded(fid) => {
                write!(f, "{fid}: the firmware (EL3) does not forward this call")
            }
            Error::StillBusy(fid) => write!(f, "{fid}: still busy after many tries"),
            Error::Idle(fid) => write!(f, "{fid}: succeeds again and again without doing anything"),
            Error::WantsMemory(fid) => write!(f, "{fid}: asks for memory that it may not ask for"),
            Error::Broken(fid, Broken::Range { top }) => {
                write!(
                    f,
                    "{fid}: succeeded up to {top:#x}, which is no part of the request"
                )
            }
            Error::Withheld(fid) => write!(f, "{fid}: it would look at memory that is bad"),
            Error::NoMemory(fid) => write!(f, "{fid}: no memory to lend"),
            Error::Broken(fid, Broken::Count { entries }) => {
                write!(
                    f,
                    "{fid}: wrote {entries} list entries, more than there are"
                )
            }
            Error::Broken(fid, Broken::Stuck) => write!(f, "{fid}: is stuck half way"),
            Error::Broken(fid, Broken::Endless) => write!(f, "{fid}: never ends"),
            Error::Broken(fid, Broken::Request(code)) => {
                write!(f, "{fid}: wants something unknown, {code}")
            }
        }
    }
}
