// SPDX-License-Identifier: GPL-2.0

//! The log: a PL011 UART that EL3 has set up and that it shares with the host.

use core::fmt::{self, Write};
use core::ptr;

use spin::Mutex;

/// Data register, in bytes from the base.
const DR: usize = 0x00;
/// Flag register, in bytes from the base.
const FR: usize = 0x18;
/// Flag register: the transmit FIFO is full.
const FR_TXFF: u32 = 1 << 5;

/// How often a CPU that has to report the end tries to get the log from the others.
const PATIENCE: usize = 10_000_000;

/// The log, once the manifest has said where it is. Before that, and without one, nothing is said.
static CONSOLE: Mutex<Option<Pl011>> = Mutex::new(None);

/// A PL011 UART.
struct Pl011 {
    base: usize,
}

impl Pl011 {
    fn put(&mut self, byte: u8) {
        let flags = ptr::with_exposed_provenance::<u32>(self.base + FR);
        let data = ptr::with_exposed_provenance_mut::<u32>(self.base + DR);
        // SAFETY: `open` was promised that the registers are mapped there for good.
        unsafe {
            while flags.read_volatile() & FR_TXFF != 0 {}
            data.write_volatile(u32::from(byte));
        }
    }
}

impl Write for Pl011 {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        for byte in s.bytes() {
            if byte == b'\n' {
                self.put(b'\r');
            }
            self.put(byte);
        }
        Ok(())
    }
}

/// Opens the log.
///
/// # Safety
///
/// The registers of a PL011 are mapped at `base`, for good.
pub(crate) unsafe fn open(base: usize) {
    *CONSOLE.lock() = Some(Pl011 { base });
}

/// Writes a line to the log.
pub(crate) fn line(args: fmt::Arguments<'_>) {
    write_line(&mut CONSOLE.lock(), args);
}

/// Writes a last line to the log, even if somebody else holds it and does not let go.
pub(crate) fn last_line(args: fmt::Arguments<'_>) {
    for _ in 0..PATIENCE {
        if let Some(mut console) = CONSOLE.try_lock() {
            return write_line(&mut console, args);
        }
        core::hint::spin_loop();
    }
    // SAFETY: the holder is not coming back, or its line gets mixed with this one. Either is better
    // than silence, and the UART takes no harm.
    unsafe { CONSOLE.force_unlock() };
    write_line(&mut CONSOLE.lock(), args);
}

fn write_line(console: &mut Option<Pl011>, args: fmt::Arguments<'_>) {
    if let Some(uart) = console {
        // The UART takes everything.
        let _ = writeln!(uart, "rmm: {args}");
    }
}

/// Writes a line to the log, in the manner of `println!`.
macro_rules! log {
    ($($args:tt)*) => { $crate::console::line(format_args!($($args)*)) };
}
pub(crate) use log;
