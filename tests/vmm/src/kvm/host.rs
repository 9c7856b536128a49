// SPDX-License-Identifier: GPL-2.0

//! What the host can do.

use std::ffi::c_ulong;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::path::Path;

use kvm_arm_rmi::uapi::KVM_CAP_ARM_RMI;
use kvm_ioctls::Kvm;

use crate::error::{Error, Result};

/// The component's folder in sysfs.
const COMPONENT: &str = "/sys/module/kvm_arm_rmi";

/// Opens /dev/kvm; for a realm, there has to be an active RMM.
///
/// # Errors
///
/// What is missing, and what to do about it.
pub fn open(realm: bool) -> Result<Kvm> {
    let kvm = Kvm::new().map_err(|error| {
        let advice = match error.errno() {
            libc::EACCES | libc::EPERM => "be root, or a member of the group that it belongs to",
            libc::ENOENT | libc::ENXIO | libc::ENODEV => {
                "KVM is not there: the kernel has it only if it was started at EL2 (dmesg | grep kvm)"
            }
            _ => "see dmesg",
        };
        Error::new("/dev/kvm", error).advise(advice)
    })?;
    if realm && kvm.check_extension_raw(c_ulong::from(capability())) != 1 {
        return Err(no_realms());
    }
    Ok(kvm)
}

/// A realm's private memory cannot be swapped out, and KVM notes something about each page of it
/// when it is made: more than the host has ends badly, and late.
///
/// # Errors
///
/// It is more.
pub fn check_memory(memory: u64) -> Result<()> {
    let mut about = MaybeUninit::uninit();
    // SAFETY: It writes one such structure, or fails.
    if unsafe { libc::sysinfo(about.as_mut_ptr()) } != 0 {
        return Err(Error::new("sysinfo", io::Error::last_os_error()));
    }
    // SAFETY: It was written.
    let about: libc::sysinfo = unsafe { about.assume_init() };
    let there = about.totalram.saturating_mul(u64::from(about.mem_unit));
    if memory <= there {
        return Ok(());
    }
    Err(Error::plain(format!(
        "a realm with {} MiB of memory, on a host with {} MiB",
        memory >> 20,
        there >> 20
    ))
    .advise("give the guest less: --memory"))
}

/// The number of KVM_CAP_ARM_RMI, which the component can be told to change.
fn capability() -> u32 {
    let told = fs::read_to_string(format!("{COMPONENT}/parameters/cap"));
    let number = told.ok().and_then(|text| text.trim().parse().ok());
    number.unwrap_or(KVM_CAP_ARM_RMI)
}

/// Why KVM_CAP_ARM_RMI is 0.
fn no_realms() -> Error {
    let what = "this host cannot run realms (KVM_CAP_ARM_RMI is 0)";
    match Path::new(COMPONENT).exists() {
        true => Error::plain(format!("{what}: kvm_arm_rmi found no RMM that it can use")).advise(
            "see what it says: dmesg | grep kvm_arm_rmi; the firmware needs an RMM with RMI 2.0",
        ),
        false => Error::plain(format!("{what}: kvm_arm_rmi is not loaded"))
            .advise("load it: modprobe kvm_arm_rmi; an ordinary guest runs without: --no-realm"),
    }
}
