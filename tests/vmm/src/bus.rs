// SPDX-License-Identifier: GPL-2.0

//! What a guest finds at addresses that are not memory.

use std::sync::atomic::{AtomicU64, Ordering};
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
pub fn lock<D: ?Sized>(device: &Mutex<D>) -> MutexGuard<'_, D> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a device's registers begin, which the guest may decide: a PCI device's.
#[derive(Clone, Debug)]
pub struct Place(Arc<AtomicU64>);

/// At which no register is: what a device has begins, at least, in a page of its own.
const NOWHERE: u64 = u64::MAX;

impl Place {
    /// At `base`.
    pub fn at(base: u64) -> Self {
        Self(Arc::new(AtomicU64::new(base)))
    }

    /// Nowhere, until it is moved.
    pub fn nowhere() -> Self {
        Self::at(NOWHERE)
    }

    /// Moves it. A CPU that makes an access meanwhile meets the old place or the new one, as on any
    /// bus: nothing else depends on this value.
    pub fn move_to(&self, base: Option<u64>) {
        self.0.store(base.unwrap_or(NOWHERE), Ordering::Relaxed);
    }

    /// What it says now.
    pub fn base(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|base| *base != NOWHERE)
    }
}

/// All devices of a guest.
#[derive(Default)]
pub struct Bus {
    devices: Vec<(Place, u64, Shared)>,
}

impl Bus {
    /// Puts a device at `base`; it has `size` bytes of registers.
    pub fn add(&mut self, base: u64, size: u64, device: Shared) {
        self.add_moving(Place::at(base), size, device);
    }

    /// The same with a device that moves. Where it would cover one that was added before, that one
    /// is there.
    pub fn add_moving(&mut self, place: Place, size: u64, device: Shared) {
        self.devices.push((place, size, device));
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
        let there = self.devices.iter().find_map(|(place, size, device)| {
            let base = place.base()?;
            let offset = address.checked_sub(base)?;
            (last - base < *size).then_some((device, offset))
        });
        let Some((device, offset)) = there else {
            return false;
        };
        f(&mut *lock(device), offset);
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

    #[test]
    fn a_device_that_moves() {
        let (fixed, moving) = (Arc::<Mutex<Echo>>::default(), Arc::<Mutex<Echo>>::default());
        let mut bus = Bus::default();
        let place = Place::nowhere();
        bus.add(0x1000, 0x10, fixed.clone());
        bus.add_moving(place.clone(), 0x20, moving.clone());
        assert!(!bus.write(NOWHERE, &[1]));
        assert!(!bus.write(0x2000, &[1]));
        place.move_to(Some(0x2000));
        assert!(bus.write(0x2004, &[2]));
        // Half over the other one.
        place.move_to(Some(0x1000));
        assert!(!bus.write(0x2004, &[3]));
        assert!(bus.write(0x1004, &[4]));
        assert!(bus.write(0x1014, &[5]));
        place.move_to(None);
        assert!(!bus.write(0x1014, &[6]));
        assert_eq!(fixed.lock().unwrap().0, [(4, vec![4])]);
        assert_eq!(moving.lock().unwrap().0, [(4, vec![2]), (0x14, vec![5])]);
    }
}
