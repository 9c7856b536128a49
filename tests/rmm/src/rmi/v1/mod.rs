// SPDX-License-Identifier: GPL-2.0

//! RMI 1.0: its command table, and the commands that it does not share with 2.0.
//!
//! Most commands have the function number and the registers that they have in 2.0, and many do the same, so
//! that the table names the same functions. Here is what 2.0 does in ranges and RMI 1.0 granule by granule,
//! and what 2.0 does by operations in steps: every command of RMI 1.0 is done when it returns.
//!
//! There is nothing to configure and nothing to activate, every granule of memory can be delegated, and a
//! realm is taken apart without being terminated first. It answers as TF-RMM does at its tag for the
//! specification (rmm-spec-v1.0-rel0), with these differences:
//!
//! - There is no PMU, and the feature register says so.
//! - No realm can have the highest VMID ([`crate::vmid::idle`]).
//! - The host can emulate only accesses that it was told as such, as in RMI 2.0; on TF-RMM it can make up
//!   what a load of the realm's own memory yields.
//! - A write of a realm's that comes without a description tells nothing of its value; TF-RMM tells the
//!   lower half of x0, by accident.
//! - What a realm reads from the identification registers is the same as in RMI 2.0.

mod data;
mod granule;
mod rec;
mod unprotected;

use kvm_arm_rmi::rmi::Fid;

use super::{commands, Answer, Command, Rmm, When};
use crate::platform::Platform;

impl<P: Platform> Rmm<'_, P> {
    /// Every command of RMI 1.0.
    pub(super) const V1_COMMANDS: [Command<Self>; 23] = commands! {
        VERSION                     Always  2   version;
        GRANULE_DELEGATE            Always  0   granule_delegate;
        GRANULE_UNDELEGATE          Always  0   granule_undelegate;
        DATA_CREATE                 Always  0   data_map_init;
        DATA_CREATE_UNKNOWN         Always  0   data_create_unknown;
        DATA_DESTROY                Always  2   data_destroy;
        REALM_ACTIVATE              Always  0   realm_activate;
        REALM_CREATE                Always  0   realm_create;
        REALM_DESTROY               Always  0   realm_destroy;
        REC_CREATE                  Always  0   v1_rec_create;
        REC_DESTROY                 Always  0   v1_rec_destroy;
        REC_ENTER                   Always  0   rec_enter;
        RTT_CREATE                  Always  0   rtt_create;
        RTT_DESTROY                 Always  2   rtt_destroy;
        RTT_MAP_UNPROTECTED         Always  0   map_unprotected;
        RTT_READ_ENTRY              Always  4   rtt_read_entry;
        RTT_UNMAP_UNPROTECTED       Always  1   unmap_unprotected;
        PSCI_COMPLETE               Always  0   psci_complete;
        FEATURES                    Always  1   features;
        RTT_FOLD                    Always  1   rtt_fold;
        REC_AUX_COUNT               Always  1   rec_aux_count;
        RTT_INIT_RIPAS              Always  1   init_ripas;
        RTT_SET_RIPAS               Always  1   set_ripas;
    };
}
