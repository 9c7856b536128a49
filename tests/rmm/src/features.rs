// SPDX-License-Identifier: GPL-2.0

//! The feature registers, `RmiFeatureRegister0` to `4`: what this RMM can do on this CPU.
//!
//! They say what the RMM can do today. Planes, devices and memory encryption contexts are absent and
//! read as 0.

use crate::granule::MAX_COUNT;

/// `RmiFeatureRegister1`: the RMM can work with 4 KiB granules.
const GRANULE_4K: u64 = 1 << 0;
/// `RmiFeatureRegister1`: realms can be measured with SHA-256.
const SHA_256: u64 = 1 << 3;
/// `RmiFeatureRegister1`: realms can be measured with SHA-512.
const SHA_512: u64 = 1 << 5;

/// `RmiFeatureRegister1`, position of the binary logarithm of the most RECs in a realm.
const MAX_RECS_ORDER_SHIFT: u32 = 6;
/// Room for 1023 RECs, which is one less.
const MAX_RECS_ORDER: u64 = 10;
const _: () = assert!((1 << MAX_RECS_ORDER) - 1 == MAX_COUNT as u64);

/// `RmiFeatureRegister1`, position of the size of what one level 0 GPT entry covers.
const L0GPTSZ_SHIFT: u32 = 10;
/// 1 GiB, which is how EL3 builds its table on the machine the RMM runs on.
const L0GPTSZ_30_BITS: u64 = 0;

/// `RmiFeatureRegister1`, position of the size of the protected physical address space.
const PPS_SHIFT: u32 = 14;
/// 48 bits. EL3 has no call that tells; this is what TF-RMM answers on every machine.
const PPS_48_BITS: u64 = 5;

/// `RmiFeatureRegister0`: realms can have IPAs and tables with 52-bit addresses.
const LPA2: u64 = 1 << 8;
/// `RmiFeatureRegister0`: realms can have SVE.
const SVE: u64 = 1 << 9;
/// `RmiFeatureRegister0`, position of the longest vector.
const SVE_VL_SHIFT: u32 = 10;
/// `RmiFeatureRegister0`, position of the number of breakpoints, minus 1.
const NUM_BPS_SHIFT: u32 = 14;
/// `RmiFeatureRegister0`, position of the number of watchpoints, minus 1.
const NUM_WPS_SHIFT: u32 = 20;
/// `RmiFeatureRegister0`: realms can have a PMU.
const PMU: u64 = 1 << 26;
/// `RmiFeatureRegister0`, position of the number of event counters.
const PMU_NUM_CTRS_SHIFT: u32 = 27;

/// `RmiFeatureRegister0` of RMI 1.0: realms can be measured with SHA-256 and with SHA-512.
const V1_HASHES: u64 = 1 << 32 | 1 << 33;
/// `RmiFeatureRegister0` of RMI 1.0, position of the number of list registers, minus 1.
const V1_NUM_LRS_SHIFT: u32 = 34;
/// `RmiFeatureRegister0` of RMI 1.0, position of the binary logarithm of the most RECs in a realm.
const V1_MAX_RECS_ORDER_SHIFT: u32 = 38;

/// The identification registers that decide what the RMM can offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuId {
    /// ID_AA64DFR0_EL1: breakpoints and watchpoints.
    pub dfr0: u64,
    /// ID_AA64DFR1_EL1: breakpoints and watchpoints, where there are 16 or more of them.
    pub dfr1: u64,
    /// ID_AA64MMFR0_EL1: physical address range and translation granules.
    pub mmfr0: u64,
    /// Longest SVE vector in quadwords, minus 1. `None` without SVE.
    pub sve_vl: Option<u8>,
    /// Event counters of the PMU, PMCR_EL0.N. `None` without a PMU.
    pub pmu_counters: Option<u8>,
}

impl CpuId {
    /// Bits of a physical address that the CPU implements. 52 need FEAT_LPA2 at stage 1, without
    /// which 4 KiB granules end at 48.
    pub fn pa_bits(&self) -> u64 {
        match field(self.mmfr0, 0, 4) {
            0 => 32,
            1 => 36,
            2 => 40,
            3 => 42,
            4 => 44,
            5 => 48,
            _ if self.stage1_lpa2() => 52,
            _ => 48,
        }
    }

    /// FEAT_LPA2 at stage 1, for granules of 4 KiB: TGran4.
    fn stage1_lpa2(&self) -> bool {
        field(self.mmfr0, 28, 4) == 1
    }

    /// FEAT_LPA2 at both stages, for granules of 4 KiB. TGran4_2 is 3 for that at stage 2, or 0 for
    /// whatever stage 1 has.
    pub fn has_lpa2(&self) -> bool {
        self.stage1_lpa2() && matches!(field(self.mmfr0, 40, 4), 0 | 3)
    }

    /// True if a PMU can be given no counters at all (FEAT_HPMN0).
    pub fn has_hpmn0(&self) -> bool {
        field(self.dfr0, 60, 4) == 1
    }

    /// Breakpoints of the CPU, minus 1.
    fn breakpoints(&self) -> u64 {
        count(field(self.dfr0, 12, 4), field(self.dfr1, 8, 8))
    }

    /// Watchpoints of the CPU, minus 1.
    fn watchpoints(&self) -> u64 {
        count(field(self.dfr0, 20, 4), field(self.dfr1, 16, 8))
    }
}

/// Number of breakpoints or watchpoints minus 1, from the field of ID_AA64DFR0_EL1 and that of
/// ID_AA64DFR1_EL1, which counts if the first is full and the second is not 0.
fn count(dfr0: u64, dfr1: u64) -> u64 {
    match (dfr0, dfr1) {
        (15, n) if n != 0 => n,
        (n, _) => n,
    }
}

/// `width` bits of `value` from bit `low` on.
fn field(value: u64, low: u32, width: u32) -> u64 {
    let above = 64u32.saturating_sub(low).saturating_sub(width);
    (value << above) >> above >> low
}

/// Feature register `index` on a CPU with the identification registers `cpu`.
///
/// A register that the specification does not have reads as 0.
pub fn feature_register(cpu: &CpuId, index: u64) -> u64 {
    match index {
        0 => cpu_features(cpu),
        1 => {
            GRANULE_4K
                | SHA_256
                | SHA_512
                | MAX_RECS_ORDER << MAX_RECS_ORDER_SHIFT
                | L0GPTSZ_30_BITS << L0GPTSZ_SHIFT
                | PPS_48_BITS << PPS_SHIFT
        }
        _ => 0,
    }
}

/// Feature register `index` in RMI 1.0, which has but one, on a CPU with the identification registers
/// `cpu` and with `vtr` in ICH_VTR_EL2.
pub fn v1_feature_register(cpu: &CpuId, vtr: u64, index: u64) -> u64 {
    match index {
        0 => {
            cpu_features(cpu)
                | V1_HASHES
                | (vtr & 0xf) << V1_NUM_LRS_SHIFT
                | MAX_RECS_ORDER << V1_MAX_RECS_ORDER_SHIFT
        }
        _ => 0,
    }
}

/// The fields of `RmiFeatureRegister0` that all versions of RMI have.
fn cpu_features(cpu: &CpuId) -> u64 {
    let sve = cpu
        .sve_vl
        .map_or(0, |vl| SVE | u64::from(vl & 0xf) << SVE_VL_SHIFT);
    let pmu = cpu
        .pmu_counters
        .map_or(0, |n| PMU | u64::from(n & 0x1f) << PMU_NUM_CTRS_SHIFT);
    let lpa2 = if cpu.has_lpa2() { LPA2 } else { 0 };
    cpu.pa_bits()
        | lpa2
        | sve
        | pmu
        | (cpu.breakpoints() & 0x3f) << NUM_BPS_SHIFT
        | (cpu.watchpoints() & 0x3f) << NUM_WPS_SHIFT
}

/// `RmiFeatureRegister0`, by its fields.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Feature0(pub u64);

impl Feature0 {
    /// Most bits of an IPA.
    pub fn s2sz(self) -> u32 {
        self.field(0, 8)
    }

    /// True if realms can have IPAs of 52 bits.
    pub fn has_lpa2(self) -> bool {
        self.field(8, 1) != 0
    }

    /// True if realms can have SVE.
    pub fn has_sve(self) -> bool {
        self.field(9, 1) != 0
    }

    /// Longest vector in quadwords, minus 1.
    pub fn sve_vl(self) -> u32 {
        self.field(10, 4)
    }

    /// Most breakpoints, minus 1.
    pub fn breakpoints(self) -> u32 {
        self.field(NUM_BPS_SHIFT, 6)
    }

    /// Most watchpoints, minus 1.
    pub fn watchpoints(self) -> u32 {
        self.field(NUM_WPS_SHIFT, 6)
    }

    /// Most PMU counters.
    pub fn pmu_counters(self) -> u32 {
        self.field(PMU_NUM_CTRS_SHIFT, 5)
    }

    fn field(self, low: u32, width: u32) -> u32 {
        u32::try_from(field(self.0, low, width)).unwrap_or(0)
    }
}
