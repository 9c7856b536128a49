// SPDX-License-Identifier: GPL-2.0

//! The configuration spaces of all functions, one after another in the guest's address space.

use std::sync::{Arc, Mutex};

use super::Function;
use crate::bus::{lock, Mmio};

/// Bytes of a function's configuration space in the window.
const FUNCTION_SIZE: u64 = 0x1000;
/// Functions of a device.
const FUNCTIONS: u64 = 8;

/// A root bus, on which each device has one function.
#[derive(Default)]
pub struct Ecam {
    devices: Vec<Arc<Mutex<dyn Function>>>,
}

impl Ecam {
    /// Devices a bus has room for.
    pub const DEVICES: usize = 32;

    /// Bytes of the window.
    pub const SIZE: u64 = Self::DEVICES as u64 * FUNCTIONS * FUNCTION_SIZE;

    /// A bus with these devices, numbered from 0 on; there is room for them.
    pub fn new(devices: Vec<Arc<Mutex<dyn Function>>>) -> Self {
        Self { devices }
    }

    fn function(&self, offset: u64) -> Option<(&Mutex<dyn Function>, u64)> {
        let (number, at) = (offset / FUNCTION_SIZE, offset % FUNCTION_SIZE);
        if number % FUNCTIONS != 0 {
            return None;
        }
        let device = usize::try_from(number / FUNCTIONS).ok()?;
        Some((self.devices.get(device)?, at))
    }
}

/// The requester ID of device number `device`, by which an ITS knows it: bus 0, function 0.
pub fn requester_id(device: usize) -> u32 {
    // CAST: There are no more than Ecam::DEVICES.
    device as u32 * FUNCTIONS as u32
}

impl Mmio for Ecam {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        match self.function(offset) {
            Some((function, at)) => lock(function).read_config(at, data),
            // What a bus says when nobody answers.
            None => data.fill(0xff),
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let Some((function, at)) = self.function(offset) {
            lock(function).write_config(at, data);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Echo(Vec<(u64, Vec<u8>)>);

    impl Function for Echo {
        fn read_config(&mut self, at: u64, data: &mut [u8]) {
            data.fill(at as u8);
        }

        fn write_config(&mut self, at: u64, data: &[u8]) {
            self.0.push((at, data.to_vec()));
        }

        fn go_on(&mut self) {}
    }

    #[test]
    fn each_device_has_its_place() {
        let (first, second) = (Arc::<Mutex<Echo>>::default(), Arc::<Mutex<Echo>>::default());
        let mut ecam = Ecam::new(vec![first.clone(), second.clone()]);
        let mut data = [0; 4];
        ecam.read(0x8010, &mut data);
        assert_eq!(data, [0x10; 4]);
        ecam.write(0x8fff, &[3]);
        ecam.write(0x20, &[4]);
        assert_eq!(first.lock().unwrap().0, [(0x20, vec![4])]);
        assert_eq!(second.lock().unwrap().0, [(0xfff, vec![3])]);
        assert_eq!(requester_id(1), 8);
    }

    #[test]
    fn nobody_reads_as_ones() {
        let mut ecam = Ecam::new(vec![Arc::new(Mutex::new(Echo::default()))]);
        // Another function, the next device, the last, far away.
        for at in [0x1000, 0x7000, 0x8000, Ecam::SIZE - 4, Ecam::SIZE, u64::MAX] {
            let mut data = [0; 4];
            ecam.read(at, &mut data);
            assert_eq!(data, [0xff; 4], "{at:#x}");
            ecam.write(at, &data);
        }
    }
}
