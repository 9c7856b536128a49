// SPDX-License-Identifier: GPL-2.0

//! The commands of RMI 1.0 that 2.0 does not have, by which [`super`] does what it promises.
//!
//! They are done when they return, and each deals with one granule or one entry of a table. What one of the
//! functions here does for a range ends after [`AT_ONCE`] of them at the latest, as a command of 2.0 ends
//! when the RMM likes: the caller asks for the rest.

pub(super) mod data;
pub(super) mod granule;
pub(super) mod rec;
pub(super) mod rtt;
pub(super) mod unprotected;

/// The most commands that stand for one command of RMI 2.0.
const AT_ONCE: usize = 64;
