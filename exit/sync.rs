// SPDX-License-Identifier: GPL-2.0

//! Synchronous exceptions.

use super::abort;
use super::exception::{Malformed, Sync, Sysreg};
use crate::rmi::run;
use crate::rmi::{IpaSpace, SharedPage};

/// ESR_EL2.EC.
const EC_SHIFT: u32 = 26;
const EC: u64 = 0x3f << EC_SHIFT;
const WFX: u64 = 0x01;
const SYSREG: u64 = 0x18;
const INSTRUCTION_ABORT: u64 = 0x20;
const DATA_ABORT: u64 = 0x24;

/// ESR_EL2.IL: the instruction has 32 bits, as all that a realm can exit with have.
const IL: u64 = 1 << 25;
/// WFX: it is a WFE.
const IS_WFE: u64 = 1;

/// SYSREG: the encoding of the register, and the direction.
const SYSREG_ISS: u64 = 0x3f_ffff & !(0x1f << 5);
/// SYSREG: it is a read.
const IS_READ: u64 = 1;

impl Sync {
    /// # Errors
    ///
    /// What is reported cannot be true.
    pub(super) fn decode<P: SharedPage>(
        report: &run::Exit<'_, P>,
        space: IpaSpace,
    ) -> Result<Self, Malformed> {
        let esr = report.esr();
        Ok(match (esr & EC) >> EC_SHIFT {
            DATA_ABORT => return abort::data(report, esr, space),
            INSTRUCTION_ABORT => return abort::instruction(report, esr, space),
            SYSREG => Self::Sysreg(Sysreg {
                esr: esr & (EC | SYSREG_ISS) | IL,
                written: (esr & IS_READ == 0).then(|| report.gpr(0)),
            }),
            // The limit in time that WFIT and WFET have is in a register of the realm's. KVM would
            // look for it, so these are not told apart from those without.
            WFX => Self::Wait {
                esr: esr & (EC | IS_WFE) | IL,
            },
            _ => Self::Unknown { esr },
        })
    }
}
