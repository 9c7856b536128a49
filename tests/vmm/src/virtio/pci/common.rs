// SPDX-License-Identifier: GPL-2.0

//! The common configuration: the registers by which the driver sets the device up (virtio 1.2, 4.1.4.3).

use super::Transport;
use crate::virtio::core::{set_high, set_low};
use crate::virtio::Device;

/// Vector number: none.
const NO_VECTOR: u16 = 0xffff;

/// What the driver last wrote to the registers that say what others are about.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pub(super) device_features: u32,
    pub(super) driver_features: u32,
    pub(super) queue: u16,
}

/// Which vectors the driver wants to be told by.
#[derive(Debug)]
pub(super) struct Vectors {
    pub(super) config: u16,
    pub(super) queues: Vec<u16>,
}

impl Vectors {
    /// None, for a device with so many queues.
    pub(super) fn none(queues: usize) -> Self {
        Self {
            config: NO_VECTOR,
            queues: vec![NO_VECTOR; queues],
        }
    }

    /// That of a queue.
    pub(super) fn of_queue(&self, index: usize) -> u16 {
        self.queues.get(index).copied().unwrap_or(NO_VECTOR)
    }
}

impl<D: Device> Transport<D> {
    /// The transport's part of a reset. Configuration space and MSI-X are the bus's, and stay.
    pub(super) fn reset(&mut self) {
        self.selected = Selected::default();
        self.vectors = Vectors::none(self.core.queues().len());
        self.isr = 0;
        for index in 0..self.core.queues().len() {
            if let Some(queue) = self.core.unready_queue(index) {
                queue.size = queue.max().into();
            }
        }
    }

    /// A vector number as the driver finds it if it asks.
    fn possible(&self, vector: u16) -> u16 {
        match usize::from(vector) < self.msix.vectors() {
            true => vector,
            false => NO_VECTOR,
        }
    }

    /// Reads a register of the common configuration, of the width that it has.
    pub(super) fn read_common(&self, at: u64, width: usize) -> u32 {
        let index = usize::from(self.selected.queue);
        let queue = self.core.queues().get(index);
        let address = |address: Option<u64>, high: bool| {
            (address.unwrap_or(0) >> if high { 32 } else { 0 }) as u32
        };
        match (at, width) {
            (0x00, 4) => self.selected.device_features,
            (0x04, 4) => self.core.device_features(self.selected.device_features),
            (0x08, 4) => self.selected.driver_features,
            (0x0c, 4) => self.core.driver_features(self.selected.driver_features),
            (0x10, 2) => self.vectors.config.into(),
            (0x12, 2) => self.core.queues().len() as u32,
            (0x14, 1) => self.core.status(),
            // The configuration never changes.
            (0x15, 1) => 0,
            (0x16, 2) => self.selected.queue.into(),
            (0x18, 2) => queue.map_or(0, |queue| queue.size),
            (0x1a, 2) => self.vectors.of_queue(index).into(),
            (0x1c, 2) => queue.is_some_and(|queue| queue.is_ready()).into(),
            (0x1e, 2) => self.selected.queue.into(),
            (0x20 | 0x24, 4) => address(queue.map(|queue| queue.descriptors), at == 0x24),
            (0x28 | 0x2c, 4) => address(queue.map(|queue| queue.available), at == 0x2c),
            (0x30 | 0x34, 4) => address(queue.map(|queue| queue.used), at == 0x34),
            _ => 0,
        }
    }

    /// Writes one.
    pub(super) fn write_common(&mut self, at: u64, width: usize, value: u32) {
        let index = usize::from(self.selected.queue);
        match (at, width) {
            (0x00, 4) => self.selected.device_features = value,
            (0x08, 4) => self.selected.driver_features = value,
            (0x0c, 4) => {
                let select = self.selected.driver_features;
                self.core.set_driver_features(select, value);
            }
            (0x10, 2) => self.vectors.config = self.possible(value as u16),
            (0x14, 1) => {
                if self.core.set_status(value) {
                    self.reset();
                }
            }
            (0x16, 2) => self.selected.queue = value as u16,
            (0x1a, 2) => {
                let vector = self.possible(value as u16);
                if let Some(of_queue) = self.vectors.queues.get_mut(index) {
                    *of_queue = vector;
                }
            }
            // A queue that is ready stays so until the device is reset.
            (0x1c, 2) if value == 1 => {
                let tell = self.core.set_queue_ready(index, true);
                self.tell(index, tell);
            }
            _ => self.set_queue(at, width, value),
        }
    }

    /// The registers that say where the selected queue is.
    fn set_queue(&mut self, at: u64, width: usize, value: u32) {
        let Some(queue) = self.core.unready_queue(self.selected.queue.into()) else {
            return;
        };
        match (at, width) {
            (0x18, 2) => queue.size = value,
            (0x20, 4) => set_low(&mut queue.descriptors, value),
            (0x24, 4) => set_high(&mut queue.descriptors, value),
            (0x28, 4) => set_low(&mut queue.available, value),
            (0x2c, 4) => set_high(&mut queue.available, value),
            (0x30, 4) => set_low(&mut queue.used, value),
            (0x34, 4) => set_high(&mut queue.used, value),
            _ => {}
        }
    }
}
