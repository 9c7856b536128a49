// SPDX-License-Identifier: GPL-2.0

//! `kvm_arm_rmi/` in debugfs: what was negotiated, what the RMM holds, what it was asked.

use crate::{
    debugfs::Spec,
    host::Host,
    rmi, //
};
use kernel::fmt;

/// The files.
pub(crate) const FILES: &[Spec<Host>] = &[
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

/// `delegated` and `leaked`; what is leaked is among what is delegated.
fn show_granules(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let counts = host.rmi.conduit().counts();
    writeln!(f, "delegated: {}", counts.delegated())?;
    writeln!(f, "leaked: {}", counts.leaked())
}

/// A line for each command: its name, calls, calls that failed.
fn show_smcs(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (fid, calls, errors) in host.rmi.conduit().counts().commands() {
        writeln!(f, "{} {calls} {errors}", fid.name())?;
    }
    Ok(())
}
