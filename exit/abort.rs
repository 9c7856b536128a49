// SPDX-License-Identifier: GPL-2.0

//! Data and instruction aborts.

use super::exception::{Access, Fault, Half, Malformed, Sync};
use crate::rmi::run;
use crate::rmi::{IpaSpace, SharedPage, GRANULE_SIZE};

const EC: u64 = 0x3f << 26;
/// The instruction has 32 bits.
const IL: u64 = 1 << 25;
/// The access is described.
const ISV: u64 = 1 << 24;
/// Its size.
const SAS: u64 = 3 << 22;
/// Its register has 64 bits.
const SF: u64 = 1 << 15;
/// How bad an external abort is.
const SET: u64 = 3 << 11;
/// SET: whoever made the access has to know, and can go on without its result. All CPUs without
/// FEAT_RAS say so.
const SET_RECOVERABLE: u64 = 0;
/// The address of an external abort is not known.
const FNV: u64 = 1 << 10;
/// The external abort's own kind.
const EA: u64 = 1 << 9;
/// The access is a write.
const WNR: u64 = 1 << 6;
/// What kind of fault it is.
const FSC: u64 = 0x3f;

/// HPFAR_EL2.FIPA, and how far the IPA is shifted.
const FIPA: u64 = ((1 << 40) - 1) << 4;
const FIPA_SHIFT: u32 = 8;

/// A kind of fault.
enum Kind {
    /// The tables have nothing there, or nothing that may be accessed yet.
    Missing,
    /// The tables do not allow this kind of access.
    Permission,
    /// The memory system answers with an error.
    External,
    /// Another, which no table can help.
    Other,
}

impl Kind {
    fn of(esr: u64) -> Self {
        match esr & FSC {
            // Translation and access flag, at level 0 to 3; translation at level -1 and -2.
            0x04..=0x0b | 0x2b | 0x2a => Self::Missing,
            0x0c..=0x0f => Self::Permission,
            // On the access or on a walk, without and with an error of parity or ECC.
            0x10 | 0x13..=0x18 | 0x1b..=0x1f => Self::External,
            _ => Self::Other,
        }
    }
}

/// A data abort.
///
/// # Errors
///
/// It is outside of the IPA space.
pub(super) fn data<P: SharedPage>(
    report: &run::Exit<'_, P>,
    esr: u64,
    space: IpaSpace,
) -> Result<Sync, Malformed> {
    let kind = match Kind::of(esr) {
        Kind::External => return Ok(external(esr)),
        Kind::Other => return Ok(Sync::Unknown { esr }),
        kind => kind,
    };
    let (ipa, half) = place(report, space)?;
    let described = esr & ISV != 0 && half == Half::Unprotected;
    let (access, kept) = match described {
        true if esr & WNR != 0 => (Access::Write(report.gpr(0)), ISV | SAS | SF | WNR),
        true => (Access::Read, ISV | SAS | SF),
        false => (Access::Opaque, WNR),
    };
    let write = match (access, kind) {
        (Access::Opaque, Kind::Permission) => WNR,
        _ => 0,
    };
    Ok(Sync::Fault(Fault {
        esr: esr & (EC | FSC | kept) | write | IL,
        ipa,
        offset: report.far() & (GRANULE_SIZE - 1),
        half,
        access,
    }))
}

/// An instruction abort.
///
/// # Errors
///
/// It is outside of the IPA space, or not protected.
pub(super) fn instruction<P: SharedPage>(
    report: &run::Exit<'_, P>,
    esr: u64,
    space: IpaSpace,
) -> Result<Sync, Malformed> {
    match Kind::of(esr) {
        Kind::External => return Ok(external(esr)),
        Kind::Other => return Ok(Sync::Unknown { esr }),
        Kind::Missing | Kind::Permission => {}
    }
    match place(report, space)? {
        (ipa, Half::Protected) => Ok(Sync::Fault(Fault {
            esr: esr & (EC | FSC) | IL,
            ipa,
            offset: 0,
            half: Half::Protected,
            access: Access::Execute,
        })),
        (ipa, Half::Unprotected) => Err(Malformed::Fetch { ipa }),
    }
}

fn external(esr: u64) -> Sync {
    Sync::ExternalAbort {
        esr: esr & (EC | SET | FNV | EA | FSC) | IL,
        told: esr & SET == SET_RECOVERABLE,
    }
}

/// Where the access was.
///
/// # Errors
///
/// Outside of the IPA space.
fn place<P: SharedPage>(
    report: &run::Exit<'_, P>,
    space: IpaSpace,
) -> Result<(u64, Half), Malformed> {
    // All of FIPA fits when shifted, and its granule is at most 64 KiB.
    let ipa = ((report.hpfar() & FIPA) << FIPA_SHIFT) & !(GRANULE_SIZE - 1);
    let bit = space.unprotected_bit();
    match (ipa & bit, ipa & !bit) {
        (_, rest) if rest >= bit => Err(Malformed::Outside { ipa }),
        (0, rest) => Ok((rest, Half::Protected)),
        (_, rest) => Ok((rest, Half::Unprotected)),
    }
}
