// SPDX-License-Identifier: GPL-2.0

//! What a guest finds at addresses that are not memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A device's registers.
pub trait Mmio: Send {
    /// The guest reads `data.len()` bytes (1, 2, 4 or 8) at `offset` from the device's base. What
    /// is not a register reads as zeros.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// The guest writes `data` (1, 2, 4 or 8 bytes) at `offset` from the device's base. What is not
    /// a register ignores that.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// A device that others may have something to tell, too.
pub type Shared = Arc<Mutex<dyn Mmio>>;

/// The device, also after a panic: it is as good as it was before, and guests see stranger things.
pub fn lock<D: Mmio + ?Sized>(device: &Mutex<D>) -> MutexGuard<'_, D> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All devices of a guest.
#[derive(Default)]
pub struct Bus {
    devices: Vec<(Range<u64>, Shared)>,
}

impl Bus {
    /// Puts a device at `base`; it has `size` bytes of registers.
    pub fn add(&mut self, base: u64, size: u64, device: Shared) {
        self.devices.push((base..base.saturating_add(size), device));
    }

    /// The guest reads at `address`. False if nothing is there: the guest reads zeros.
    pub fn read(&self, address: u64, data: &mut [u8]) -> bool {
        data.fill(0);
        self.with(address, data.len(), |device, offset| {
            device.read(offset, data)
        })
    }

    /// The guest writes at `address`. False if nothing is there: the guest does not notice.
    pub fn write(&self, address: u64, data: &[u8]) -> bool {
        self.with(address, data.len(), |device, offset| {
            device.write(offset, data)
        })
    }

    fn with(&self, address: u64, size: usize, f: impl FnOnce(&mut dyn Mmio, u64)) -> bool {
        let Some(last) = address.checked_add((size as u64).saturating_sub(1)) else {
            return false;
        };
        let mut all = self.devices.iter();
        let Some((area, device)) = all.find(|(a, _)| a.contains(&address) && a.contains(&last))
        else {
            return false;
        };
        f(&mut *lock(device), address - area.start);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Echo(Vec<(u64, Vec<u8>)>);

    impl Mmio for Echo {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(offset as u8);
        }

        fn write(&mut self, offset: u64, data: &[u8]) {
            self.0.push((offset, data.to_vec()));
        }
    }

    #[test]
    fn finds_the_device() {
        let (first, second) = (Arc::new(Mutex::new(Echo::default())), Arc::default());
        let mut bus = Bus::default();
        bus.add(0x1000, 0x10, first.clone());
        bus.add(0x1010, 0x10, Arc::<Mutex<Echo>>::clone(&second));
        let mut data = [0xaa; 4];
        assert!(bus.read(0x1004, &mut data));
        assert_eq!(data, [4; 4]);
        assert!(bus.write(0x1018, &[1, 2]));
        assert!(first.lock().unwrap().0.is_empty());
        assert_eq!(second.lock().unwrap().0, [(8, vec![1, 2])]);
    }

    #[test]
    fn nothing_there() {
        let mut bus = Bus::default();
        bus.add(0x1000, 0x10, Arc::new(Mutex::new(Echo::default())));
        for address in [0xfff, 0x100d, 0x1010, u64::MAX] {
            let mut data = [0xaa; 4];
            assert!(!bus.read(address, &mut data), "{address:#x}");
            assert_eq!(data, [0; 4]);
            assert!(!bus.write(address, &data), "{address:#x}");
        }
    }
}
