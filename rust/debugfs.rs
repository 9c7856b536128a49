// SPDX-License-Identifier: GPL-2.0

//! `kvm_arm_rmi/` in debugfs: what was negotiated, what the RMM holds, what it was asked.
//!
//! | file | lines |
//! |---|---|
//! | `state` | `key: value` |
//! | `granules` | `delegated: n`, `leaked: n` (leaked ones are among the delegated) |
//! | `smcs` | command, calls, calls that failed |

use crate::{host::Host, rmi};
use kernel::{
    debugfs::{Dir, File},
    fmt,
    prelude::*,
    sync::Arc, //
};

/// The files. They go away when this is dropped.
#[pin_data]
pub(crate) struct Files {
    #[pin]
    state: File<Arc<Host>>,
    #[pin]
    granules: File<Arc<Host>>,
    #[pin]
    smcs: File<Arc<Host>>,
}

/// Makes the files in `dir`.
pub(crate) fn files<'a>(dir: &'a Dir, host: &'a Arc<Host>) -> impl PinInit<Files, Error> + 'a {
    try_pin_init!(Files {
        state <- dir.read_callback_file(c"state", host.clone(), &state),
        granules <- dir.read_callback_file(c"granules", host.clone(), &granules),
        smcs <- dir.read_callback_file(c"smcs", host.clone(), &smcs),
    }? Error)
}

fn state(host: &Arc<Host>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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

fn granules(host: &Arc<Host>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let counts = host.rmi.counts();
    writeln!(f, "delegated: {}", counts.delegated())?;
    writeln!(f, "leaked: {}", counts.leaked())
}

fn smcs(host: &Arc<Host>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (fid, calls, errors) in host.rmi.counts().commands() {
        writeln!(f, "{} {calls} {errors}", fid.name())?;
    }
    Ok(())
}
