// SPDX-License-Identifier: GPL-2.0

//! Commands on the RMM as a whole.

use crate::rmi::{
    Conduit,
    Error,
    FeatureRegs,
    Features,
    Fid,
    Rmi,
    SharedPage,
    Status, //
};
use core::fmt;

/// A version of the RMI: X1 and X2 of RMI_VERSION.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Version {
    /// Bits 30:16. Versions of different majors do not understand each other.
    pub major: u16,
    /// Bits 15:0. A higher minor understands a lower one.
    pub minor: u16,
}

impl Version {
    /// The version this project speaks.
    pub const OURS: Self = Self { major: 2, minor: 0 };
    /// The version before it, which [`crate::rmi`] speaks as well, and not yet all that is above.
    pub const V1_0: Self = Self { major: 1, minor: 0 };

    /// Reads a version out of a register; bits that have no meaning are ignored.
    pub fn from_raw(raw: u64) -> Self {
        let [minor_low, minor_high, major_low, major_high, ..] = raw.to_le_bytes();
        Self {
            major: u16::from_le_bytes([major_low, major_high & 0x7f]),
            minor: u16::from_le_bytes([minor_low, minor_high]),
        }
    }

    /// The version as it stands in a register.
    pub fn raw(self) -> u64 {
        (u64::from(self.major) << 16) | u64::from(self.minor)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// The answer to RMI_VERSION.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Versions {
    /// Whether the RMM speaks the version it was asked for.
    pub compatible: bool,
    /// What it will speak with us, or the nearest that it could.
    pub lower: Version,
    /// The highest version it has.
    pub higher: Version,
}

/// RMI_VERSION (0xC4000150): asks for a version, and which ones the RMM has.
///
/// # Errors
///
/// [`Error::NotForwarded`] where there is no RMM. A version that the RMM does not have is no error:
/// see [`Versions::compatible`].
pub fn version<C: Conduit>(rmi: &Rmi<C>, wanted: Version) -> Result<Versions, Error> {
    let (code, regs) = rmi.patiently(Fid::VERSION, &[wanted.raw()])?;
    let compatible = match code.status() {
        Status::Success => true,
        Status::ErrorInput => false,
        _ => return Err(Error::Refused(Fid::VERSION, code)),
    };
    Ok(Versions {
        compatible,
        lower: Version::from_raw(regs.x(1)),
        higher: Version::from_raw(regs.x(2)),
    })
}

/// RMI_FEATURES (0xC4000165): reads all feature registers.
///
/// # Errors
///
/// Whatever the RMM says instead of SUCCESS; a register that the RMM does not have reads as 0.
pub fn features<C: Conduit>(rmi: &Rmi<C>) -> Result<Features, Error> {
    if rmi.is_v1() {
        let regs = rmi.plain(Fid::FEATURES, &[0])?;
        return Ok(Features::from_v1(regs.x(1)));
    }
    let mut regs = FeatureRegs::default();
    for (index, reg) in (0..).zip(regs.iter_mut()) {
        *reg = rmi.plain(Fid::FEATURES, &[index])?.x(1);
    }
    Ok(Features::new(regs))
}

/// What can be set of an RMM before it is activated, `RmiRmmConfig`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// `RmiTrackingRegionSize`; 0 is the smallest: 1 GiB with granules of 4 KiB.
    pub tracking_region_size: u64,
    /// `RmiGranuleSize`: 0 is 4 KiB, 1 is 16 KiB, 2 is 64 KiB.
    pub granule_size: u64,
}

/// Byte offsets in the structure, which fills a granule.
const CONFIG_TRACKING_REGION_SIZE: usize = 0x0;
const CONFIG_GRANULE_SIZE: usize = 0x8;

impl Config {
    /// What a host with granules of `1 << shift` bytes wants, or `None` for sizes that no RMM has.
    pub fn for_granule(shift: u32) -> Option<Self> {
        let granule_size = match shift {
            12 => 0,
            14 => 1,
            16 => 2,
            _ => return None,
        };
        Some(Self {
            tracking_region_size: 0,
            granule_size,
        })
    }
}

/// RMI_RMM_CONFIG_SET (0xC400016E): sets the granule size. `page` is used for the call only.
///
/// # Errors
///
/// * ERROR_GLOBAL: the RMM is active already.
/// * ERROR_INPUT: it cannot be configured like this.
pub fn config_set<C: Conduit>(
    rmi: &Rmi<C>,
    page: &mut impl SharedPage,
    config: Config,
) -> Result<(), Error> {
    page.write(CONFIG_TRACKING_REGION_SIZE, config.tracking_region_size);
    page.write(CONFIG_GRANULE_SIZE, config.granule_size);
    rmi.plain(Fid::RMM_CONFIG_SET, &[page.pa().raw()])?;
    Ok(())
}

/// RMI_RMM_CONFIG_GET (0xC40001EC): how the RMM is configured. `page` is used for the call only.
///
/// # Errors
///
/// Whatever the RMM says instead of SUCCESS.
pub fn config_get<C: Conduit>(rmi: &Rmi<C>, page: &mut impl SharedPage) -> Result<Config, Error> {
    rmi.plain(Fid::RMM_CONFIG_GET, &[page.pa().raw()])?;
    Ok(Config {
        tracking_region_size: page.read(CONFIG_TRACKING_REGION_SIZE),
        granule_size: page.read(CONFIG_GRANULE_SIZE),
    })
}

/// RMI_RMM_ACTIVATE (0xC4000202): lets the RMM serve realms. There is no way back until a reset.
///
/// # Errors
///
/// * ERROR_GLOBAL: the RMM is active already.
/// * [`Error::WantsMemory`]: it needs memory of the host to become active, which is not supported.
pub fn activate<C: Conduit>(rmi: &Rmi<C>) -> Result<(), Error> {
    rmi.stateful(Fid::RMM_ACTIVATE, &[])?;
    Ok(())
}
