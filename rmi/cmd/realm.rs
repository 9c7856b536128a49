// SPDX-License-Identifier: GPL-2.0

//! Commands on a realm as a whole.

use crate::rmi::{
    Conduit,
    Delegated,
    Error,
    Fid,
    GranuleRange,
    Loans,
    Memory,
    Pages,
    PhysAddr,
    Rmi,
    SharedPage, //
};

/// How a realm is measured, `RmiHashAlgorithm`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashAlgorithm {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl HashAlgorithm {
    /// All of them, those that are taken first at the front.
    pub const ALL: [Self; 3] = [Self::Sha256, Self::Sha512, Self::Sha384];

    /// `RmiHashAlgorithm`.
    pub const fn raw(self) -> u64 {
        match self {
            Self::Sha256 => 0,
            Self::Sha512 => 1,
            Self::Sha384 => 2,
        }
    }
}

/// What a realm shall be, `RmiRealmParams`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Params {
    /// Width of the IPA space in bits.
    pub s2sz: u32,
    /// Addresses of 52 bits in the tables: see [`needs_lpa2`](crate::rmi::needs_lpa2).
    pub lpa2: bool,
    /// Longest SVE vector in quadwords, or no SVE.
    pub sve_vq: Option<u64>,
    /// Number of breakpoints, at least 2.
    pub breakpoints: u64,
    /// Number of watchpoints, at least 2.
    pub watchpoints: u64,
    /// Number of event counters of the PMU, or no PMU.
    pub pmu_counters: Option<u64>,
    /// How it is measured.
    pub hash: HashAlgorithm,
    /// Realm personalisation value: part of what is attested, meaningful to the deployer only.
    pub rpv: [u64; 8],
    /// Level of the starting tables, -1 to 3.
    pub rtt_level_start: i64,
}

/// The VMID of a realm, which RMI 1.0 leaves to the host: one that no other realm has. Since 2.0 the RMM
/// chooses it, and what the host says means nothing.
///
/// It is the realm's as long as the RMM may know that.
#[derive(Debug)]
#[must_use = "a VMID that is not given back cannot be used again"]
pub struct Vmid(u16);

impl Vmid {
    /// The VMID with this number.
    pub const fn new(raw: u16) -> Self {
        Self(raw)
    }

    /// Its number.
    pub const fn raw(&self) -> u16 {
        self.0
    }
}

/// Byte offsets in the structure, which fills a granule.
mod offset {
    pub(super) const FLAGS0: usize = 0x0;
    pub(super) const S2SZ: usize = 0x8;
    pub(super) const SVE_VL: usize = 0x10;
    pub(super) const NUM_BPS: usize = 0x18;
    pub(super) const NUM_WPS: usize = 0x20;
    pub(super) const PMU_NUM_CTRS: usize = 0x28;
    pub(super) const HASH_ALGO: usize = 0x30;
    pub(super) const RPV: usize = 0x400;
    pub(super) const VMID: usize = 0x800;
    pub(super) const RTT_BASE: usize = 0x808;
    pub(super) const RTT_LEVEL_START: usize = 0x810;
    pub(super) const RTT_NUM_START: usize = 0x818;
}

const FLAG_LPA2: u64 = 1 << 0;
const FLAG_SVE: u64 = 1 << 1;
const FLAG_PMU: u64 = 1 << 2;

impl Params {
    /// Fills a zeroed page with the structure.
    fn write(&self, granules: &RealmGranules, page: &mut impl SharedPage) {
        let roots = granules.roots.range();
        let mut flags = 0;
        if self.lpa2 {
            flags |= FLAG_LPA2;
        }
        if let Some(vq) = self.sve_vq {
            flags |= FLAG_SVE;
            page.write(offset::SVE_VL, vq.saturating_sub(1));
        }
        if let Some(counters) = self.pmu_counters {
            flags |= FLAG_PMU;
            page.write(offset::PMU_NUM_CTRS, counters);
        }
        page.write(offset::FLAGS0, flags);
        page.write(offset::S2SZ, self.s2sz.into());
        page.write(offset::NUM_BPS, self.breakpoints.saturating_sub(1));
        page.write(offset::NUM_WPS, self.watchpoints.saturating_sub(1));
        page.write(offset::HASH_ALGO, self.hash.raw());
        for (n, word) in self.rpv.iter().enumerate() {
            page.write(n.saturating_mul(8).saturating_add(offset::RPV), *word);
        }
        page.write(offset::VMID, granules.vmid.raw().into());
        page.write(offset::RTT_BASE, roots.base().raw());
        page.write(
            offset::RTT_LEVEL_START,
            u64::from_le_bytes(self.rtt_level_start.to_le_bytes()),
        );
        page.write(offset::RTT_NUM_START, roots.granules());
    }
}

/// A realm that the RMM knows: its descriptor (RD) and its starting tables, which the RMM has.
///
/// Only [`destroy`] gives them back. Dropping one leaks them; they stay counted as delegated.
#[derive(Debug)]
#[must_use = "a realm that is not destroyed keeps its memory"]
pub struct Rd {
    granules: RealmGranules,
    loans: Loans,
}

impl Rd {
    /// The realm's name.
    pub fn name(&self) -> RdName {
        RdName(self.granules.rd.range().base())
    }

    /// What the RMM was lent for it.
    pub fn loans(&self) -> &Loans {
        &self.loans
    }

    /// Gives up on a realm that cannot be destroyed: what it is made of is leaked.
    pub fn leak<C: Conduit>(mut self, rmi: &Rmi<C>) {
        let lost = self.loans.write_off();
        rmi.count(|counts| counts.leak(lost));
        self.granules.leak(rmi);
    }
}

/// The address of an RD, by which commands name the realm. That there still is one is the RMM's to
/// check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RdName(PhysAddr);

impl RdName {
    /// The address as commands take it.
    pub const fn raw(self) -> u64 {
        self.0.raw()
    }
}

/// The granules that a realm is made of, and its VMID.
#[derive(Debug)]
#[must_use = "memory that is not given back is lost"]
pub struct RealmGranules {
    /// For the RD: one granule.
    pub rd: GranuleRange<Delegated>,
    /// The starting tables: next to each other, aligned to their size.
    pub roots: GranuleRange<Delegated>,
    /// Its VMID.
    pub vmid: Vmid,
}

impl RealmGranules {
    /// Gives up on them. The VMID stays in use as well: there may be a realm that has it.
    fn leak<C: Conduit>(self, rmi: &Rmi<C>) {
        self.rd.leak(rmi);
        self.roots.leak(rmi);
    }
}

/// What is left when a command that takes granules has failed: these, unless the RMM left unclear
/// whose they are; then they have been leaked.
#[derive(Debug)]
#[must_use = "memory that is not given back is lost"]
pub struct Failed<G> {
    /// The granules.
    pub granules: Option<G>,
    /// Why.
    pub error: Error,
}

/// RMI_REALM_CREATE (0xC4000158): makes a realm, in state New.
///
/// `page` holds the parameters during the call; it must be zeroed, but for what the same parameters have left.
///
/// # Errors
///
/// * ERROR_INPUT: a parameter is out of range, or a granule is not delegated; in RMI 1.0, the VMID is one
///   that a realm has, or that the CPU has not.
/// * ERROR_GLOBAL: the RMM has no room for another realm.
pub fn create<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    granules: RealmGranules,
    params: &Params,
    page: &mut impl SharedPage,
    pages: &P,
    list: &mut L,
) -> Result<Rd, Failed<RealmGranules>> {
    params.write(&granules, page);
    let mut loans = Loans::new();
    let mut memory = Memory {
        pages,
        list,
        loans: &mut loans,
    };
    let rd = granules.rd.range().base().raw();
    let result = rmi.with_memory(Fid::REALM_CREATE, &[rd, page.pa().raw()], &mut memory);
    match result {
        Ok(_) => Ok(Rd { granules, loans }),
        Err(error) => {
            memory.write_off(rmi);
            if error.changed_nothing() {
                return Err(Failed {
                    granules: Some(granules),
                    error,
                });
            }
            granules.leak(rmi);
            Err(Failed {
                granules: None,
                error,
            })
        }
    }
}

/// RMI_REALM_ACTIVATE (0xC4000157): New becomes Active; what is measured is final.
///
/// # Errors
///
/// * ERROR_REALM: the realm is not New.
pub fn activate<C: Conduit>(rmi: &Rmi<C>, rd: RdName) -> Result<(), Error> {
    rmi.plain(Fid::REALM_ACTIVATE, &[rd.raw()])?;
    Ok(())
}

/// RMI_REALM_TERMINATE (0xC4000201): no REC of the realm will run again, and what the host shares with it is
/// forgotten. False on an RMM that is not told, for RMI 1.0 has no such thing: that none is entered is the
/// host's word then, and what is shared has to be unmapped.
///
/// # Errors
///
/// * ERROR_REALM: a REC is running.
pub fn terminate<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    rd: &mut Rd,
    pages: &P,
    list: &mut L,
) -> Result<bool, Error> {
    if rmi.is_v1() {
        return Ok(false);
    }
    let args = [rd.name().raw()];
    let mut memory = Memory {
        pages,
        list,
        loans: &mut rd.loans,
    };
    rmi.with_memory(Fid::REALM_TERMINATE, &args, &mut memory)?;
    Ok(true)
}

/// RMI_REALM_DESTROY (0xC4000159): the end of a terminated realm that has no RECs, tables or data.
///
/// # Errors
///
/// The realm stays in its slot. If the RMM leaves unclear whether there is one it has been leaked,
/// and the slot is empty.
///
/// * ERROR_REALM: it is not terminated, or something of it is left.
pub fn destroy<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    slot: &mut Option<Rd>,
    pages: &P,
    list: &mut L,
) -> Result<Option<RealmGranules>, Error> {
    let Some(mut rd) = slot.take() else {
        return Ok(None);
    };
    let args = [rd.name().raw()];
    let mut memory = Memory {
        pages,
        list,
        loans: &mut rd.loans,
    };
    match rmi.with_memory(Fid::REALM_DESTROY, &args, &mut memory) {
        Ok(_) => {
            memory.write_off(rmi);
            Ok(Some(rd.granules))
        }
        Err(error) if error.changed_nothing() => {
            *slot = Some(rd);
            Err(error)
        }
        Err(error) => {
            memory.write_off(rmi);
            rd.granules.leak(rmi);
            Err(error)
        }
    }
}
