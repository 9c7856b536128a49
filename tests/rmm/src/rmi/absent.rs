// SPDX-License-Identifier: GPL-2.0

//! Commands for what this RMM does not have: devices, SMMUs and planes. The feature registers say so,
//! and whoever calls them all the same gets what TF-RMM answers without these features.

use kvm_arm_rmi::rmi::{Fid, Status};

use super::{Reply, State};

/// The part of a function identifier that all commands share.
const BASE: u32 = 0xc400_0000;

/// The answer to a command that is known and that this RMM does not have. `None` if it is not known
/// either.
pub(super) fn answer(fid: Fid, state: State) -> Option<Reply> {
    let reply = match fid.raw() ^ BASE {
        // PDEV_*, VDEV_*: the same as an unknown function.
        0x174..=0x178 | 0x17a..=0x17c | 0x185..=0x18a | 0x18e | 0x1d0..=0x1d3 | 0x204..=0x206 => {
            Reply::unknown()
        }
        // PDEV_STREAM_KEY_PURGE, PSMMU_*.
        0x207 | 0x1d7 | 0x1d8 | 0x1db | 0x1dc => Reply::new(Status::ErrorNotSupported),
        // RTT_DEV_*, RTT_AUX_*, RTT_SET_S2AP: no realm has what they need.
        0x163 | 0x17d..=0x181 | 0x183 | 0x184 | 0x18b | 0x1f7 | 0x1f8 => {
            Reply::new(Status::ErrorInput)
        }
        _ => return None,
    };
    Some(match state {
        State::Active => reply,
        State::Init => Reply::new(Status::ErrorGlobal),
    })
}
