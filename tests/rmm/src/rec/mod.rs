// SPDX-License-Identifier: GPL-2.0

//! Realm execution contexts (RECs): a virtual CPU of a realm each.
//!
//! | module | holds |
//! |---|---|
//! | [`context`] | the registers, and why the CPU came back from the realm |
//! | `object` | all that the RMM knows about a REC |
//! | `reset` | what is in the registers at first |
//! | [`exit`] | what the host and a REC tell each other |
//! | `running` | a REC that runs, from trap to trap |
//! | `abort`, `sysreg`, [`ids`] | what the traps mean; [`crate::rsi`] has the calls |
//! | `timer`, `pmu`, `vgic` | timers, counters and list registers |
//! | `inject` | exceptions that the RMM makes a realm take |

mod abort;
pub mod context;
pub mod esr;
pub mod exit;
pub mod ids;
mod inject;
mod object;
mod pmu;
mod reset;
mod running;
mod sysreg;
mod timer;
mod vgic;

pub use context::{Context, Trap};
pub use ids::Options;
pub use object::{Rec, RipasChange, Syndrome, Token, AUX_GRANULES};
pub(crate) use running::{Flow, Miss, Realm, Running};
