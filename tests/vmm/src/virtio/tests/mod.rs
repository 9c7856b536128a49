// SPDX-License-Identifier: GPL-2.0

//! The devices, as a driver sees them.

mod block;
mod console;
mod driver;
mod function;
mod hostile;
mod interrupts;
mod mmio;
mod pci;
mod pci_random;
mod race;
mod random;
mod rng;
