// SPDX-License-Identifier: GPL-2.0

//! Tests of the product's own code on the machine that builds it.
//!
//! The RMM is either a script of answers (`fake`), for what no good RMM would say, or the embedded
//! RMM's state machine, for what one does.

mod abi;
mod fake;
mod granule;
mod negotiate;
mod stateful;
