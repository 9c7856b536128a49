// SPDX-License-Identifier: GPL-2.0

//! The Realm Management Interface: its ABI, one typed wrapper per command, and the ownership of
//! granules.
//!
//! The names are those of the RMM specification (Arm DEN0137, 2.0-bet3) in Rust case. Start reading
//! at [`Rmi`], which makes a call and judges its answer; [`cmd`] has the commands; [`negotiate`]
//! is what runs when the component loads.

// A fault here is a fault in the host kernel: what could panic, wrap or break a rule is refused.
#![deny(
    unsafe_code,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::missing_safety_doc,
    clippy::panic,
    clippy::unwrap_used
)]

mod addr;
mod call;
pub mod cmd;
mod conduit;
mod counts;
mod desc;
mod error;
mod features;
mod fid;
mod granule;
mod ipa;
mod loan;
mod memory;
mod negotiate;
mod pending;
pub mod run;
mod spare;
mod sro;
mod status;

pub use addr::{AddrRange, PhysAddr, GRANULE_SIZE};
pub use call::{Rmi, BLOCKED_TRIES};
use conduit::Results;
pub use conduit::{Conduit, Regs, SharedPage, NREGS};
pub use counts::Counts;
pub use desc::{Dialect, Form, MemState, RangeDesc};
pub use error::{Broken, Error};
pub use features::{needs_lpa2, FeatureRegs, Features};
pub use fid::Fid;
pub use granule::{Delegated, GranuleRange, GranuleState, Moved, Undelegated};
pub use ipa::{IpaRange, IpaSpace, Protected, RttLevel, Unprotected};
pub use loan::{Lent, Loans};
pub use memory::{Memory, Pages};
pub use negotiate::{check_ram, check_unused_ram, negotiate, Decline, Negotiated};
pub use pending::Pending;
pub use spare::Spare;
pub use status::{MemoryRequest, ReturnCode, Status};
