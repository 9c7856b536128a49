// SPDX-License-Identifier: GPL-2.0

//! Private memory: how it gets into a realm, by faults and by populate.
//!
//! Private memory belongs to guest_memfd files. A page of one is delegated and mapped when the realm
//! first touches it, together with its neighbours, as a block of 2 MiB at most, and stays with the
//! realm until the file gives it up (a hole is punched), it becomes shared (the attributes change), its
//! slot goes, or the realm does.
//!
//! Who keeps a page of the realm world from the page allocator: until it is mapped, the reference of whoever
//! brings it in; while it is mapped, its file, which gives up nothing before this component has said that the
//! RMM has given it back (`Component::unmap`), and keeps what the RMM does not give back for ever; from then until
//! it is undelegated, a reference again. So a page that is mapped has no references but its file's, and a huge
//! one can be split when a part of it goes.
//!
//! Granules are named by their number in the IPA space (gfn), and accounted for in chunks
//! (`realm/notes.rs` has the rule). Both halves of memory are taken out of a realm in `mmu/`.

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
    mod contents;
    mod fault;
    mod map;
    mod pages;
    mod populate;
    mod run;
    mod window;
}
mod slots;

pub use fault::{fault, Faulted};
pub use populate::populate;
pub use slots::check as check_slot;
pub use window::fault_around;
