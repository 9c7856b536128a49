// SPDX-License-Identifier: GPL-2.0

//! Private memory: which of it is mapped into a realm, what to do at once, and how it comes back.
//!
//! Private memory belongs to guest_memfd files. A page of one is delegated and mapped when the realm
//! first touches it, together with its neighbours, and stays with the realm until the file gives it
//! up (a hole is punched), it becomes shared (the attributes change), its slot goes, or the realm
//! does. Whoever maps a page holds a reference to it until it is undelegated: so whatever happens to
//! the file, a page of the realm world never reaches the page allocator.
//!
//! Granules are named by their number in the IPA space (gfn), and accounted for in chunks of
//! [`CHUNK`]: one word says which granules of a chunk are mapped. Shared memory is accounted for in the
//! same way (`span.rs` has the rule), and so both halves are taken out of a realm here (`parting.rs`).

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

mod chunk;
mod parting;
mod pending;
mod span;

pub use chunk::{chunk_of, window, Bits, CHUNK};
pub use parting::{Kept, Part, Parting, BATCH, MERGED};
pub use pending::Pending;
pub use span::{count, forget, next_span, note, PageSet};
