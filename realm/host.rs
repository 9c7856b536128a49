// SPDX-License-Identifier: GPL-2.0

//! Bringing up the RMM when the component loads.

use super::{dump::List, smc::HostSmc, vmids::Vmids};
use crate::{
    rmi::{
        self,
        cmd::rmm::Version,
        AddrRange,
        Conduit,
        Decline,
        Delegated,
        GranuleRange,
        Negotiated,
        PhysAddr,
        Rmi, //
    },
    sys::{
        memory::{self, Page},
        platform::{self, NoTakeover},
        prelude::*,
        ram_watch::RamWatch,
        smc::Smc, //
    }, //
};

/// A host whose RMM is active.
pub struct Host {
    /// The way to the RMM.
    pub rmi: Rmi<HostSmc>,
    /// What was agreed with it.
    pub negotiated: Negotiated,
    /// The realms, as crash kernels find them. The lock is taken last.
    pub realms: Mutex<List>,
    /// Which VMIDs realms have. The lock is taken last.
    pub vmids: Mutex<Vmids>,
    no_takeover: Option<NoTakeover>,
}

impl Host {
    /// A VM ends. If the RMM keeps memory the component stays until the machine is reset: somebody has to keep
    /// what is bad of that from going offline ([`check_leaving_ram`]), and to know how much it is.
    pub fn stay_if_leaked(&self) {
        if self.rmi.conduit().counts().leaked() != 0 {
            platform::stay_loaded();
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        platform::set_dump(PhysAddr::new(0));
        let left = self.rmi.conduit().counts().delegated();
        if left != 0 {
            // The count ends here. What is leaked would be in another kernel's way until the machine is reset.
            pr_err!("{left} granules stay with the RMM until the machine is reset\n");
            self.no_takeover
                .take()
                .into_iter()
                .for_each(NoTakeover::keep);
        }
    }
}

/// Allocates `1 << order` granules and delegates them.
///
/// # Errors
///
/// `ENOMEM`, or what [`errno`] makes of the RMM's answer. Either way nothing is kept.
pub fn alloc_delegated<C: Conduit>(rmi: &Rmi<C>, order: u32) -> Result<GranuleRange<Delegated>> {
    let moved = memory::alloc(order)?.delegate(rmi);
    if let Some(rest) = moved.rest {
        memory::put(rest);
    }
    match (moved.done, moved.error) {
        (Some(granules), None) => Ok(granules),
        (done, error) => {
            // What cannot be taken back either is leaked, which the log will say.
            let _ = done.map(|granules| undelegate(rmi, granules));
            Err(error.map_or(EIO, errno))
        }
    }
}

/// Takes granules back, and drops the references to their pages. What the RMM keeps is leaked, and the
/// log says so: one that it refuses does not take those that follow with it.
///
/// # Errors
///
/// It keeps some.
pub fn undelegate<C: Conduit>(
    rmi: &Rmi<C>,
    granules: GranuleRange<Delegated>,
) -> Result<(), rmi::Error> {
    let (mut left, mut result) = (Some(granules), Ok(()));
    while let Some(granules) = left.take() {
        let moved = granules.undelegate(rmi);
        moved.done.into_iter().for_each(memory::put);
        let Some(error) = moved.error else { break };
        report(error);
        let (kept, follow) = match (error.status(), moved.rest) {
            (Some(rmi::Status::ErrorInput), Some(rest)) => rest.split(1),
            (_, rest) => (rest, None),
        };
        kept.into_iter().for_each(|kept| kept.leak(rmi));
        left = follow;
        result = result.and(Err(error));
    }
    result
}

/// What user space is told of a command that failed: it can help where memory lacks, and the counters
/// in debugfs have the rest. The only place where one becomes the other.
pub fn errno(error: rmi::Error) -> Error {
    match error {
        rmi::Error::NoMemory(_) => ENOMEM,
        rmi::Error::Refused(..)
        | rmi::Error::NotForwarded(_)
        | rmi::Error::Withheld(_)
        | rmi::Error::StillBusy(_)
        | rmi::Error::Idle(_)
        | rmi::Error::WantsMemory(_)
        | rmi::Error::Broken(..) => EIO,
    }
}

/// As [`errno`], for commands on behalf of a vCPU: `ESHUTDOWN` if another one has just turned the
/// realm off. It never gets to user space, for the next entry tells the same.
pub fn errno_or_off(error: rmi::Error) -> Error {
    match error.status() {
        Some(rmi::Status::ErrorRealm) => ESHUTDOWN,
        _ => errno(error),
    }
}

/// Negotiates with the RMM and activates it. Memory that goes online later has to be such that the RMM
/// takes it as long as the second of the results is there; and what goes offline such that the RMM has none of it.
///
/// # Errors
///
/// The kernel log has the reason. `EBUSY` if another kernel is about to take over, `ENODEV` if the
/// machine has no RMM or one that we cannot work with, or is not to have realms, `EIO` if the RMM refuses
/// what it has to do, `ENOMEM`.
pub fn start() -> Result<(Arc<Host>, RamWatch<Host>)> {
    if let Some(obstacle) = obstacle() {
        pr_info!("no realms: {}\n", obstacle);
        return Err(ENODEV);
    }
    let Some(smc) = Smc::new() else {
        pr_info!("no realms: the firmware is not reached by SMC\n");
        return Err(ENODEV);
    };
    let rmi = Rmi::new(HostSmc::new(smc));
    let no_takeover = NoTakeover::new().inspect_err(|_| {
        pr_err!("no realms: a kernel is loaded for kexec, or the host hibernates\n");
    })?;
    let negotiated = match rmi::negotiate(&rmi, &mut Page::new()?) {
        Ok(negotiated) => negotiated,
        Err(reason) => return Err(decline(reason)),
    };
    let vmids = Vmids::new(match negotiated.version {
        Version::V1_0 => platform::vmid_bits(),
        _ => 0,
    })?;
    let host = Host {
        rmi,
        negotiated,
        realms: mutex!(List::new()?, "kvm_arm_rmi::realms")?,
        vmids: mutex!(vmids, "kvm_arm_rmi::vmids")?,
        no_takeover: Some(no_takeover),
    };
    let host = Arc::new(host, GFP_KERNEL)?;
    // It is watched before it is looked at: what comes in between is a block that was about to go online when
    // this began, and has not done so when it is looked at.
    let watch = RamWatch::new(&host, check_new_ram, check_leaving_ram)?;
    memory::for_each_ram(|range| check_online_ram(&host, range))?;
    // Nothing above delegates: know that it works before a realm depends on it.
    undelegate(&host.rmi, alloc_delegated(&host.rmi, 0)?).map_err(errno)?;
    platform::set_dump(host.realms.lock().pa());
    Ok((host, watch))
}

/// Why there can be no realms, whatever the RMM is, in the words of the log.
fn obstacle() -> Option<&'static str> {
    match () {
        () if !platform::is_enabled() => Some("the parameter enabled=0 says so"),
        () if platform::is_crash_kernel() => Some("this kernel is there to dump another one"),
        () if !platform::has_rme() => Some("not every CPU has the Realm Management Extension"),
        () if !platform::has_vhe() => Some("the kernel is not at EL2 with VHE, see kvm-arm.mode"),
        () if !platform::has_kvm() => Some("KVM is not there"),
        () => None,
    }
}

/// All memory that is online can be delegated; what is not is looked at when it is about to be.
///
/// # Errors
///
/// As for [`start`].
fn check_online_ram(host: &Host, mut range: AddrRange) -> Result {
    while let Err(reason) = rmi::check_ram(&host.rmi, range) {
        let Decline::Ram(info) = reason else {
            return Err(decline(reason));
        };
        let online = memory::next_online(info.range);
        if online == info.range.base() {
            return Err(decline(reason));
        }
        match AddrRange::new(online, range.top()) {
            Some(rest) => range = rest,
            None => return Ok(()),
        }
    }
    Ok(())
}

/// Memory that the RMM does not take stays offline: any page may become a realm's.
///
/// # Errors
///
/// As for [`start`].
fn check_new_ram(host: &Host, range: AddrRange) -> Result {
    rmi::check_unused_ram(&host.rmi, range).map_err(|reason| {
        pr_err!("new memory stays offline: {}\n", reason);
        declined(reason)
    })
}

/// Memory that is known to be bad stays online as long as the RMM has any: the kernel passes over it, whoever has
/// it, and when its block is removed and added again it would be as if it were new. That the RMM has some is all
/// that is looked at, for bad memory is rare, and what the RMM has of it is nobody's to say.
///
/// # Errors
///
/// `EBUSY`: that is so.
fn check_leaving_ram(host: &Host, range: AddrRange) -> Result {
    let has_any = host.rmi.conduit().counts().delegated() != 0;
    match has_any && range.addresses().any(memory::is_bad) {
        true => Err(EBUSY),
        false => Ok(()),
    }
}

/// Says why there will be no realms, and what to return for it.
fn decline(reason: Decline) -> Error {
    pr_err!("no realms: {}\n", reason);
    declined(reason)
}

/// What a reason is as an error.
fn declined(reason: Decline) -> Error {
    match reason {
        Decline::Command(_) => EIO,
        _ => ENODEV,
    }
}

/// Says what there is: realms can be made from here on.
pub fn announce(host: &Host) {
    let how = match host.negotiated.was_active {
        true => "was active already",
        false => "activated",
    };
    pr_info!(
        "RMI {} active ({}): granule size {}, {}\n",
        host.negotiated.version,
        how,
        rmi::GRANULE_SIZE,
        host.negotiated.features
    );
}

/// Says, once, that the RMM has kept memory.
pub fn report(error: rmi::Error) {
    pr_err_once!(
        "memory is lost to the realm world, see granules in debugfs: {}\n",
        error
    );
}
