// SPDX-License-Identifier: GPL-2.0

//! The end: what happens when the RMM finds that it is wrong about something.
//!
//! It says where, and turns the machine off. An EL3 that does not let it do that is given no chance
//! to run the host on this CPU again, nor on any other that calls the RMM after that.

use core::fmt;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::{arch, console, el3};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// What the entries of the vector table stand for.
const VECTORS: [&str; 4] = ["synchronous exception", "IRQ", "FIQ", "SError"];

/// Reports an exception that nobody expected and stops. `vector` is the number of its entry in the
/// vector table, `sp` the stack pointer until then.
pub(crate) fn exception(vector: u64, sp: u64) -> ! {
    let kind = VECTORS[vector as usize % VECTORS.len()];
    stop(format_args!(
        "{kind} in the RMM: ESR {:#x} ELR {:#x} FAR {:#x} SP {sp:#x}",
        arch::esr(),
        arch::elr(),
        arch::far(),
    ))
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    match info.location() {
        Some(at) => stop(format_args!("panic at {at}: {}", info.message())),
        None => stop(format_args!("panic: {}", info.message())),
    }
}

/// Says why, and turns the machine off.
fn stop(why: fmt::Arguments<'_>) -> ! {
    // The first to get here reports. If that runs into the next exception, there is nothing left to
    // try.
    if !STOPPED.swap(true, Ordering::AcqRel) {
        console::last_line(format_args!("CPU {}: {why}", arch::cpu()));
        console::last_line(format_args!("stopped"));
        el3::system_off();
    }
    arch::park()
}

/// Parks this CPU if another has stopped the RMM.
pub(crate) fn check() {
    if STOPPED.load(Ordering::Acquire) {
        arch::park();
    }
}
