// SPDX-License-Identifier: GPL-2.0

//! Host calls: the realm passes the host 31 registers, and gets as many back.

use super::psci::SMC64;
use crate::rmi::run;
use crate::rmi::SharedPage;

/// What a call that the host refuses returns in x0 to x3: SMCCC's NOT_SUPPORTED.
pub const NOT_SUPPORTED: [u64; 4] = [u64::MAX, 0, 0, 0];

/// SMCCC: a fast call to the standard secure services, without the function's number. The hint
/// about SVE (bit 16) and the size of arguments do not matter.
const STANDARD_SECURE: u32 = 0x8400_0000;
const HINTS: u32 = SMC64 | (1 << 16);
/// The functions of PSCI among them.
const PSCI_NUMBERS: u32 = 0x1f;

/// HVC64 in ESR_EL2, with IL.
const HVC: u64 = (0x16 << 26) | (1 << 25);

/// A host call. Its registers come with [`super::Exit::take_gprs`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HostCall {
    /// The number that the call has.
    pub imm: u16,
    /// True if x0 is a function of PSCI. The realm's PSCI is the RMM's: KVM's must not see the call.
    /// It returns [`NOT_SUPPORTED`], and the REC can be entered.
    pub is_psci: bool,
}

impl HostCall {
    pub(super) fn decode<P: SharedPage>(report: &run::Exit<'_, P>) -> Self {
        let [a, b, c, d, ..] = report.gpr(0).to_le_bytes();
        let function = u32::from_le_bytes([a, b, c, d]);
        Self {
            imm: report.imm(),
            is_psci: function & !HINTS & !PSCI_NUMBERS == STANDARD_SECURE,
        }
    }

    /// The syndrome of the HVC that KVM takes this for.
    pub fn esr(&self) -> u64 {
        HVC | u64::from(self.imm)
    }
}
