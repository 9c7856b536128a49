// SPDX-License-Identifier: GPL-2.0

//! The program in the probe's realms: EL1, MMU off, no help from anybody.

#![no_std]
#![no_main]

mod host;
mod provoke;
mod puppet;
mod work;

use core::arch::global_asm;

use realm_payload::{fid, role, RECS, STACK_SHIFT};

global_asm!(
    include_str!("entry.S"),
    RECS = const RECS,
    STACK_SHIFT = const STACK_SHIFT,
    SYSTEM_RESET = const fid::SYSTEM_RESET,
    EC_INSTRUCTION_ABORT = const 0x21,
    TIMER = const work::TIMER_INTID,
    main = sym main,
);

/// Runs a REC, on its own stack. `context` is what it was started with.
extern "C" fn main(context: u64) -> ! {
    let rec = (context & role::REC) as usize;
    if context & role::WORKER != 0 {
        work::run(rec)
    } else {
        puppet::run(rec, context)
    }
}

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    extern "C" {
        fn give_up() -> !;
    }
    // SAFETY: `give_up` in entry.S ends the realm; it needs nothing and returns never.
    unsafe { give_up() }
}
