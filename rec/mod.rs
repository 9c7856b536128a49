// SPDX-License-Identifier: GPL-2.0

//! RECs, the virtual CPUs of a realm: what goes into an entry, what an exit leaves to be done, and
//! completing it.
//!
//! A vCPU goes round and round:
//!
//! ```text
//!      prepare()            RMI_REC_ENTER             exited()
//!   ──────────────> run page ──────────> x0, run page ────────> Exit, for KVM to act upon
//!   ^                                                             │
//!   └── KVM acts; complete_psci(), ripas() where something is owed┘
//! ```
//!
//! [`Vcpu`] remembers what the host owes the REC for its last exit ([`Owed`]). Only an entry that
//! the RMM has carried out pays for it: until then it may be prepared as often as it takes, and
//! signals, exits to user space and entries that the RMM refuses change nothing. In the same way
//! KVM's own marks (the PC to be advanced, the exception to be taken) must stay until an entry has
//! been carried out.
//!
//! # On and off at the same time
//!
//! A REC that turns itself off exits, and another may turn it on again before KVM has seen that
//! exit. Had KVM stopped the vCPU because of the exit, nobody would ever wake it. So a vCPU does not
//! stop at [`crate::exit::Psci::Off`]: it is entered again, and stops when the RMM refuses with
//! [`crate::exit::Refused::TurnedOff`], unless it was woken meanwhile. A mark says so. It is set
//! with [`Wake::Target`], *before* KVM is told to start the vCPU, and it is looked at and cleared in
//! one atomic step *after* KVM has stopped it:
//!
//! * KVM starts the vCPU after it was stopped: it is woken as any other. The mark may be left, and
//!   costs one more entry when it is found.
//! * KVM starts it before: that does nothing, for it is not stopped yet. But then the mark was set
//!   before the stop too, is found, and the vCPU goes on.

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

use crate::realm::small_numbers;

small_numbers! {
    mod first_run;
    mod pre_fault;
    mod registers;
    mod ripas_host;
    mod running;
    mod shared_fault;
}
mod bad_memory;
mod ending;
pub mod entry;
mod owed;
mod psci;
mod rec_vcpu;
mod ripas;
mod vcpu;
mod vm;

pub use first_run::activate;
pub use owed::{Access, Owed};
pub use pre_fault::pre_fault;
pub use psci::Wake;
pub use rec_vcpu::RecVcpu;
pub use registers::{listed as listed_reg, may_set as may_set_reg};
pub use ripas::{Misplaced, Progress, RipasHost, RipasWork, Slot};
pub use running::Running;
pub use vcpu::Vcpu;
pub use vm::RealmVm;
