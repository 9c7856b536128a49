// SPDX-License-Identifier: GPL-2.0

//! The embedded Realm Management Monitor: the state machine, without hardware.
//!
//! What the host of a Realm Management Extension machine may ask of an RMM (the Realm Management
//! Interface, RMI 2.0 or 1.0) is answered here: [`Rmm::handle`] takes the registers of a call and leaves
//! the results in them. The world outside is a [`Platform`]: the granule protection table (GPT)
//! that EL3 owns, and the memory of the granules. `image/` implements it on Realm EL2; the host
//! tests implement it with a table in memory.
//!
//! The answers are those of the RMM specification (Arm DEN0137, 2.0-bet3 and 1.0) and of TF-RMM, down to
//! what is refused and in which order. Where the two leave a choice, the module that makes it says
//! so.
//!
//! # Where it differs from TF-RMM
//!
//! - A range of granules takes as many calls as it must, not one per granule ([`rmi`]).
//! - A pending interrupt ends a map or unmap command after the first granule, in the middle of a block
//!   with INCOMPLETE. TF-RMM does so only if it is built that way.
//! - While a stateful operation has an entry, RTT_CREATE says BUSY and RTT_INIT_RIPAS stops in front of
//!   it. TF-RMM loses the operation.
//! - The feature registers say what there is today ([`features`]), which is less.
//! - Signing an attestation token is one step. An interrupt is noticed after it, not within.
//! - MEASUREMENT_READ fills the registers after a short measurement with zeroes, as the specification
//!   has it; TF-RMM leaves x5 to x7 as they were.
//! - Commands for planes refuse every input; TF-RMM has reasons in some order.
//!
//! TF-RMM's branch for RMI 2.0 bet2 does some things in another way, and RMI 1.0 many: [`rmi::Dialect`].
//!
//! # The pieces
//!
//! From the ground up:
//!
//! | module | holds |
//! |---|---|
//! | [`ram`] | which physical addresses are memory |
//! | [`granule`] | what each granule is used for, its lock, and who refers to it |
//! | [`platform`] | what the hardware has to do for the state machine |
//! | [`rd`], [`vmid`], [`measurement`] | realms as a whole: descriptor, VMID, measurements |
//! | [`rtt`] | stage 2 of a realm: tables, their entries, and the way to them |
//! | [`rmi`] | the commands, one function each, and the table that finds them |
//! | [`sro`], [`donated`], [`desc`] | operations in several steps, and the memory that they are given |
//! | [`rec`] | virtual CPUs: their registers, and what their traps mean |
//! | [`rsi`], `psci` | what a realm may ask of the RMM |
//! | [`attest`] | attestation tokens |
//! | `fault` | wrong answers on purpose, for tests of a host (feature `fault-injection`) |
//! | [`el3`] | what EL3 tells an RMM at boot |
//! | [`stage1`] | the translation tables that the RMM itself runs on |

#![no_std]
#![forbid(unsafe_code)]
#![allow(
    non_ascii_idents,
    reason = "zerocopy's derive macros make up such names"
)]
// A fault in an RMM is a fault for every realm: what could panic or wrap is refused outright.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_errors_doc,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod attest;
pub mod desc;
pub mod donated;
pub mod el3;
#[cfg(feature = "fault-injection")]
pub mod fault;
pub mod features;
pub mod granule;
pub mod measurement;
pub mod platform;
mod psci;
pub mod ram;
pub mod rd;
pub mod rec;
pub mod rmi;
pub mod rsi;
pub mod rtt;
pub mod sro;
pub mod stage1;
pub mod vmid;

pub use granule::GranuleTable;
pub use platform::Platform;
pub use ram::RamMap;
pub use rmi::Rmm;
