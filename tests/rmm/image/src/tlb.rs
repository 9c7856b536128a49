// SPDX-License-Identifier: GPL-2.0

//! Maintenance of what the TLBs of all CPUs keep of stage 2.

use core::arch::asm;
use core::ops::Range;

use kvm_arm_rmi::rmi::GRANULE_SIZE;

use crate::arch::{self, msr};
use crate::cpu;

/// More granules than this are cheaper to forget together with the rest of the realm.
const MAX_GRANULES: u64 = 32;

/// Makes every CPU forget how `vmid` translated `ipa`, at stage 2 alone and at both stages together.
///
/// This CPU has no realm loaded, so that VTTBR_EL2 is free for the number.
pub(crate) fn invalidate(vmid: u16, ipa: Range<u64>) {
    arch::complete_writes();
    msr!("vttbr_el2", cpu::vttbr_empty(vmid));
    arch::isb();

    if ipa.end.saturating_sub(ipa.start) > MAX_GRANULES * GRANULE_SIZE {
        // SAFETY: forgetting translations of a lower exception level has no effect on Rust code.
        unsafe { asm!("tlbi vmalls12e1is", options(nostack, preserves_flags)) };
    } else {
        let mut page = ipa.start;
        while page < ipa.end {
            // SAFETY: as above.
            unsafe {
                asm!("tlbi ipas2e1is, {}", in(reg) page >> 12, options(nostack, preserves_flags));
            }
            page += GRANULE_SIZE;
        }
        // What is kept for both stages together does not know its IPA, and goes second: it could be
        // made anew from what is kept of stage 2.
        //
        // SAFETY: as above.
        unsafe {
            asm!(
                "dsb ish",
                "tlbi vmalle1is",
                options(nostack, preserves_flags)
            )
        };
    }
    arch::complete_writes();
    msr!("vttbr_el2", cpu::vttbr_idle());
    arch::isb();
}
