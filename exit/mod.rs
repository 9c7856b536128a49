// SPDX-License-Identifier: GPL-2.0

//! Exits of a REC: from what the RMM reports to what KVM has to do about it, one file for each
//! class.
//!
//! Start reading at [`decode()`]. Nothing that the RMM reports is believed beyond what it may say:
//! addresses are in the realm, ranges are ranges, and a syndrome has no field that would make KVM
//! look at registers that it does not have. The RMM passes every value through register 0, so
//! syndromes name that register.

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

mod abort;
mod decode;
mod exception;
mod host_call;
mod psci;
mod ripas;
mod sync;

pub use decode::{decode, reason, Exit, Refused};
pub use exception::{Access, Fault, Half, Malformed, Sync, Sysreg};
pub use host_call::{HostCall, NOT_SUPPORTED};
pub use psci::{Psci, PsciCall, Question};
pub use ripas::{Ripas, RipasChange};
