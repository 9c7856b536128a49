// SPDX-License-Identifier: GPL-2.0

//! What of a CPU belongs to a realm execution context: the registers that the platform loads before
//! it enters the realm and saves after it, and the reason why it came back.
//!
//! All of it is plain data in memory whenever the library looks at it. The library decides what is
//! in the registers; the platform only moves them.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Granules that hold the floating-point and SVE registers of a REC.
pub const SIMD_GRANULES: usize = 3;

/// List registers that the architecture has room for.
pub const LIST_REGISTERS: usize = 16;

/// Registers with the active priorities of a group of interrupts that the architecture has room for.
pub const ACTIVE_PRIORITIES: usize = 4;

/// General purpose registers: x0 to x30.
pub const GPRS: usize = 31;

/// The registers of a REC. Every field is the register of that name unless it says otherwise.
///
/// [`Platform::run`](crate::Platform::run) loads all of them and, before it returns, saves all that
/// the realm can change; the others it leaves as they are. A register that the CPU does not have is
/// neither loaded nor saved.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Context {
    /// x0 to x30.
    pub gprs: [u64; GPRS],
    /// Where the realm goes on: ELR_EL2.
    pub pc: u64,
    /// The realm's PSTATE: SPSR_EL2.
    pub pstate: u64,
    /// Registers of EL1 and EL0.
    pub el1: El1,
    /// Pointer authentication keys.
    pub keys: Keys,
    /// The EL1 timers.
    pub timers: Timers,
    /// What EL2 programs for the realm. The realm cannot change it.
    pub el2: El2,
    /// Floating-point and SVE state.
    pub simd: Simd,
    /// The virtual CPU interface of the interrupt controller.
    pub vgic: Vgic,
    /// The PMU. It may stay in the CPU from one [`Platform::run`](crate::Platform::run) to the next, until
    /// [`Platform::leave`](crate::Platform::leave).
    pub pmu: Pmu,
}

/// Registers of EL1 and EL0.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of the registers")]
pub struct El1 {
    pub sp_el0: u64,
    pub sp_el1: u64,
    pub elr_el1: u64,
    pub spsr_el1: u64,
    pub sctlr_el1: u64,
    pub sctlr2_el1: u64,
    pub actlr_el1: u64,
    pub cpacr_el1: u64,
    pub ttbr0_el1: u64,
    pub ttbr1_el1: u64,
    pub tcr_el1: u64,
    pub tcr2_el1: u64,
    pub mair_el1: u64,
    pub amair_el1: u64,
    pub pir_el1: u64,
    pub pire0_el1: u64,
    pub por_el1: u64,
    pub esr_el1: u64,
    pub far_el1: u64,
    pub afsr0_el1: u64,
    pub afsr1_el1: u64,
    pub par_el1: u64,
    pub vbar_el1: u64,
    pub contextidr_el1: u64,
    pub tpidr_el0: u64,
    pub tpidrro_el0: u64,
    pub tpidr_el1: u64,
    pub csselr_el1: u64,
    pub cntkctl_el1: u64,
    pub mdscr_el1: u64,
    pub mdccint_el1: u64,
    pub disr_el1: u64,
}

/// Pointer authentication keys, each the low half and then the high half.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of the registers")]
pub struct Keys {
    pub apia: [u64; 2],
    pub apib: [u64; 2],
    pub apda: [u64; 2],
    pub apdb: [u64; 2],
    pub apga: [u64; 2],
}

/// The EL1 timers, and what EL2 lets them do. The offsets of both are 0.
///
/// In `cntv_ctl` and `cntp_ctl`, bit 2 (ISTATUS) is as it was when the registers were saved.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of the registers")]
pub struct Timers {
    pub cntv_ctl: u64,
    pub cntv_cval: u64,
    pub cntp_ctl: u64,
    pub cntp_cval: u64,
    /// CNTHCTL_EL2. Never saved. CNTVMASK (bit 18) and CNTPMASK (bit 19) say that the interrupt of a
    /// timer must not end the run: the platform waits until the CPU interface no longer signals it
    /// before it enters the realm.
    pub cnthctl_el2: u64,
}

/// What EL2 programs for the realm.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of the registers")]
pub struct El2 {
    /// HCR_EL2. The one register here that is saved, for its VSE bit (bit 8): it reads as 0 once the
    /// realm has taken the SError.
    pub hcr_el2: u64,
    /// VTCR_EL2, to which the platform adds the physical address size and the VMID size of the CPU.
    pub vtcr_el2: u64,
    /// VTTBR_EL2: root of the stage 2 tables, and the VMID from bit 48 on.
    pub vttbr_el2: u64,
    pub vmpidr_el2: u64,
    /// VSESR_EL2: the syndrome of the SError that `HCR_EL2.VSE` makes pending.
    pub vsesr_el2: u64,
}

/// The virtual CPU interface of the interrupt controller. Since RMI 2.0 it is the host's; in RMI 1.0 the RMM
/// switches it.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of the registers")]
pub struct Vgic {
    /// 1 if the platform loads these before it enters the realm for the first time since
    /// [`Platform::leave`](crate::Platform::leave), which saves them. Otherwise it leaves them alone.
    pub switched: u64,
    pub ich_hcr_el2: u64,
    pub ich_vmcr_el2: u64,
    /// ICH_MISR_EL2. Never loaded.
    pub ich_misr_el2: u64,
    /// ICH_LR0_EL2 and up.
    pub ich_lr_el2: [u64; LIST_REGISTERS],
    /// ICH_AP0R0_EL2 to ICH_AP0R3_EL2.
    pub ich_ap0r_el2: [u64; ACTIVE_PRIORITIES],
    /// ICH_AP1R0_EL2 to ICH_AP1R3_EL2.
    pub ich_ap1r_el2: [u64; ACTIVE_PRIORITIES],
}

/// Event counters of a PMU at most.
pub const PMU_COUNTERS: usize = 31;

/// The PMU, all of which is the realm's while the realm runs, if it has one.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(missing_docs, reason = "the names are those of the registers")]
pub struct Pmu {
    /// 1 if the realm has a PMU; otherwise using it traps, and nothing that follows means anything.
    pub present: u64,
    /// Event counters that the realm has, the first ones of the CPU: MDCR_EL2.HPMN. Those after them
    /// are neither loaded nor saved.
    pub counters: u64,
    pub pmcr_el0: u64,
    pub pmcntenset_el0: u64,
    pub pmintenset_el1: u64,
    pub pmovsset_el0: u64,
    pub pmselr_el0: u64,
    pub pmuserenr_el0: u64,
    pub pmccntr_el0: u64,
    pub pmccfiltr_el0: u64,
    pub pmevcntr_el0: [u64; PMU_COUNTERS],
    pub pmevtyper_el0: [u64; PMU_COUNTERS],
}

/// Floating-point and SVE state: where it is kept while another context runs.
#[derive(Clone, Debug, Default, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Simd {
    /// Physical addresses of the granules for it, in the Realm address space and all zeroes at first.
    /// The platform alone uses them, as one area in this order, and lays it out.
    pub granules: [u64; SIMD_GRANULES],
    /// 1 if the realm may use SVE; otherwise using it traps.
    pub sve: u64,
    /// Longest vector in quadwords minus 1, if the realm may use SVE: ZCR_EL2.LEN.
    pub sve_len: u64,
}

/// Why the CPU is back at Realm EL2.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trap {
    /// A synchronous exception from EL1 or EL0.
    Sync {
        /// ESR_EL2.
        esr: u64,
        /// FAR_EL2.
        far: u64,
        /// HPFAR_EL2.
        hpfar: u64,
    },
    /// An interrupt for the host.
    Irq,
    /// A fast interrupt for the host.
    Fiq,
    /// An SError interrupt from EL1 or EL0.
    SError {
        /// ESR_EL2.
        esr: u64,
    },
}
