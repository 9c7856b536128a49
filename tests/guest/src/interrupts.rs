// SPDX-License-Identifier: GPL-2.0

//! The GICv3, the virtual timer, and interrupts from one CPU to another.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use realm_guest::{affinity, CPUS, GICD, GICR, GICR_STRIDE};

use crate::{cpu, upper};

/// The interrupt of the EL1 virtual timer.
const TIMER: u64 = 27;
/// The software-generated interrupt that the CPUs send each other.
const SGI: u64 = 1;
/// There was no interrupt after all.
const SPURIOUS: u64 = 1023;

const GICD_CTLR: u64 = 0;
/// Affinity routing and group 1.
const GICD_CTLR_ON: u32 = 1 << 4 | 1 << 1;
/// The redistributor's second page, for the CPU's own interrupts.
const GICR_SGI: u64 = 0x1_0000;
const GICR_IGROUPR0: u64 = GICR_SGI + 0x80;
const GICR_ISENABLER0: u64 = GICR_SGI + 0x100;

/// CNTV_CTL_EL0: the timer is on; it is masked.
const CNTV_ON: u64 = 1;
const CNTV_MASKED: u64 = 2;

static TIMERS: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];
static SGIS: [AtomicU64; CPUS] = [const { AtomicU64::new(0) }; CPUS];

fn write32(address: u64, value: u32) {
    // SAFETY: a register of the GIC, which the host emulates; there is no memory.
    unsafe {
        asm!("str {:w}, [{}]", in(reg) value, in(reg) upper(address), options(nostack));
    }
}

/// Turns on the distributor, and this CPU's timer and software-generated interrupts.
pub(crate) fn init() {
    let redistributor = GICR + cpu() as u64 * GICR_STRIDE;
    write32(GICD + GICD_CTLR, GICD_CTLR_ON);
    write32(redistributor + GICR_IGROUPR0, u32::MAX);
    write32(redistributor + GICR_ISENABLER0, 1 << TIMER | 0xffff);
    // SAFETY: these registers are this CPU's interface; interrupts are masked still.
    unsafe {
        asm!(
            "msr s3_0_c4_c6_0, {pmr}",  // ICC_PMR_EL1
            "msr s3_0_c12_c12_7, {on}", // ICC_IGRPEN1_EL1
            "isb",
            pmr = in(reg) 0xff_u64,
            on = in(reg) 1_u64,
            options(nostack),
        );
    }
}

/// Takes an interrupt; from the vectors.
pub(crate) extern "C" fn taken() {
    let id: u64;
    // SAFETY: ICC_IAR1_EL1: acknowledges the interrupt that was signalled.
    unsafe { asm!("mrs {}, s3_0_c12_c12_0", out(reg) id, options(nostack)) };
    match id {
        TIMER => {
            control_timer(CNTV_ON | CNTV_MASKED);
            TIMERS[cpu()].fetch_add(1, Ordering::Relaxed);
        }
        SGI => {
            SGIS[cpu()].fetch_add(1, Ordering::Relaxed);
        }
        SPURIOUS => return,
        _ => panic!(),
    }
    // SAFETY: ICC_EOIR1_EL1: ends the interrupt that was acknowledged.
    unsafe { asm!("msr s3_0_c12_c12_1, {}", "isb", in(reg) id, options(nostack)) };
}

fn control_timer(value: u64) {
    // SAFETY: the timer is this CPU's own.
    unsafe { asm!("msr cntv_ctl_el0, {}", "isb", in(reg) value, options(nostack)) };
}

/// Has the timer fire after `ticks`; returns how often it has done so on this CPU.
fn arm_timer(ticks: u64) -> u64 {
    // SAFETY: as above.
    unsafe { asm!("msr cntv_tval_el0, {}", in(reg) ticks, options(nostack)) };
    control_timer(CNTV_ON);
    TIMERS[cpu()].load(Ordering::Relaxed)
}

/// Lets what is pending in.
fn take_pending() {
    // SAFETY: the vectors are set up, and keep what they change.
    unsafe { asm!("msr daifclr, #2", "isb", "msr daifset, #2") };
}

/// Waits until `counter` has moved on from `before`; returns by how much. `wait` is called between.
fn wait_for(counter: &AtomicU64, before: u64, mut wait: impl FnMut()) -> u64 {
    loop {
        take_pending();
        let now = counter.load(Ordering::Relaxed);
        if now != before {
            return now - before;
        }
        wait();
    }
}

fn wfi() {
    // SAFETY: waits, and changes nothing.
    unsafe { asm!("wfi", options(nostack)) };
}

/// Waits in WFI for the timer.
pub(crate) fn timer(ticks: u64) -> u64 {
    let before = arm_timer(ticks);
    wait_for(&TIMERS[cpu()], before, wfi)
}

/// Waits for the timer in `suspend`, which is called once.
pub(crate) fn timer_in(ticks: u64, suspend: impl FnOnce()) -> u64 {
    let before = arm_timer(ticks);
    suspend();
    take_pending();
    TIMERS[cpu()].load(Ordering::Relaxed) - before
}

/// Sends the interrupt to the CPU with this number.
pub(crate) fn send_sgi(target: u64) {
    let affinity = affinity(target);
    let value = SGI << 24 | (affinity >> 8) << 16 | 1 << (affinity & 0xf);
    // SAFETY: ICC_SGI1R_EL1: makes an interrupt, which the vectors can take.
    unsafe { asm!("dsb ish", "msr s3_0_c12_c11_5, {}", "isb", in(reg) value) };
}

/// Waits until this CPU has got so many in all; returns how many it has got.
pub(crate) fn await_sgi(count: u64) -> u64 {
    let mine = &SGIS[cpu()];
    loop {
        let now = mine.load(Ordering::Relaxed);
        if now >= count {
            return now;
        }
        wait_for(mine, now, wfi);
    }
}

/// Keeps the CPU busy for so many ticks of the counter; returns the rounds that it went.
pub(crate) fn spin(ticks: u64) -> u64 {
    let counter = || {
        let now: u64;
        // SAFETY: reads the counter.
        unsafe { asm!("isb", "mrs {}, cntvct_el0", out(reg) now, options(nostack)) };
        now
    };
    let start = counter();
    let mut rounds = 0;
    while counter().wrapping_sub(start) < ticks {
        rounds += 1;
    }
    rounds
}
