// SPDX-License-Identifier: GPL-2.0

//! System registers that trap.
//!
//! The identification registers are answered here ([`super::ids`]); those of the interrupt controller
//! go to the host; what a realm does not have is undefined; and the rest reads as 0 and ignores
//! writes.

use super::esr::{self, Esr};
use super::exit::Enter;
use super::ids::Ids;
use super::running::{Flow, Running};
use crate::platform::Platform;

/// A trapped access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Access(u64);

impl Access {
    fn field(self, low: u32, bits: u32) -> u8 {
        let mask = 0xffu8.checked_shr(8u32.saturating_sub(bits)).unwrap_or(0);
        let [byte, ..] = self.0.checked_shr(low).unwrap_or(0).to_le_bytes();
        byte & mask
    }

    /// op0, op1, CRn, CRm and op2.
    fn encoding(self) -> (u8, u8, u8, u8, u8) {
        (
            self.field(20, 2),
            self.field(14, 3),
            self.field(10, 4),
            self.field(1, 4),
            self.field(17, 3),
        )
    }

    /// The general purpose register, 31 for XZR.
    fn register(self) -> u64 {
        u64::from(self.field(5, 5))
    }

    fn is_read(self) -> bool {
        self.0 & 1 != 0
    }

    /// The syndrome without the register, which is none of the host's business.
    fn without_register(self) -> u64 {
        self.0 & !(31 << 5)
    }
}

/// What the RMM does about an access.
enum Answer {
    /// It reads as this value.
    Value(u64),
    /// The host emulates it.
    Host,
    /// The realm does not have the register.
    Undefined,
}

impl<P: Platform> Running<'_, '_, P> {
    /// An access to a system register.
    pub(super) fn sysreg(&mut self, esr: Esr) -> Flow {
        let access = Access(esr.raw());
        match self.answer(access) {
            Answer::Value(value) => {
                if access.is_read() {
                    self.set_gpr(access.register(), value);
                }
                self.advance();
                Flow::Resume
            }
            Answer::Host => {
                if !access.is_read() {
                    let value = self.gpr(access.register());
                    let [x0, ..] = &mut self.exit.gprs;
                    *x0 = value;
                }
                self.exit.esr = access.without_register();
                self.advance();
                Flow::Exit
            }
            Answer::Undefined => self.undefined(),
        }
    }

    fn answer(&self, access: Access) -> Answer {
        match access.encoding() {
            (3, 0, 0, crm, op2) => {
                let ids = Ids::new(self.rmm.platform());
                Answer::Value(ids.realm_view(crm, op2, self.realm.options))
            }
            // ICC_*_EL1, and ICC_PMR_EL1.
            (3, 0 | 4, 12, 8..=15, _) | (3, 0, 4, 6, 0) => Answer::Host,
            // BRB*_EL1: the branch record buffer.
            (2 | 3, 1, 8 | 9, _, _) => Answer::Undefined,
            // MPAM*_EL1.
            (3, 0, 10, 4 | 5, _) => Answer::Undefined,
            // S2POR_EL1.
            (3, 0, 10, 2, 5) => Answer::Undefined,
            _ => Answer::Value(0),
        }
    }

    /// Gives the realm what the host has read from the system register that the REC exited with.
    pub(super) fn complete_sysreg(&mut self, enter: &Enter) {
        let esr = Esr::new(self.rec.last.esr);
        let access = Access(esr.raw());
        if esr.class() == esr::SYSREG && access.is_read() {
            let [value, ..] = enter.gprs;
            self.set_gpr(access.register(), value);
        }
    }
}
