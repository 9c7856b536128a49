// SPDX-License-Identifier: GPL-2.0

//! One function per RMI command, named as the command.
//!
//! A wrapper passes typed arguments, and returns results only where the specification says that
//! they are valid, after checking that they can be true.
//!
//! Each is named as in RMI 2.0. On an RMM that speaks 1.0 it does the same by as many commands as that takes:
//! `v1` has those that are other ones.

pub mod data;
pub mod granule;
pub mod realm;
pub mod rec;
pub mod rmm;
pub mod rtt;
pub mod unprot;
mod v1;
