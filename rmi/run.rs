// SPDX-License-Identifier: GPL-2.0

//! The page that the host and the RMM tell each other by, `RmiRecRun`: `RmiRecEnter` and
//! `RmiRecExit`, half a page each.

use super::SharedPage;

/// General purpose registers of a REC: x0 to x30.
pub const GPRS: usize = 31;

/// Byte offsets in the page.
pub mod offset {
    pub(super) const ENTER_FLAGS: usize = 0x0;
    pub(super) const ENTER_GPRS: usize = 0x200;

    const EXIT: usize = 0x800;
    /// Why the REC has exited.
    pub const EXIT_REASON: usize = EXIT;
    pub(super) const ESR: usize = EXIT + 0x100;
    pub(super) const FAR: usize = EXIT + 0x108;
    pub(super) const HPFAR: usize = EXIT + 0x110;
    pub(super) const EXIT_GPRS: usize = EXIT + 0x200;
    pub(super) const RIPAS_BASE: usize = EXIT + 0x500;
    pub(super) const RIPAS_TOP: usize = EXIT + 0x508;
    pub(super) const RIPAS_VALUE: usize = EXIT + 0x510;
    pub(super) const IMM: usize = EXIT + 0x600;
}

/// `RmiRecEnterFlags`.
pub mod flag {
    /// The host has emulated the access that the REC exited with.
    pub const EMULATED_MMIO: u64 = 1 << 0;
    /// The access that the REC exited with is to end in a synchronous external abort.
    pub const INJECT_SEA: u64 = 1 << 1;
    /// WFI exits to the host.
    pub const TRAP_WFI: u64 = 1 << 2;
    /// WFE exits to the host.
    pub const TRAP_WFE: u64 = 1 << 3;
    /// The host refuses what is left of the RIPAS change that the REC exited with.
    pub const RIPAS_REJECT: u64 = 1 << 4;
}

/// Where register `n` is in an array of them that begins at `base`. Past the last one is the last.
fn gpr(base: usize, n: usize) -> usize {
    n.min(GPRS - 1).saturating_mul(8).saturating_add(base)
}

/// The host's half.
pub struct Enter<'p, P>(&'p mut P);

impl<'p, P: SharedPage> Enter<'p, P> {
    /// The host's half of `page`.
    pub fn of(page: &'p mut P) -> Self {
        Self(page)
    }

    /// Writes the flags, see [`flag`].
    pub fn set_flags(&mut self, flags: u64) {
        self.0.write(offset::ENTER_FLAGS, flags);
    }

    /// Writes register 0, by which the RMM takes a single value.
    pub fn set_value(&mut self, value: u64) {
        self.0.write(offset::ENTER_GPRS, value);
    }

    /// Writes all registers.
    pub fn set_gprs(&mut self, gprs: &[u64; GPRS]) {
        for (n, value) in gprs.iter().enumerate() {
            self.0.write(gpr(offset::ENTER_GPRS, n), *value);
        }
    }
}

/// The RMM's half. It is valid after an entry that the RMM has carried out.
pub struct Exit<'p, P>(&'p P);

impl<'p, P: SharedPage> Exit<'p, P> {
    /// The RMM's half of `page`.
    pub fn of(page: &'p P) -> Self {
        Self(page)
    }

    /// Why the REC has exited, `RmiRecExitReason`.
    pub fn reason(&self) -> u8 {
        self.byte(offset::EXIT_REASON)
    }

    /// The syndrome, in the form of ESR_EL2.
    pub fn esr(&self) -> u64 {
        self.0.read(offset::ESR)
    }

    /// The address of an access, of which only the offset in its granule is told.
    pub fn far(&self) -> u64 {
        self.0.read(offset::FAR)
    }

    /// The IPA of an access, in the form of HPFAR_EL2.
    pub fn hpfar(&self) -> u64 {
        self.0.read(offset::HPFAR)
    }

    /// Register `n`, 0 to 30.
    pub fn gpr(&self, n: usize) -> u64 {
        self.0.read(gpr(offset::EXIT_GPRS, n))
    }

    /// Copies all registers.
    pub fn copy_gprs(&self, to: &mut [u64; GPRS]) {
        for (n, value) in to.iter_mut().enumerate() {
            *value = self.gpr(n);
        }
    }

    /// First IPA of a RIPAS change.
    pub fn ripas_base(&self) -> u64 {
        self.0.read(offset::RIPAS_BASE)
    }

    /// First IPA after a RIPAS change.
    pub fn ripas_top(&self) -> u64 {
        self.0.read(offset::RIPAS_TOP)
    }

    /// The RIPAS that the realm wants.
    pub fn ripas_value(&self) -> u8 {
        self.byte(offset::RIPAS_VALUE)
    }

    /// The number of a host call.
    pub fn imm(&self) -> u16 {
        let [low, high, ..] = self.0.read(offset::IMM).to_le_bytes();
        u16::from_le_bytes([low, high])
    }

    fn byte(&self, offset: usize) -> u8 {
        let [byte, ..] = self.0.read(offset).to_le_bytes();
        byte
    }
}
