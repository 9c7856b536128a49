// SPDX-License-Identifier: GPL-2.0

//! The GIC: the virtual timer's interrupt, which ends REC_ENTER, the list registers, and the
//! interrupt by which a CPU wakes another.

use core::arch::asm;
use core::ptr;

use crate::layout::{GICD, GICR, GICR_STRIDE};

/// The interrupt of the EL1 virtual timer.
pub(crate) const TIMER: u64 = 27;
/// The interrupt that wakes a CPU.
const WAKE: u64 = 0;
/// From this one on, numbers are no interrupts.
const SPECIAL: u64 = 1020;

/// A list register's interrupt is tied to a physical one.
pub(crate) const LR_HW: u64 = 1 << 61;
/// A list register's interrupt is pending.
const LR_PENDING: u64 = 1 << 62;
/// A list register's interrupt is pending, active or both.
pub(crate) const LR_STATE: u64 = 3 << 62;
/// A list register's interrupt is of group 1.
const LR_GROUP1: u64 = 1 << 60;

/// GICD_CTLR: affinity routing, and group 1 on.
const CTLR: u64 = GICD;
const CTLR_ARE_GROUP1: u32 = 1 << 4 | 1 << 1;
/// GICR_ISENABLER0, in bytes from a redistributor.
const ISENABLER0: u64 = 0x1_0100;

/// A list register with a pending interrupt.
pub(crate) const fn pending(intid: u64) -> u64 {
    LR_PENDING | LR_GROUP1 | intid
}

/// Sets this CPU up. Interrupts stay masked here: they only have to end REC_ENTER, and WFI.
pub(crate) fn enable(cpu: usize) {
    let write = |address: u64, value: u32| {
        // SAFETY: the GIC's registers are there, mapped as a device for good. Of those written, the
        // distributor's gets the same value from each CPU, and the others are this CPU's.
        unsafe { ptr::with_exposed_provenance_mut::<u32>(address as usize).write_volatile(value) }
    };
    write(CTLR, CTLR_ARE_GROUP1);
    write(
        GICR + cpu as u64 * GICR_STRIDE + ISENABLER0,
        1 << TIMER | 1 << WAKE,
    );
    // SAFETY: the registers concern interrupts of this CPU, which it has masked, and its own
    // virtual timer, which it does not use.
    unsafe {
        asm!(
            "msr s3_4_c12_c9_5, {sre}", // ICC_SRE_EL2
            "isb",
            "msr s3_0_c4_c6_0, {all}",  // ICC_PMR_EL1
            "msr s3_0_c12_c12_7, {on}", // ICC_IGRPEN1_EL1
            "msr cntv_ctl_el0, xzr",
            "isb",
            sre = in(reg) 0xf_u64,
            all = in(reg) 0xff_u64,
            on = in(reg) 1_u64,
            options(nomem, nostack),
        );
    }
}

/// Wakes a CPU that sleeps, or is about to.
pub(crate) fn wake(cpu: usize) {
    // SAFETY: ICC_SGI1R_EL1 sends an interrupt, which the CPU takes in `acknowledge` alone. What
    // has been written before is there for the CPU that it wakes.
    unsafe {
        asm!("dsb ishst", "msr s3_0_c12_c11_5, {}", "isb", in(reg) WAKE << 24 | 1 << cpu);
    }
}

/// Sleeps until there is an interrupt.
pub(crate) fn sleep() {
    // SAFETY: waiting has no effect on anything else.
    unsafe { asm!("dsb sy", "wfi", options(nostack)) }
    acknowledge();
}

/// Ends all interrupts that are pending for this CPU.
pub(crate) fn acknowledge() {
    loop {
        let intid: u64;
        // SAFETY: ICC_IAR1_EL1 makes an interrupt active, and ICC_EOIR1_EL1 ends it.
        unsafe {
            asm!("mrs {}, s3_0_c12_c12_0", "dsb sy", out(reg) intid, options(nostack));
        }
        if intid >= SPECIAL {
            return;
        }
        // SAFETY: as above.
        unsafe { asm!("msr s3_0_c12_c12_1, {}", "isb", in(reg) intid, options(nostack)) }
    }
}

/// Sets this CPU's first two list registers, for the next REC that is entered.
pub(crate) fn set_list_registers(first: u64, second: u64) {
    // SAFETY: ICH_LR0_EL2 and ICH_LR1_EL2 concern guests only.
    unsafe {
        asm!(
            "msr s3_4_c12_c12_0, {}",
            "msr s3_4_c12_c12_1, {}",
            "isb",
            in(reg) first,
            in(reg) second,
            options(nomem, nostack),
        );
    }
}

/// Resets what a REC before has left in this CPU's virtual interface.
pub(crate) fn reset_virtual() {
    set_list_registers(0, 0);
    // SAFETY: ICH_VMCR_EL2 and ICH_AP1R0_EL2 concern guests only.
    unsafe {
        asm!(
            "msr s3_4_c12_c11_7, xzr",
            "msr s3_4_c12_c9_0, xzr",
            options(nomem, nostack),
        );
    }
}

/// Turns on this CPU's virtual interface, which the RMM turns off at each exit.
pub(crate) fn enable_virtual() {
    // SAFETY: ICH_HCR_EL2 concerns guests only.
    unsafe {
        asm!("msr s3_4_c12_c11_0, {}", "isb", in(reg) 1_u64, options(nomem, nostack));
    }
}

/// Makes the timer's interrupt pending for the REC, unless it is already. Returns whether it did.
pub(crate) fn inject_timer() -> bool {
    let lr: u64;
    // SAFETY: reading ICH_LR0_EL2 changes nothing.
    unsafe {
        asm!("mrs {}, s3_4_c12_c12_0", out(reg) lr, options(nomem, nostack));
    }
    if lr & LR_STATE != 0 {
        return false;
    }
    set_list_registers(pending(TIMER), 0);
    true
}
