// SPDX-License-Identifier: GPL-2.0

//! The identification registers as a realm sees them: the CPU's, without what realms do not get.

use crate::platform::Platform;

// The fields that a realm sees: those that TF-RMM knows, without what realms do not get.

/// ID_AA64PFR0_EL1: all but MPAM and the activity monitors.
const PFR0: u64 = !(0xf << 40 | 0xf << 44);
/// ID_AA64PFR0_EL1: SVE, which a realm may have or not.
const PFR0_SVE: u64 = 0xf << 32;
/// ID_AA64PFR1_EL1: among others without memory tags (MTE), SME and the minor number of MPAM.
const PFR1: u64 = 0x0f00_00ff_f000_f0ff;
/// ID_AA64PFR2_EL1: injection of undefined instructions (UINJ).
const PFR2: u64 = 0x0000_0000_000f_0000;
/// ID_AA64DFR0_EL1: HPMN0, watchpoints, breakpoints, and the versions of the PMU and of the debug
/// architecture.
const DFR0: u64 = 0xf000_0000_00f0_ff0f;
/// ID_AA64DFR0_EL1: the version of the PMU, which a realm may have or not.
const DFR0_PMU: u64 = 0xf << 8;
/// ID_AA64DFR1_EL1: those of ID_AA64DFR0_EL1 that did not fit there, and counters.
const DFR1: u64 = 0xff00_0f00_00ff_ff00;
/// ID_AA64DFR2_EL1: breakpoints and watchpoints for more than a byte (BWE).
const DFR2: u64 = 0x0000_0000_0000_00f0;
/// ID_AA64ISAR2_EL1: among others without RPRES and BC.
const ISAR2: u64 = 0x0000_00ff_0f0f_ff0f;
/// ID_AA64MMFR3_EL1: among others without stage 2 permission indirection and overlays.
const MMFR3: u64 = 0xfff0_ffff_f00f_0fff;
/// ID_AA64MMFR4_EL1: all but its upper third.
const MMFR4: u64 = 0x0000_00f0_ffff_ffff;

/// What a realm may have or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// SVE.
    pub sve: bool,
    /// A PMU.
    pub pmu: bool,
}

/// The identification registers of the CPU under `platform`.
pub struct Ids<'a, P> {
    platform: &'a P,
}

impl<'a, P: Platform> Ids<'a, P> {
    /// Those of this CPU.
    pub fn new(platform: &'a P) -> Self {
        Self { platform }
    }

    /// What a realm, with these options or without, reads from the register with op0 = 3, op1 = 0, CRn = 0 and
    /// these CRm and op2. 0 for those that it knows nothing of, those of AArch32 included.
    pub fn realm_view(&self, crm: u8, op2: u8, has: Options) -> u64 {
        let seen = match (crm, op2) {
            (4, 0) if has.sve => PFR0,
            (4, 0) => PFR0 & !PFR0_SVE,
            (4, 1) => PFR1,
            (4, 2) => PFR2,
            // ID_AA64ZFR0_EL1.
            (4, 4) if has.sve => u64::MAX,
            (5, 0) if has.pmu => DFR0,
            (5, 0) => DFR0 & !DFR0_PMU,
            (5, 1) => DFR1,
            (5, 2) => DFR2,
            // ID_AA64ISAR0_EL1 and ID_AA64ISAR1_EL1.
            (6, 0 | 1) => u64::MAX,
            (6, 2) => ISAR2,
            // ID_AA64MMFR0_EL1 to ID_AA64MMFR2_EL1.
            (7, 0..=2) => u64::MAX,
            (7, 3) => MMFR3,
            (7, 4) => MMFR4,
            _ => 0,
        };
        self.platform.id_register(crm, op2) & seen
    }

    /// FEAT_SSBS.
    pub fn has_ssbs(&self) -> bool {
        self.field(4, 1, 4) != 0
    }

    /// FEAT_NMI.
    pub fn has_nmi(&self) -> bool {
        self.field(4, 1, 36) != 0
    }

    /// The field of 4 bits from bit `low` on.
    fn field(&self, crm: u8, op2: u8, low: u32) -> u64 {
        self.platform
            .id_register(crm, op2)
            .checked_shr(low)
            .unwrap_or(0)
            & 0xf
    }
}
