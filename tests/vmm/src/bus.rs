// SPDX-License-Identifier: GPL-2.0

//! What a guest finds at addresses that are not memory.

/// A device's registers.
pub trait Mmio: Send {
    /// The guest reads `data.len()` bytes (1, 2, 4 or 8) at `offset` from the device's base. What
    /// is not a register reads as zeros.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// The guest writes `data` (1, 2, 4 or 8 bytes) at `offset` from the device's base. What is not
    /// a register ignores that.
    fn write(&mut self, offset: u64, data: &[u8]);
}
