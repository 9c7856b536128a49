// SPDX-License-Identifier: GPL-2.0

//! The interface between EL3 and the RMM (RMM-EL3 interface 0.4, boot manifest 0.3): what the RMM
//! is told at boot, what it answers, and the calls it makes.

pub mod manifest;

use kvm_arm_rmi::rmi::PhysAddr;

pub use manifest::{Console, Manifest};

/// Function identifiers of the calls that the RMM makes.
pub mod fid {
    /// RMM_RMI_REQ_COMPLETE: x1 to x5 return x0 to x4 to the host; returns with its next command.
    pub const RMI_REQ_COMPLETE: u64 = 0xc400_018f;
    /// RMM_GTSI_DELEGATE: x1 is the PA of a granule to move to the Realm address space.
    pub const GTSI_DELEGATE: u64 = 0xc400_01b0;
    /// RMM_GTSI_UNDELEGATE: x1 is the PA of a granule to move to the Non-secure address space.
    pub const GTSI_UNDELEGATE: u64 = 0xc400_01b1;
    /// RMM_BOOT_COMPLETE: x1 is 0 or a [`super::BootError`]; returns with the first RMI command.
    pub const BOOT_COMPLETE: u64 = 0xc400_01cf;
}

/// Major version of the RMM-EL3 interface that the RMM speaks.
const VERSION_MAJOR: u16 = 0;
/// Lowest minor version that will do.
const VERSION_MINOR: u16 = 4;

/// A version of the interface or of the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Version {
    /// Changes when an older peer would misunderstand: bits 30:16.
    pub major: u16,
    /// Changes when something is added: bits 15:0.
    pub minor: u16,
}

impl Version {
    /// The version in its 32-bit form; bit 31 is reserved. `None` if `raw` has bits above that.
    fn from_raw(raw: u64) -> Option<Self> {
        let raw = u32::try_from(raw).ok()?;
        Some(Self {
            major: u16::try_from(raw >> 16 & 0x7fff).ok()?,
            minor: u16::try_from(raw & 0xffff).ok()?,
        })
    }

    /// True if a peer of this version offers all of version `major.minor`.
    fn offers(self, major: u16, minor: u16) -> bool {
        self.major == major && self.minor >= minor
    }
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Why the RMM cannot boot, as RMM_BOOT_COMPLETE reports it. EL3 then goes on without an RMM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i64)]
pub enum BootError {
    /// None of the others.
    Unknown = -1,
    /// EL3 speaks another version of the interface.
    VersionMismatch = -2,
    /// There are more CPUs than the RMM can serve.
    CpusOutOfRange = -3,
    /// The number of this CPU is not below the number of CPUs.
    CpuIdOutOfRange = -4,
    /// The address of the page that EL3 and the RMM share is 0 or not page aligned.
    InvalidSharedBuffer = -5,
    /// The manifest has a version that the RMM does not know.
    ManifestVersion = -6,
    /// The manifest contradicts itself, or describes a machine that the RMM cannot serve.
    ManifestData = -7,
}

impl BootError {
    /// The code in x1 of RMM_BOOT_COMPLETE: a negative number of 64 bits.
    pub const fn raw(self) -> u64 {
        u64::from_ne_bytes((self as i64).to_ne_bytes())
    }
}

/// What EL3 hands over in x0 to x3 when it boots the RMM on the first CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ColdBoot {
    /// Version of the RMM-EL3 interface.
    pub version: Version,
    /// Number of CPUs that EL3 may boot the RMM on. Their numbers are below it.
    pub cpus: u64,
    /// The page that EL3 and the RMM share, in the Realm address space. Starts with the manifest.
    pub shared: PhysAddr,
}

impl ColdBoot {
    /// Judges x0 to x3, for an RMM that can serve `max_cpus` CPUs.
    ///
    /// # Errors
    ///
    /// The [`BootError`] of the first argument that is wrong, in the order version, number of CPUs,
    /// CPU, shared page.
    pub fn new(args: [u64; 4], max_cpus: u64) -> Result<Self, BootError> {
        let [cpu, version, cpus, shared] = args;
        let version = Version::from_raw(version)
            .filter(|v| v.offers(VERSION_MAJOR, VERSION_MINOR))
            .ok_or(BootError::VersionMismatch)?;
        if cpus > max_cpus {
            return Err(BootError::CpusOutOfRange);
        }
        if cpu >= cpus {
            return Err(BootError::CpuIdOutOfRange);
        }
        let shared = PhysAddr::new(shared);
        if shared.raw() == 0 || !shared.is_granule_aligned() {
            return Err(BootError::InvalidSharedBuffer);
        }
        Ok(Self {
            version,
            cpus,
            shared,
        })
    }
}

/// Judges x0 to x3 of a later boot, of another CPU or of one that was off: the CPU, and zeroes.
///
/// # Errors
///
/// [`BootError::CpuIdOutOfRange`] if the CPU is not below `cpus`, [`BootError::Unknown`] if the
/// rest is not 0.
pub fn check_warm_boot(args: [u64; 4], cpus: u64) -> Result<(), BootError> {
    match args {
        [cpu, ..] if cpu >= cpus => Err(BootError::CpuIdOutOfRange),
        [_, 0, 0, 0] => Ok(()),
        _ => Err(BootError::Unknown),
    }
}
