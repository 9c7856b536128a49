// SPDX-License-Identifier: GPL-2.0

//! What this CPU can do, and how Realm EL2 is set up on it for good.
//!
//! EL3 keeps the registers of EL2 apart for each world, so that what is written here stays until the
//! CPU is turned off. What a realm needs beyond that is loaded when it is entered (`realm.rs`).

use rmm::features::CpuId;
use rmm::vmid;

use crate::arch::{self, mrs, msr};
use crate::simd;

/// HCR_EL2 while the RMM runs: EL2 host extensions (E2H), lower exception levels in AArch64 (RW),
/// and stage 2 (VM), so that nothing is ever translated without it ahead of time.
pub(crate) const HCR_RMM: u64 = 1 << 34 | 1 << 31 | 1;

/// CPTR_EL2 in its E2H form while the RMM runs: trace (TTA) and activity monitors (TAM) trap, and so
/// do floating point, SVE and SME.
pub(crate) const CPTR_RMM: u64 = 1 << 28 | 1 << 30;
/// CPTR_EL2: floating point does not trap (FPEN).
pub(crate) const CPTR_FPEN: u64 = 3 << 20;
/// CPTR_EL2: SVE does not trap (ZEN).
pub(crate) const CPTR_ZEN: u64 = 3 << 16;
/// CPTR_EL2: SME does not trap (SMEN).
pub(crate) const CPTR_SMEN: u64 = 3 << 24;

/// MDCR_EL2, as TF-RMM has it: MTPME, no cycle counting at EL2 (HCCD) nor event counting (HPMD);
/// debug (TDA), PMU (TPM) and PMCR_EL0 (TPMCR) accesses trap.
const MDCR: u64 = 1 << 28 | 1 << 23 | 1 << 17 | 1 << 9 | MDCR_TPM;
/// MDCR_EL2: PMU and PMCR_EL0 accesses trap (TPM, TPMCR).
const MDCR_TPM: u64 = 1 << 6 | 1 << 5;

/// MDCR_EL2 while a realm has the PMU, and the first `counters` of its event counters (HPMN).
pub(crate) fn mdcr_with_pmu(counters: u64) -> u64 {
    MDCR & !MDCR_TPM | counters
}

/// PMCR_EL0.N: how many event counters there are.
pub(crate) fn counters(pmcr: u64) -> u64 {
    pmcr >> 11 & 0x1f
}

/// HCRX_EL2: memory copy and set instructions work at EL1 (MSCEn).
const HCRX_MSCEN: u64 = 1 << 11;
/// HCRX_EL2: TCR2_EL1 does not trap (TCR2En).
const HCRX_TCR2EN: u64 = 1 << 14;
/// HCRX_EL2: SCTLR2_EL1 does not trap (SCTLR2En).
const HCRX_SCTLR2EN: u64 = 1 << 15;

/// HFGRTR_EL2 and HFGWTR_EL2: the permission indirection registers do not trap.
const HFG_PIR: u64 = 1 << 58 | 1 << 57;
/// HFGRTR_EL2 and HFGWTR_EL2: the permission overlay registers do not trap.
const HFG_POR: u64 = 1 << 60 | 1 << 59;

/// VTCR_EL2 before any realm is entered: 4 KiB granules, 40 bits, start at level 1 with two tables;
/// walks cacheable and inner shareable.
const VTCR: u64 = 1 << 31 | 3 << 12 | 1 << 10 | 1 << 8 | 1 << 6 | (64 - 40);
/// VTCR_EL2: position of the physical address size (PS), and 48 and 52 bits of it.
const VTCR_PS_SHIFT: u32 = 16;
const VTCR_PS_48_BITS: u64 = 5;
const VTCR_PS_52_BITS: u64 = 6;
/// ID_AA64MMFR0_EL1.TGran4: FEAT_LPA2.
const TGRAN4_LPA2: u64 = 1;
/// VTCR_EL2: VMIDs have 16 bits (VS).
const VTCR_VS: u64 = 1 << 19;

/// Parts of the architecture that the code of this image has to know about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Features {
    /// FEAT_PAuth.
    pub(crate) pauth: bool,
    /// FEAT_SVE.
    pub(crate) sve: bool,
    /// FEAT_SME.
    pub(crate) sme: bool,
    /// FEAT_PMUv3.
    pub(crate) pmu: bool,
    /// MDCR_EL2.HPMN, the counters that EL1 has: none (FEAT_HPMN0), or else all there are.
    counters: u64,
    /// FEAT_RNG.
    pub(crate) rng: bool,
    /// FEAT_RAS.
    pub(crate) ras: bool,
    /// FEAT_FGT.
    fgt: bool,
    /// FEAT_HCX.
    hcx: bool,
    /// FEAT_MOPS.
    mops: bool,
    /// FEAT_TCR2.
    pub(crate) tcr2: bool,
    /// FEAT_SCTLR2.
    pub(crate) sctlr2: bool,
    /// FEAT_S1PIE.
    pub(crate) s1pie: bool,
    /// FEAT_S1POE.
    pub(crate) s1poe: bool,
    /// VTCR_EL2: the size of a physical address and of a VMID.
    pub(crate) vtcr: u64,
}

impl Features {
    /// What this CPU has.
    pub(crate) fn read() -> Self {
        let has = |register: u64, low: u32| field(register, low) != 0;
        let (pfr0, pfr1) = (mrs!("id_aa64pfr0_el1"), mrs!("id_aa64pfr1_el1"));
        let (isar0, isar1) = (mrs!("id_aa64isar0_el1"), mrs!("id_aa64isar1_el1"));
        let isar2 = mrs!("s3_0_c0_c6_2");
        let (mmfr0, mmfr1) = (mrs!("id_aa64mmfr0_el1"), mrs!("id_aa64mmfr1_el1"));
        let mmfr3 = mrs!("s3_0_c0_c7_3");
        let dfr0 = mrs!("id_aa64dfr0_el1");
        let pmu = !matches!(field(dfr0, 8), 0 | 15);
        Self {
            pauth: has(isar1, 4) || has(isar1, 8) || has(isar2, 12),
            sve: has(pfr0, 32),
            sme: has(pfr1, 24),
            pmu,
            counters: if pmu && !has(dfr0, 60) {
                counters(mrs!("pmcr_el0"))
            } else {
                0
            },
            rng: has(isar0, 60),
            ras: has(pfr0, 28),
            fgt: has(mmfr0, 56),
            hcx: has(mmfr1, 40),
            mops: has(isar2, 16),
            tcr2: has(mmfr3, 0),
            sctlr2: has(mmfr3, 4),
            s1pie: has(mmfr3, 8),
            s1poe: has(mmfr3, 16),
            vtcr: {
                // 52 bits need FEAT_LPA2. For a realm without (DS), the CPU takes them for 48.
                let most = match field(mmfr0, 28) {
                    TGRAN4_LPA2 => VTCR_PS_52_BITS,
                    _ => VTCR_PS_48_BITS,
                };
                let ps = field(mmfr0, 0).min(most);
                let vs = if field(mmfr1, 4) == 2 { VTCR_VS } else { 0 };
                ps << VTCR_PS_SHIFT | vs
            },
        }
    }

    /// MDCR_EL2 while no realm has the PMU.
    pub(crate) fn mdcr(&self) -> u64 {
        MDCR | self.counters
    }
}

/// Four bits of an identification register.
fn field(register: u64, low: u32) -> u64 {
    register >> low & 0xf
}

/// All-zero tables that stage 2 starts with while no realm is entered, as many as a realm can start
/// with, since VTCR_EL2 may still be that of one. Nothing is ever translated through them, ahead of
/// time or otherwise, and so nothing of them is ever kept in a TLB.
#[repr(C, align(65536))]
struct NoStage2([u64; 16 * 512]);

#[link_section = ".bss.no_stage2"]
static NO_STAGE2: NoStage2 = NoStage2([0; 16 * 512]);

/// VTTBR_EL2 with a table that translates nothing, for TLB maintenance of `vmid` or for none.
pub(crate) fn vttbr_empty(vmid: u16) -> u64 {
    (&raw const NO_STAGE2.0).addr() as u64 | u64::from(vmid) << 48
}

/// VTTBR_EL2 while no realm is entered: [`vttbr_empty`] with the VMID that no realm has. VTCR_EL2 says how
/// large that is.
pub(crate) fn vttbr_idle() -> u64 {
    let bits = if mrs!("vtcr_el2") & VTCR_VS != 0 {
        16
    } else {
        8
    };
    vttbr_empty(vmid::idle(bits))
}

/// Prepares Realm EL2 of this CPU to run realms.
pub(crate) fn init() {
    let cpu = Features::read();
    msr!("cptr_el2", CPTR_RMM);
    msr!("mdcr_el2", cpu.mdcr());
    msr!("vpidr_el2", mrs!("midr_el1"));
    msr!("cntvoff_el2", 0);
    msr!("vtcr_el2", VTCR | cpu.vtcr);
    arch::isb();
    msr!("vttbr_el2", vttbr_idle());
    if cpu.hcx {
        let mops = if cpu.mops { HCRX_MSCEN } else { 0 };
        let tcr2 = if cpu.tcr2 { HCRX_TCR2EN } else { 0 };
        let sctlr2 = if cpu.sctlr2 { HCRX_SCTLR2EN } else { 0 };
        msr!("s3_4_c1_c2_2", mops | tcr2 | sctlr2);
    }
    if cpu.fgt {
        let pir = if cpu.s1pie { HFG_PIR } else { 0 };
        let por = if cpu.s1poe { HFG_POR } else { 0 };
        msr!("s3_4_c1_c1_4", pir | por);
        msr!("s3_4_c1_c1_5", pir | por);
    }
    arch::isb();
    msr!("hcr_el2", HCR_RMM);
    arch::isb();
}

/// The identification registers that the library decides by.
pub(crate) fn id() -> CpuId {
    let features = Features::read();
    CpuId {
        dfr0: mrs!("id_aa64dfr0_el1"),
        dfr1: mrs!("id_aa64dfr1_el1"),
        mmfr0: mrs!("id_aa64mmfr0_el1"),
        sve_vl: simd::longest_vector(&features),
        pmu_counters: features.pmu.then(|| counters(mrs!("pmcr_el0")) as u8),
    }
}

/// Defines [`id_register`] for the given numbers.
macro_rules! id_registers {
    ($($crm:literal: $($op2:literal)*;)*) => {
        /// The identification register with op0 = 3, op1 = 0, CRn = 0 and these CRm and op2, or 0.
        ///
        /// The numbers with CRm from 1 to 7 all exist: those without a register read as 0.
        pub(crate) fn id_register(crm: u8, op2: u8) -> u64 {
            match (crm, op2) {
                $($(($crm, $op2) => mrs!(concat!("s3_0_c0_c", $crm, "_", $op2)),)*)*
                _ => 0,
            }
        }
    };
}

id_registers! {
    1: 0 1 2 3 4 5 6 7;
    2: 0 1 2 3 4 5 6 7;
    3: 0 1 2 3 4 5 6 7;
    4: 0 1 2 3 4 5 6 7;
    5: 0 1 2 3 4 5 6 7;
    6: 0 1 2 3 4 5 6 7;
    7: 0 1 2 3 4 5 6 7;
}
