// SPDX-License-Identifier: GPL-2.0

//! Virtio devices, on the MMIO transport or on PCI (virtio 1.2).
//!
//! A [`Device`] knows what to do with one [`Request`]; [`mmio::Transport`] and
//! [`pci::Transport`] have the registers and the queues, and hand it the requests one after the other.
//! That happens on the thread that brings the driver's register write, and one such write does a bounded
//! amount of work: whatever the driver puts into its rings, the thread comes back.
//!
//! The driver is not trusted. In a realm it is the other way round as well: a realm does not trust
//! us, and puts what we are to see in memory that it shares, of which it gives the addresses. They
//! are used as they are, so that the memory given to the transport has to have them.

pub mod block;
pub mod console;
mod core;
pub mod mmio;
pub mod pci;
mod queue;
pub mod rng;
#[cfg(test)]
mod tests;

pub use queue::{Error, Request};

/// What became of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served {
    /// The driver gets it back.
    Done {
        /// Bytes that were written, from the start of what the driver has us write to.
        written: u32,
    },
    /// Nothing to do with it yet: it stays where it is.
    Later,
}

/// A device, apart from the transport.
///
/// None of ours changes its configuration by itself, lets the driver write there, or has anything
/// to forget at a reset.
pub trait Device: Send {
    /// The device ID (virtio 1.2, 5).
    fn id(&self) -> u32;

    /// The device's own feature bits. Those of queues and transport are not its business.
    fn features(&self) -> u64;

    /// The greatest size of each queue, powers of two.
    fn queues(&self) -> &[u16];

    /// The configuration space, as the driver reads it.
    fn config(&self) -> &[u8];

    /// Does what `request`, from queue number `queue`, asks for.
    ///
    /// # Errors
    ///
    /// The request makes no sense and there is no way to tell the driver so: the device stops until
    /// the driver resets it.
    fn serve(&mut self, queue: usize, request: &mut Request<'_>) -> Result<Served, Error>;
}
