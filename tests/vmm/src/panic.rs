// SPDX-License-Identifier: GPL-2.0

//! The device by which a guest says that it panicked: pvpanic.

use crate::bus::Mmio;

/// The guest panicked.
const PANICKED: u8 = 1 << 0;
/// The guest panicked, and a crash kernel is about to look at why.
const CRASH_LOADED: u8 = 1 << 1;

/// Tells somebody when the guest panics.
pub struct Pvpanic<F> {
    panicked: F,
}

impl<F: FnMut() + Send> Pvpanic<F> {
    /// Calls `panicked` when it does, unless a crash kernel takes over.
    pub fn new(panicked: F) -> Self {
        Self { panicked }
    }
}

impl<F: FnMut() + Send> Mmio for Pvpanic<F> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let (0, Some(first)) = (offset, data.first_mut()) {
            *first = PANICKED | CRASH_LOADED;
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if offset == 0 && data.first().is_some_and(|event| event & PANICKED != 0) {
            (self.panicked)();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_panic_counts() {
        let mut count = 0;
        let mut device = Pvpanic::new(|| count += 1);
        let mut supported = [0xff; 2];
        device.read(0, &mut supported);
        assert_eq!(supported, [3, 0]);
        device.write(0, &[CRASH_LOADED]);
        device.write(1, &[PANICKED]);
        device.write(0, &[]);
        device.write(0, &[PANICKED]);
        assert_eq!(count, 1);
    }
}
