// SPDX-License-Identifier: GPL-2.0

//! `kvm_arm_rmi/` in debugfs: what was negotiated, what the RMM holds, what it was asked.
//!
//! Where there is no debugfs nothing is shown.

use super::host::Host;
use crate::{
    rmi::{self, Counts, Features},
    sys::{
        debugfs::{Dir, Spec},
        prelude::*, //
    }, //
};

/// Makes the directory.
///
/// # Errors
///
/// Out of memory.
pub fn show(host: &Arc<Host>) -> Result<Dir<Host>> {
    Dir::new(c"kvm_arm_rmi", host, FILES)
}

/// The files.
const FILES: &[Spec<Host>] = &[
    Spec {
        name: c"state",
        show: Some(show_state),
        store: None,
    },
    Spec {
        name: c"capabilities",
        show: Some(show_capabilities),
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
///
/// # Errors
///
/// Those of `f`.
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

/// One line of JSON.
///
/// # Errors
///
/// Those of `f`.
fn show_capabilities(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_capabilities(&host.negotiated.features, f)
}

/// Prints what realms can have, in a line of JSON: the widest IPA space, in bits; the size of a granule;
/// hash algorithms of measurements, by their usual names; the longest SVE vector, in bits, or 0; the
/// most breakpoints and watchpoints; whether there is a PMU, and its most event counters.
///
/// # Errors
///
/// Those of `f`.
pub fn print_capabilities(features: &Features, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let bits = features.ipa_bits();
    write!(
        f,
        "{{\"ipa_bits\":{bits},\"granule_size\":{},",
        rmi::GRANULE_SIZE
    )?;
    write!(f, "\"hash_algorithms\":[")?;
    let mut comma = "";
    for (name, has) in [
        ("sha-256", features.sha256()),
        ("sha-384", features.sha384()),
        ("sha-512", features.sha512()),
    ] {
        if has {
            write!(f, "{comma}\"{name}\"")?;
            comma = ",";
        }
    }
    let sve = match features.sve() {
        true => features.sve_vq().saturating_mul(128),
        false => 0,
    };
    let (breakpoints, watchpoints) = (features.breakpoints(), features.watchpoints());
    write!(f, "],\"sve_vector_bits\":{sve},")?;
    write!(
        f,
        "\"breakpoints\":{breakpoints},\"watchpoints\":{watchpoints},"
    )?;
    let pmu = features.pmu();
    let counters = if pmu { features.pmu_counters() } else { 0 };
    writeln!(f, "\"pmu\":{pmu},\"pmu_counters\":{counters}}}")
}

/// See [`print_granules`]; what is leaked is among what is delegated.
///
/// # Errors
///
/// Those of `f`.
fn show_granules(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_granules(host.rmi.conduit().counts(), f)
}

/// Prints `delegated`, `delegated_peak` and `leaked`.
///
/// # Errors
///
/// Those of `f`.
pub fn print_granules(counts: &Counts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "delegated: {}", counts.delegated())?;
    writeln!(f, "delegated_peak: {}", counts.delegated_peak())?;
    writeln!(f, "leaked: {}", counts.leaked())
}

/// A line for each command: its name, calls, calls that failed.
///
/// # Errors
///
/// Those of `f`.
fn show_smcs(host: &Host, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    print_smcs(host.rmi.conduit().counts(), f)
}

/// Prints a line for each command: its name, calls, calls that failed.
///
/// # Errors
///
/// Those of `f`.
pub fn print_smcs(counts: &Counts, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (fid, calls, errors) in counts.commands() {
        writeln!(f, "{} {calls} {errors}", fid.name())?;
    }
    Ok(())
}
