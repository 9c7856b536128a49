// SPDX-License-Identifier: GPL-2.0

//! Tests of the product's own code on the machine that builds it.
//!
//! The RMM is either a script of answers (`fake`), for what no good RMM would say, or the embedded
//! RMM's state machine (`machine`), for what one does. Whole lives of VMs, with KVM's part in them, are
//! in `tests/explore`.

mod abi;
mod alone;
mod arguments;
mod bet2;
mod capabilities;
mod dialects;
mod ends;
mod entry;
mod entry_seam;
mod exits;
mod fake;
mod granule;
mod lending;
mod life;
mod lists;
mod loans;
mod machine;
mod mapping;
mod negotiate;
mod numbers;
mod operations;
mod parting;
mod pauses;
mod pending;
mod private;
mod psci;
mod ripas;
#[path = "../rmm/tests/common/mod.rs"]
mod rmm_machine;
mod stateful;
mod tables;
mod uapi;
mod v1;
mod world;
