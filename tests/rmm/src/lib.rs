// SPDX-License-Identifier: GPL-2.0

//! The embedded Realm Management Monitor: the state machine, without hardware.
//!
//! What the host of a Realm Management Extension machine may ask of an RMM (the Realm Management
//! Interface, RMI 2.0) is answered here: [`Rmm::handle`] takes the registers of a call and leaves
//! the results in them. The world outside is a [`Platform`]: the granule protection table (GPT)
//! that EL3 owns, and the memory of the granules. `image/` implements it on Realm EL2; the host
//! tests implement it with a table in memory.
//!
//! The answers are those of the RMM specification (Arm DEN0137, 2.0-bet3) and of TF-RMM, down to
//! what is refused and in which order. Where the two leave a choice, the module that makes it says
//! so.
//!
//! # Where it differs from TF-RMM
//!
//! - A range of granules takes as many calls as it must, not one per granule ([`rmi`]).
//! - The feature registers say what there is today ([`features`]), which is less.
//! - Commands that are not in the table yet are answered as TF-RMM answers unknown ones.
//!
//! # The pieces
//!
//! From the ground up:
//!
//! | module | holds |
//! |---|---|
//! | [`ram`] | which physical addresses are memory |
//! | [`granule`] | what each granule is used for, and its lock |
//! | [`platform`] | what the hardware has to do for the state machine |
//! | [`rmi`] | the commands, one function each, and the table that finds them |
//! | [`el3`] | what EL3 tells an RMM at boot |
//! | [`stage1`] | the translation tables that the RMM itself runs on |

#![no_std]
#![forbid(unsafe_code)]
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

pub mod el3;
pub mod features;
pub mod granule;
pub mod platform;
pub mod ram;
pub mod rmi;
pub mod stage1;

pub use granule::GranuleTable;
pub use platform::Platform;
pub use ram::RamMap;
pub use rmi::Rmm;
