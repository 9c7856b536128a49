// SPDX-License-Identifier: GPL-2.0

//! One function per RMI command, named as the command.
//!
//! A wrapper passes typed arguments, and returns results only where the specification says that
//! they are valid, after checking that they can be true.

pub mod data;
pub mod granule;
pub mod realm;
pub mod rec;
pub mod rmm;
pub mod rtt;
pub mod unprot;
