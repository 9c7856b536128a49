// SPDX-License-Identifier: GPL-2.0

//! Exits of a REC: from what the RMM reports to what KVM has to do about it, one file for each
//! class.
//!
//! Nothing is here yet: realms cannot be created so far.
