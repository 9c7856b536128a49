// SPDX-License-Identifier: GPL-2.0

//! What the host and a REC tell each other: the page with `RmiRecEnter` and `RmiRecExit`.

use zerocopy::{transmute_ref, FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::context::{GPRS, LIST_REGISTERS};

/// Word of the page where [`Enter::flags`] is.
pub const ENTER_FLAGS_WORD: usize = 0;
/// Word of the page where [`Enter::gprs`] starts.
pub const ENTER_GPRS_WORD: usize = 0x200 / 8;
/// Word of the page where [`Enter::gic_hcr`] is. [`Enter::gic_lrs`] follows.
pub const ENTER_GIC_WORD: usize = 0x300 / 8;
/// Word of the page where [`Exit`] starts.
pub const EXIT_WORD: usize = 0x800 / 8;

/// [`Enter::flags`]: the host has emulated the access that the REC exited with.
pub const EMULATED_MMIO: u64 = 1 << 0;
/// [`Enter::flags`]: the access that the REC exited with is to end in an external abort.
pub const INJECT_SEA: u64 = 1 << 1;
/// [`Enter::flags`]: WFI exits to the host.
pub const TRAP_WFI: u64 = 1 << 2;
/// [`Enter::flags`]: WFE exits to the host.
pub const TRAP_WFE: u64 = 1 << 3;
/// [`Enter::flags`]: the host refuses the RIPAS change that the realm has asked for.
pub const RIPAS_RESPONSE: u64 = 1 << 4;

/// What the host says when it enters a REC, `RmiRecEnter`.
#[derive(Clone, Debug, Default)]
pub struct Enter {
    /// `RmiRecEnterFlags`.
    pub flags: u64,
    /// What the host answers, depending on the last exit.
    pub gprs: [u64; GPRS],
    /// RMI 1.0: the host's part of ICH_HCR_EL2.
    pub gic_hcr: u64,
    /// RMI 1.0: ICH_LR0_EL2 and up.
    pub gic_lrs: [u64; LIST_REGISTERS],
}

impl Enter {
    /// True if the host has set all of `flags`.
    pub fn has(&self, flags: u64) -> bool {
        self.flags & flags == flags
    }
}

/// Why a REC has exited, `RmiRecExitReason`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum Reason {
    /// A synchronous exception that the host has to deal with.
    Sync = 0,
    /// An interrupt, or a timer whose output has changed.
    Irq = 1,
    /// A fast interrupt.
    Fiq = 2,
    /// A PSCI call that the host has a part in.
    Psci = 3,
    /// The realm wants the RIPAS of a range changed.
    RipasChange = 4,
    /// A message for the host.
    HostCall = 5,
    /// An SError.
    SError = 6,
}

/// What the RMM says when a REC has exited, `RmiRecExit`: the second half of the page. What an exit
/// does not use is 0.
#[derive(Clone, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Exit {
    reason: u64,
    zeroes_008: [u64; 0xf8 / 8],
    /// Syndrome, as far as the host may know it.
    pub esr: u64,
    /// Offset of the access in its page, as far as the host may know it.
    pub far: u64,
    /// The IPA of the access, in the form of HPFAR_EL2.
    pub hpfar: u64,
    /// Which of the realm's trees of tables was in use. There is one.
    pub rtt_tree: u64,
    zeroes_120: [u64; 0xe0 / 8],
    /// What the realm tells the host, depending on the reason.
    pub gprs: [u64; GPRS],
    zeroes_2f8: u64,
    /// RMI 1.0: ICH_HCR_EL2, as far as it is the host's business.
    pub gic_hcr: u64,
    /// RMI 1.0: ICH_LR0_EL2 and up.
    pub gic_lrs: [u64; LIST_REGISTERS],
    /// RMI 1.0: ICH_MISR_EL2.
    pub gic_misr: u64,
    /// RMI 1.0: ICH_VMCR_EL2.
    pub gic_vmcr: u64,
    zeroes_398: [u64; 0x68 / 8],
    /// CNTP_CTL_EL0 of the realm.
    pub cntp_ctl: u64,
    /// CNTP_CVAL_EL0 of the realm, as a physical count.
    pub cntp_cval: u64,
    /// CNTV_CTL_EL0 of the realm.
    pub cntv_ctl: u64,
    /// CNTV_CVAL_EL0 of the realm, as a physical count.
    pub cntv_cval: u64,
    zeroes_420: [u64; 0xe0 / 8],
    /// Base of the range in a RIPAS change.
    pub ripas_base: u64,
    /// Top of the range in a RIPAS change.
    pub ripas_top: u64,
    /// The RIPAS that the realm wants.
    pub ripas_value: u64,
    zeroes_518: [u64; 0xe8 / 8],
    /// The number that a host call has.
    pub imm: u64,
    /// The plane that made a host call. There is one.
    pub plane: u64,
    zeroes_610: [u64; 0xf0 / 8],
    /// Whether a counter of the realm's PMU asks for an interrupt.
    pub pmu_ovf_status: u64,
    zeroes_708: [u64; 0xf8 / 8],
}
const _: () = assert!(size_of::<Exit>() == 0x800);

impl Exit {
    /// An exit that says nothing.
    pub fn new() -> Self {
        Self::new_zeroed()
    }

    /// Says why the REC exits.
    pub fn set_reason(&mut self, reason: Reason) {
        self.reason = reason as u64;
    }

    /// The words as they go to the host's page, from [`EXIT_WORD`] on.
    pub fn words(&self) -> &[u64; 0x800 / 8] {
        transmute_ref!(self)
    }
}

impl Default for Exit {
    fn default() -> Self {
        Self::new()
    }
}
