// SPDX-License-Identifier: GPL-2.0

//! The EL1 timers, which the host and the realms share as well.

use core::hint;

use rmm::rec::context::Timers;

use crate::arch::{self, mrs, msr};
use crate::gic;

/// CNTHCTL_EL2: the virtual timer of EL1 signals no interrupt.
const CNTVMASK: u64 = 1 << 18;
/// CNTHCTL_EL2: the physical timer of EL1 signals no interrupt.
const CNTPMASK: u64 = 1 << 19;

/// How often the CPU interface is asked whether it still signals an interrupt that was masked.
const PATIENCE: usize = 10_000;

/// Saves the timers.
pub(crate) fn save(to: &mut Timers) {
    to.cntv_ctl = mrs!("s3_5_c14_c3_1");
    to.cntv_cval = mrs!("s3_5_c14_c3_2");
    to.cntp_ctl = mrs!("s3_5_c14_c2_1");
    to.cntp_cval = mrs!("s3_5_c14_c2_2");
}

/// Loads the timers. Each gets its time before it is turned on, so that none goes off by mistake.
pub(crate) fn load(from: &Timers) {
    msr!("s3_5_c14_c2_2", from.cntp_cval);
    msr!("s3_5_c14_c2_1", from.cntp_ctl);
    msr!("s3_5_c14_c3_2", from.cntv_cval);
    msr!("s3_5_c14_c3_1", from.cntv_ctl);
    arch::isb();
}

/// Loads CNTHCTL_EL2, before the timers: their interrupts take a while to go away.
pub(crate) fn load_control(from: &Timers) {
    msr!("cnthctl_el2", from.cnthctl_el2);
    arch::isb();
}

/// Waits until the CPU interface no longer signals a timer that is masked. If that takes too long,
/// the realm is left at once because of it, which costs time but nothing else.
pub(crate) fn settle(loaded: &Timers) {
    for _ in 0..PATIENCE {
        let waits = match gic::highest_pending() {
            gic::EL1_VIRTUAL_TIMER => loaded.cnthctl_el2 & CNTVMASK != 0,
            gic::EL1_PHYSICAL_TIMER => loaded.cnthctl_el2 & CNTPMASK != 0,
            _ => false,
        };
        if !waits {
            return;
        }
        hint::spin_loop();
    }
}

/// The physical count.
pub(crate) fn count() -> u64 {
    arch::isb();
    mrs!("cntpct_el0")
}
