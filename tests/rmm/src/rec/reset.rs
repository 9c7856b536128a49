// SPDX-License-Identifier: GPL-2.0

//! What is in the registers of a REC that has not run yet, or that PSCI CPU_ON starts again.

use zerocopy::FromZeros;

use super::context::{Context, Pmu};
use crate::rtt::Stage2;

/// HCR_EL2: stage 2 with the memory attributes of both stages combined (VM, FWB, PTW, SWIO);
/// interrupts and aborts to EL2 (AMO, IMO, FMO, TEA); TLB and barrier operations for all CPUs (FB,
/// BSU); SMC and reads of identification registers trap (TSC, TID3); EL1 in AArch64 state with
/// pointer authentication (RW, API, APK); VHE (E2H).
pub(super) const HCR: u64 = 1
    | 1 << 1
    | 1 << 2
    | 1 << 3
    | 1 << 4
    | 1 << 5
    | 1 << 9
    | 1 << 10
    | 1 << 18
    | 1 << 19
    | 1 << 31
    | 1 << 34
    | 1 << 37
    | 1 << 40
    | 1 << 41
    | 1 << 46;
/// HCR_EL2.VSE: an SError is pending in the realm.
pub(super) const HCR_VSE: u64 = 1 << 8;
/// HCR_EL2.TWI: WFI traps.
pub(super) const HCR_TWI: u64 = 1 << 13;
/// HCR_EL2.TWE: WFE traps.
pub(super) const HCR_TWE: u64 = 1 << 14;

/// PSTATE: EL1 with its own stack pointer, all exceptions masked.
const PSTATE: u64 = 5 | 0b1111 << 6;

/// SCTLR_EL1: MMU and caches off; what the architecture once had as RES1 (SA, SA0, CP15BEN, nAA, EOS,
/// nTWI, nTWE, EIS, SPAN).
const SCTLR: u64 =
    1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 11 | 1 << 16 | 1 << 18 | 1 << 22 | 1 << 23;
/// SCTLR_EL1.EE: data accesses are big-endian.
const SCTLR_EE: u64 = 1 << 25;

/// MDSCR_EL1.TDCC: EL0 cannot use the debug communications channel.
const MDSCR: u64 = 1 << 12;

/// CNTHCTL_EL2: EL1 may use the physical counter and timer (EL1PCTEN, EL1PTEN, for VHE).
const CNTHCTL: u64 = 1 << 10 | 1 << 11;

/// VMPIDR_EL2: the bit that is always 1.
const VMPIDR: u64 = 1 << 31;

/// VTCR_EL2: walks are cacheable and inner shareable (IRGN0, ORGN0, SH0), granules have 4 KiB, and the
/// unprotected half is Non-secure (NSA); bit 31 is always 1.
const VTCR: u64 = 1 << 8 | 1 << 10 | 3 << 12 | 1 << 30 | 1 << 31;
const VTCR_SL0_SHIFT: u32 = 6;
/// VTCR_EL2.DS: the tables are those of FEAT_LPA2.
const VTCR_DS: u64 = 1 << 32;
/// VTCR_EL2.SL2: tables start at level -1, with 0 in SL0.
const VTCR_SL2: u64 = 1 << 33;
const VTTBR_VMID_SHIFT: u32 = 48;
/// VTTBR_EL2: bits 47:12 of the address of the root table.
const VTTBR_ADDRESS: u64 = ((1 << 36) - 1) << 12;
/// VTTBR_EL2, bits 5:2: bits 51:48 of that address.
const VTTBR_TOP: u64 = 0xf << 2;
const VTTBR_TOP_SHIFT: u32 = 48 - 2;

/// VTCR_EL2 for tables that start at `level`, with granules of 4 KiB.
fn start_level(level: i8) -> u64 {
    match level {
        -1 => VTCR_SL2,
        0 => 2 << VTCR_SL0_SHIFT,
        1 => 1 << VTCR_SL0_SHIFT,
        2 => 0,
        _ => 3 << VTCR_SL0_SHIFT,
    }
}

impl Context {
    /// A CPU with this MPIDR that starts at `pc` with `gprs` in x0 to x7, behind `stage2`, with a PMU
    /// that has `pmu_counters` or none.
    pub fn at_reset(
        mpidr: u64,
        pc: u64,
        gprs: [u64; 8],
        stage2: &Stage2,
        pmu_counters: Option<u8>,
    ) -> Self {
        let mut context = Self::new_zeroed();
        for (register, value) in context.gprs.iter_mut().zip(gprs) {
            *register = value;
        }
        context.pc = pc;
        context.pstate = PSTATE;
        context.el1.sctlr_el1 = SCTLR;
        context.el1.mdscr_el1 = MDSCR;
        context.timers.cnthctl_el2 = CNTHCTL;
        context.el2.hcr_el2 = HCR;
        context.el2.vmpidr_el2 = mpidr | VMPIDR;
        let t0sz = 64u64.saturating_sub(u64::from(stage2.ipa_bits));
        let ds = if stage2.lpa2 { VTCR_DS } else { 0 };
        context.el2.vtcr_el2 = VTCR | t0sz | start_level(stage2.start_level) | ds;
        let root = stage2.root.raw();
        context.el2.vttbr_el2 = root & VTTBR_ADDRESS
            | root >> VTTBR_TOP_SHIFT & VTTBR_TOP
            | u64::from(stage2.vmid) << VTTBR_VMID_SHIFT;
        context.pmu = Pmu::at_reset(pmu_counters);
        context
    }

    /// Starts the CPU again at `pc` with `context_id` in x0, and with the byte order of the caller,
    /// whose SCTLR_EL1 is `caller_sctlr`. All other registers stay, as PSCI leaves open.
    pub fn restart(&mut self, pc: u64, context_id: u64, caller_sctlr: u64) {
        self.pstate = PSTATE;
        self.el1.sctlr_el1 = SCTLR | caller_sctlr & SCTLR_EE;
        self.pc = pc;
        let [x0, ..] = &mut self.gprs;
        *x0 = context_id;
    }
}
