// SPDX-License-Identifier: GPL-2.0

//! The EL1 timers of a REC.
//!
//! The host is the one who tells a realm that a timer has expired, by a virtual interrupt. So a REC
//! exits whenever the output of one of its timers has changed since the host was last told, and
//! while an output is asserted its interrupt is masked, since it would end every run at once.

use super::context::{Context, Timers};

const ENABLE: u64 = 1 << 0;
const IMASK: u64 = 1 << 1;
const ISTATUS: u64 = 1 << 2;

/// CNTHCTL_EL2.CNTVMASK.
const VIRTUAL_MASKED: u64 = 1 << 18;
/// CNTHCTL_EL2.CNTPMASK.
const PHYSICAL_MASKED: u64 = 1 << 19;

/// `ctl` with ISTATUS as it is at physical count `now`.
fn refreshed(ctl: u64, cval: u64, now: u64) -> u64 {
    if ctl & ENABLE != 0 && now >= cval {
        ctl | ISTATUS
    } else {
        ctl & !ISTATUS
    }
}

/// True if the timer asserts its output.
fn asserted(ctl: u64) -> bool {
    ctl & (ENABLE | IMASK | ISTATUS) == ENABLE | ISTATUS
}

impl Timers {
    /// Brings ISTATUS up to the physical count `now`.
    pub(super) fn refresh(&mut self, now: u64) {
        self.cntv_ctl = refreshed(self.cntv_ctl, self.cntv_cval, now);
        self.cntp_ctl = refreshed(self.cntp_ctl, self.cntp_cval, now);
    }

    /// Whether the virtual and the physical timer assert their outputs.
    pub(super) fn outputs(&self) -> [u64; 2] {
        [self.cntv_ctl, self.cntp_ctl].map(|ctl| u64::from(asserted(ctl)))
    }

    /// Masks the interrupts of the timers that assert their outputs, and no others.
    fn mask(&mut self) {
        self.cnthctl_el2 &= !(VIRTUAL_MASKED | PHYSICAL_MASKED);
        if asserted(self.cntv_ctl) {
            self.cnthctl_el2 |= VIRTUAL_MASKED;
        }
        if asserted(self.cntp_ctl) {
            self.cnthctl_el2 |= PHYSICAL_MASKED;
        }
    }
}

impl Context {
    /// Gets the timers ready for a run at physical count `now`. True if the host must be told of them
    /// first, given what it was `told` at the last exit.
    pub(super) fn timers_changed(&mut self, told: [u64; 2], now: u64) -> bool {
        self.timers.refresh(now);
        self.timers.mask();
        self.timers.outputs() != told
    }
}
