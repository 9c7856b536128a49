// SPDX-License-Identifier: GPL-2.0

//! Commands on RECs, the virtual CPUs of a realm.
//!
//! RMI_REC_ENTER is not here: the kernel makes it with interrupts masked, from C.

use super::realm::{Failed, RdName};
use super::v1;
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
    SharedPage,
    Status, //
};

/// What a REC begins with, `RmiRecParams`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Params {
    /// It may run at once; otherwise only after another REC has turned it on.
    pub runnable: bool,
    /// Its MPIDR, affinity fields only. The RMM wants them in the order of creation, from 0 up.
    pub mpidr: u64,
    /// Where it begins.
    pub pc: u64,
    /// X0 to X7.
    pub gprs: [u64; 8],
}

/// Byte offsets in the structure, which fills a granule.
mod offset {
    pub(super) const FLAGS: usize = 0x0;
    pub(super) const MPIDR: usize = 0x100;
    pub(super) const PC: usize = 0x200;
    pub(super) const GPRS: usize = 0x300;
}

impl Params {
    fn write(&self, page: &mut impl SharedPage) {
        page.write(offset::FLAGS, self.runnable.into());
        page.write(offset::MPIDR, self.mpidr);
        page.write(offset::PC, self.pc);
        for (n, value) in self.gprs.iter().enumerate() {
            page.write(n.saturating_mul(8).saturating_add(offset::GPRS), *value);
        }
    }
}

/// A REC that the RMM knows. Only [`destroy`] gives its memory back.
#[derive(Debug)]
#[must_use = "a REC that is not destroyed keeps its memory"]
pub struct Rec {
    granule: GranuleRange<Delegated>,
    loans: Loans,
}

impl Rec {
    /// The REC's name.
    pub fn name(&self) -> RecName {
        RecName(self.granule.range().base())
    }

    /// What the RMM was lent for it.
    pub fn loans(&self) -> &Loans {
        &self.loans
    }

    /// Gives up on a REC that cannot be destroyed: what it is made of is leaked.
    pub fn leak<C: Conduit>(mut self, rmi: &Rmi<C>) {
        let lost = self.loans.write_off();
        rmi.count(|counts| counts.leak(lost));
        self.granule.leak(rmi);
    }
}

/// The address of a REC, by which commands name it. That there still is one is the RMM's to check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecName(PhysAddr);

impl RecName {
    /// The name by which KVM knows a REC. A wrong one names no REC, which the RMM says.
    pub const fn from_raw(raw: u64) -> Self {
        Self(PhysAddr::new(raw))
    }

    /// The address as commands take it.
    pub const fn raw(self) -> u64 {
        self.0.raw()
    }
}

/// RMI_REC_CREATE (0xC400015A): gives a realm that is New another REC.
///
/// `page` holds the parameters during the call; it must be zeroed.
///
/// # Errors
///
/// * ERROR_INPUT: the granule is not delegated, or the MPIDR is not the next one.
/// * ERROR_REALM: the realm is not New, or has as many RECs as it may.
pub fn create<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    rd: RdName,
    granule: GranuleRange<Delegated>,
    params: &Params,
    page: &mut impl SharedPage,
    pages: &P,
    list: &mut L,
) -> Result<Rec, Failed<GranuleRange<Delegated>>> {
    params.write(page);
    let mut loans = Loans::new();
    let mut memory = Memory {
        pages,
        list,
        loans: &mut loans,
    };
    let args = [rd.raw(), granule.range().base().raw(), page.pa().raw()];
    let made = match rmi.is_v1() {
        true => v1::rec::create(rmi, rd, &args, page, &mut memory),
        false => rmi
            .with_memory(Fid::REC_CREATE, &args, &mut memory)
            .map(drop),
    };
    match made {
        Ok(()) => Ok(Rec { granule, loans }),
        Err(error) => {
            memory.write_off(rmi);
            if error.changed_nothing() {
                return Err(Failed {
                    granules: Some(granule),
                    error,
                });
            }
            granule.leak(rmi);
            Err(Failed {
                granules: None,
                error,
            })
        }
    }
}

/// RMI_REC_DESTROY (0xC400015B): the end of a REC that is not running.
///
/// # Errors
///
/// The REC stays in its slot. If the RMM leaves unclear whether there is one it has been leaked,
/// and the slot is empty.
///
/// * ERROR_REC: it is running.
pub fn destroy<C: Conduit, P: Pages, L: SharedPage>(
    rmi: &Rmi<C>,
    slot: &mut Option<Rec>,
    pages: &P,
    list: &mut L,
) -> Result<Option<GranuleRange<Delegated>>, Error> {
    let Some(mut rec) = slot.take() else {
        return Ok(None);
    };
    let args = [rec.name().raw()];
    let mut memory = Memory {
        pages,
        list,
        loans: &mut rec.loans,
    };
    let gone = match rmi.is_v1() {
        true => v1::rec::destroy(rmi, &args, &mut memory),
        false => rmi
            .with_memory(Fid::REC_DESTROY, &args, &mut memory)
            .map(drop),
    };
    match gone {
        Ok(()) => {
            memory.write_off(rmi);
            Ok(Some(rec.granule))
        }
        Err(error) if error.changed_nothing() => {
            *slot = Some(rec);
            Err(error)
        }
        Err(error) => {
            memory.write_off(rmi);
            rec.granule.leak(rmi);
            Err(error)
        }
    }
}

/// The host's verdict on a PSCI call that a REC has made about another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// PSCI SUCCESS.
    Success,
    /// PSCI DENIED.
    Denied,
}

/// PSCI's DENIED: -3.
const PSCI_DENIED: u64 = u64::MAX - 2;

/// RMI_PSCI_COMPLETE (0xC4000164): lets a REC go on that has asked PSCI about another.
///
/// RMMs of two dialects are about: the older takes the calling and the target REC, the newer the
/// calling one alone. What one dialect takes for an address of a REC the other takes for a status,
/// so the wrong one is refused with ERROR_INPUT and changes nothing.
///
/// # Errors
///
/// * ERROR_INPUT, by both dialects: the calling REC has no such request.
pub fn psci_complete<C: Conduit>(
    rmi: &Rmi<C>,
    calling: RecName,
    target: RecName,
    verdict: Verdict,
) -> Result<(), Error> {
    let status = match verdict {
        Verdict::Success => 0,
        Verdict::Denied => PSCI_DENIED,
    };
    let fid = Fid::PSCI_COMPLETE;
    match rmi.plain(fid, &[calling.raw(), target.raw(), status]) {
        Err(error) if error.status() == Some(Status::ErrorInput) => {
            rmi.plain(fid, &[calling.raw(), status]).map(drop)
        }
        result => result.map(drop),
    }
}
