// SPDX-License-Identifier: GPL-2.0

//! `kvm_arm_rmi/` in debugfs: what was negotiated, what the RMM holds, what it was asked.
//!
//! `rust/no_status.rs` takes the place of this where there is no debugfs.

use crate::{
    debugfs::{Dir, Spec},
    host::Host,
    rmi::{self, Counts},
    vm::Vm,
    vm_status, //
};
use kernel::{
    alloc::AllocError,
    fmt,
    sync::Arc, //
};

pub(crate) use vm_status::VmFiles;

/// The directory.
pub(crate) struct Directory(Dir<Host>);

impl Directory {
    /// Makes it.
    ///
    /// # Errors
    ///
    /// Out of memory.
    pub(crate) fn new(host: &Arc<Host>) -> Result<Self, AllocError> {
        Dir::new(c"kvm_arm_rmi", host, FILES).map(Self)
    }

    /// Where more can be put.
    #[cfg(CONFIG_KVM_ARM_RMI_SELFTEST)]
    pub(crate) fn dir(&self) -> &Dir<Host> {
        &self.0
    }

    /// Makes a directory for a VM of the current task's. A VM does not depend on it.
    pub(crate) fn show_vm(&self, vm: &Arc<Vm>) -> Option<VmFiles> {
        vm_status::show(&self.0, vm)
    }
}

/// The files.
const FILES: &[Spec<Host>] = &[
    Spec {
        name: c"state",
        show: Some(show_state),
        store: None,
    },
    Spec {
        name: c"granules",
        show: Some(show_granules),
        store: None,
    },
    Spec {
        name: c"smcs",
        show: Some(show_smcs),
        store: None,
    },
];

/// Lines `key: value`.
fn show_state(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let negotiated = &host.negotiated;
    writeln!(f, "abi: {}", negotiated.version)?;
    writeln!(f, "granule_size: {}", rmi::GRANULE_SIZE)?;
    writeln!(f, "was_active: {}", negotiated.was_active)?;
    writeln!(f, "features: {}", negotiated.features)?;
    for (n, value) in negotiated.features.regs().iter().enumerate() {
        writeln!(f, "feature_register_{n}: {value:#x}")?;
    }
    Ok(())
}

/// `delegated`, `delegated_peak` and `leaked`; what is leaked is among what is delegated.
fn show_granules(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_granules(host.rmi.conduit().counts(), f)
}

pub(crate) fn print_granules(counts: &Counts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "delegated: {}", counts.delegated())?;
    writeln!(f, "delegated_peak: {}", counts.delegated_peak())?;
    writeln!(f, "leaked: {}", counts.leaked())
}

/// A line for each command: its name, calls, calls that failed.
fn show_smcs(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_smcs(host.rmi.conduit().counts(), f)
}

pub(crate) fn print_smcs(counts: &Counts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (fid, calls, errors) in counts.commands() {
        writeln!(f, "{} {calls} {errors}", fid.name())?;
    }
    Ok(())
}
