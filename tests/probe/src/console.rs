// SPDX-License-Identifier: GPL-2.0

//! What the probe says, on the UART that it shares with the firmware: hence a mark on each line.

use core::fmt::{self, Write};
use core::ptr;

use crate::layout::UART;

/// Data register, in bytes from the base.
const DR: u64 = 0x00;
/// Flag register, in bytes from the base.
const FR: u64 = 0x18;
/// Flag register: the transmit FIFO is full.
const FR_FULL: u32 = 1 << 5;

struct Uart;

impl Write for Uart {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let flags = ptr::with_exposed_provenance::<u32>((UART + FR) as usize);
        let data = ptr::with_exposed_provenance_mut::<u32>((UART + DR) as usize);
        for byte in s.bytes() {
            // SAFETY: a PL011's registers are there, mapped as a device for good. Two CPUs that
            // write at a time mix their bytes; the UART takes no harm.
            unsafe {
                while flags.read_volatile() & FR_FULL != 0 {}
                data.write_volatile(u32::from(byte));
            }
        }
        Ok(())
    }
}

/// Writes a line.
pub(crate) fn line(args: fmt::Arguments<'_>) {
    // The UART takes everything.
    let _ = write!(Uart, "probe: {args}\r\n");
}

/// Writes a line, in the manner of `println!`.
macro_rules! say {
    ($($args:tt)*) => { $crate::console::line(format_args!($($args)*)) };
}
pub(crate) use say;
