// SPDX-License-Identifier: GPL-2.0

//! PCI, as far as a root bus without bridges needs it: configuration space (PCI Local Bus 3.0, 6),
//! message-signalled interrupts (6.8.2), and the window by which a guest sees the configuration
//! spaces of all functions (ECAM: PCI Express 5.0, 7.2.2).
//!
//! Whatever a guest writes here is only kept, or has a device do what the guest could have had it
//! do anyway: a register that is not there, or an access of another width, is no error.

pub mod config;
pub mod ecam;
pub mod msix;
pub mod registers;

/// A function of a device, as its bus knows it.
pub trait Function: Send {
    /// The guest reads its configuration space.
    fn read_config(&mut self, at: u64, data: &mut [u8]);

    /// The guest writes its configuration space.
    fn write_config(&mut self, at: u64, data: &[u8]);

    /// Goes on with what was too much to do on the thread of one access.
    fn go_on(&mut self);
}
