// SPDX-License-Identifier: GPL-2.0

//! The devices, as a driver sees them.

mod block;
mod console;
mod driver;
mod hostile;
mod interrupts;
mod mmio;
mod race;
mod random;
mod rng;
