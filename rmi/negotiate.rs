// SPDX-License-Identifier: GPL-2.0

//! From "is there an RMM?" to "it is active and does what we need", once, when the component loads.
//!
//! The order is fixed by the RMM: version, features, configuration, activation; only then does it
//! take granules. An RMM that somebody has activated before (the firmware layer of a newer kernel,
//! or an earlier load of this module) is as good as one that we activate.

use super::cmd::granule::{tracking_get, Category, Tracking, TrackingInfo};
use super::cmd::rmm::{
    activate, config_get, config_set, features, version, Config, Version, Versions,
};
use super::{
    AddrRange,
    Conduit,
    Error,
    Features,
    GranuleRange,
    Rmi,
    SharedPage,
    Status,
    Undelegated, //
};
use core::fmt;

/// IPA sizes in bits that a realm can have at all: the architecture's limits for stage 2.
const S2SZ: core::ops::RangeInclusive<u64> = 32..=52;

/// What was agreed with the RMM.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Negotiated {
    /// The version both sides speak.
    pub version: Version,
    /// What the RMM can do.
    pub features: Features,
    /// The RMM was active before we came.
    pub was_active: bool,
}

/// Why the component cannot work with what is below it. Nothing is left changed, except that the
/// RMM may have been activated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decline {
    /// Nobody answers RMI_VERSION.
    NoRmm,
    /// The RMM speaks neither of our versions.
    Version(Versions),
    /// The RMM cannot work with the host's page size.
    GranuleSize,
    /// A feature register says what cannot be.
    Features(Features),
    /// The RMM was activated by somebody else, with another configuration than we need.
    Config(Config),
    /// A command failed that has to work.
    Command(Error),
    /// Memory of the host cannot be delegated.
    Ram(TrackingInfo),
}

impl From<Error> for Decline {
    fn from(error: Error) -> Self {
        Decline::Command(error)
    }
}

impl fmt::Display for Decline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decline::NoRmm => write!(f, "no RMM answers: the firmware forwards no RMI calls"),
            Decline::Version(versions) => write!(
                f,
                "the RMM speaks RMI {} to {}, this kernel {} and {}",
                versions.lower,
                versions.higher,
                Version::V1_0,
                Version::OURS
            ),
            Decline::GranuleSize => write!(
                f,
                "the RMM cannot work with pages of {} bytes",
                super::GRANULE_SIZE
            ),
            Decline::Features(features) => write!(
                f,
                "the RMM's feature registers make no sense: {:x?}",
                features.regs()
            ),
            Decline::Config(config) => write!(
                f,
                "the RMM is active with another configuration (granule size code {}, tracking region size code {})",
                config.granule_size, config.tracking_region_size
            ),
            Decline::Command(error) => write!(f, "{error}"),
            Decline::Ram(info) => write!(
                f,
                "memory {} cannot be delegated ({:?}, tracking {:?})",
                info.range, info.category, info.tracking
            ),
        }
    }
}

/// Agrees on a version, reads the features, and sees to it that the RMM is active.
///
/// `page` is used while this runs only.
///
/// # Errors
///
/// The reason why there will be no realms on this host.
pub fn negotiate<C: Conduit>(
    rmi: &Rmi<C>,
    page: &mut impl SharedPage,
) -> Result<Negotiated, Decline> {
    let version = agree(rmi)?;
    let features = features(rmi)?;
    let config = Config::for_granule(crate::GRANULE_SHIFT)
        .filter(|_| features.granule(crate::GRANULE_SHIFT))
        .ok_or(Decline::GranuleSize)?;
    if !S2SZ.contains(&features.s2sz()) {
        return Err(Decline::Features(features));
    }

    // In RMI 1.0 there is nothing to configure, and no RMM that is not active.
    let was_active = rmi.is_v1() || !configure(rmi, page, config)?;
    if !was_active {
        activate(rmi)?;
    }
    Ok(Negotiated {
        version,
        features,
        was_active,
    })
}

/// Agrees on the highest version that both sides speak. Every other command depends on it.
///
/// # Errors
///
/// [`Decline::NoRmm`], [`Decline::Version`], and a failed command.
fn agree<C: Conduit>(rmi: &Rmi<C>) -> Result<Version, Decline> {
    let ask = |wanted| {
        let versions = version(rmi, wanted).map_err(|error| match error {
            Error::NotForwarded(_) => Decline::NoRmm,
            other => Decline::Command(other),
        })?;
        // An RMM that agrees and names a span without the version is not one to rely on.
        let in_span = (versions.lower..=versions.higher).contains(&wanted);
        Ok::<_, Decline>((versions, versions.compatible && in_span))
    };
    let (versions, agreed) = ask(Version::OURS)?;
    if agreed {
        return Ok(Version::OURS);
    }
    let has_v1 = (versions.lower..=versions.higher).contains(&Version::V1_0);
    if versions.compatible || !has_v1 {
        return Err(Decline::Version(versions));
    }
    match ask(Version::V1_0)? {
        (_, true) => {
            rmi.conduit().dialect().speak_v1();
            Ok(Version::V1_0)
        }
        (versions, false) => Err(Decline::Version(versions)),
    }
}

/// Sets the configuration, or makes sure that an active RMM has it. False if the RMM is active.
///
/// # Errors
///
/// [`Decline::Config`] for an active RMM that is configured otherwise, and failed commands.
fn configure<C: Conduit>(
    rmi: &Rmi<C>,
    page: &mut impl SharedPage,
    wanted: Config,
) -> Result<bool, Decline> {
    match config_set(rmi, page, wanted) {
        Ok(()) => Ok(true),
        Err(error) if error.status() == Some(Status::ErrorGlobal) => {
            let config = config_get(rmi, page)?;
            if config.granule_size != wanted.granule_size {
                return Err(Decline::Config(config));
            }
            Ok(false)
        }
        Err(error) => Err(error.into()),
    }
}

/// As [`check_ram`], for memory that nobody uses yet: an RMM that speaks RMI 1.0 is asked to take the first and
/// the last granule of it, and to give them back.
///
/// # Errors
///
/// As for [`check_ram`], or the refusal.
pub fn check_unused_ram<C: Conduit>(rmi: &Rmi<C>, range: AddrRange) -> Result<(), Decline> {
    if !rmi.is_v1() {
        return check_ram(rmi, range);
    }
    for granule in [range.first(), range.last()] {
        try_granule(rmi, granule)?;
    }
    Ok(())
}

/// Delegates a granule that nobody uses yet, and takes it back. What the RMM keeps is leaked.
///
/// # Errors
///
/// The refusal.
fn try_granule<C: Conduit>(rmi: &Rmi<C>, granule: AddrRange) -> Result<(), Error> {
    let there = GranuleRange::<Undelegated>::of(granule).delegate(rmi);
    let (kept, error) = match there.done.map(|granule| granule.undelegate(rmi)) {
        Some(back) => (back.rest, back.error),
        None => (None, there.error),
    };
    kept.into_iter().for_each(|kept| kept.leak(rmi));
    error.map_or(Ok(()), Err)
}

/// Checks that every granule of a range of the host's memory can be delegated. An RMM that speaks RMI 1.0
/// does not tell before it is asked to.
///
/// # Errors
///
/// [`Decline::Ram`] with the first part that cannot.
pub fn check_ram<C: Conduit>(rmi: &Rmi<C>, range: AddrRange) -> Result<(), Decline> {
    if rmi.is_v1() {
        return Ok(());
    }
    let mut at = range.base();
    while let Some(todo) = AddrRange::new(at, range.top()) {
        let info = tracking_get(rmi, todo)?;
        if (info.category, info.tracking) != (Category::Conventional, Tracking::Fine) {
            return Err(Decline::Ram(info));
        }
        at = info.range.top();
        rmi.pause();
    }
    Ok(())
}
