// SPDX-License-Identifier: GPL-2.0

//! The MMIO transport, version 2 (virtio 1.2, 4.2).

use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_CONFIG,
    VIRTIO_MMIO_CONFIG_GENERATION,
    VIRTIO_MMIO_DEVICE_FEATURES,
    VIRTIO_MMIO_DEVICE_FEATURES_SEL,
    VIRTIO_MMIO_DEVICE_ID,
    VIRTIO_MMIO_DRIVER_FEATURES,
    VIRTIO_MMIO_DRIVER_FEATURES_SEL,
    VIRTIO_MMIO_INTERRUPT_ACK,
    VIRTIO_MMIO_INTERRUPT_STATUS,
    VIRTIO_MMIO_INT_CONFIG,
    VIRTIO_MMIO_INT_VRING,
    VIRTIO_MMIO_MAGIC_VALUE,
    VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
    VIRTIO_MMIO_QUEUE_AVAIL_LOW,
    VIRTIO_MMIO_QUEUE_DESC_HIGH,
    VIRTIO_MMIO_QUEUE_DESC_LOW,
    VIRTIO_MMIO_QUEUE_NOTIFY,
    VIRTIO_MMIO_QUEUE_NUM,
    VIRTIO_MMIO_QUEUE_NUM_MAX,
    VIRTIO_MMIO_QUEUE_READY,
    VIRTIO_MMIO_QUEUE_SEL,
    VIRTIO_MMIO_QUEUE_USED_HIGH,
    VIRTIO_MMIO_QUEUE_USED_LOW,
    VIRTIO_MMIO_SHM_BASE_HIGH,
    VIRTIO_MMIO_SHM_BASE_LOW,
    VIRTIO_MMIO_SHM_LEN_HIGH,
    VIRTIO_MMIO_SHM_LEN_LOW,
    VIRTIO_MMIO_STATUS,
    VIRTIO_MMIO_VENDOR_ID,
    VIRTIO_MMIO_VERSION, //
};
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::core::{set_high, set_low, Core, Tell};
use super::queue::Virtqueue;
use super::{Device, Error};
use crate::bus::Mmio;

/// Bytes of addresses that a device takes.
pub const SIZE: u64 = 0x200;

/// "virt".
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
const VENDOR: u32 = 0;

/// A device's registers.
#[derive(Debug)]
pub struct Transport<D> {
    pub(super) core: Core<D>,
    irq: EventFd,
    selected: Selected,
    interrupt: u32,
}

/// What the driver last wrote to the registers that say what others are about.
#[derive(Debug, Default)]
struct Selected {
    device_features: u32,
    driver_features: u32,
    queue: u32,
}

impl<D: Device> Transport<D> {
    /// Puts `device` on a transport. `memory` is what the driver shares with it, at the addresses
    /// that the driver gives; `irq` gets a write for each interrupt, which is an edge.
    pub fn new(device: D, memory: GuestMemoryMmap, irq: EventFd) -> Self {
        Self {
            core: Core::new(device, memory),
            irq,
            selected: Selected::default(),
            interrupt: 0,
        }
    }

    /// Why the device wants a reset, if it does.
    pub fn fault(&self) -> Option<&Error> {
        self.core.fault()
    }

    /// Has the device look at queue number `index`.
    pub(super) fn serve(&mut self, index: usize) {
        let tell = self.core.serve(index);
        self.tell(tell);
    }

    fn tell(&mut self, tell: Tell) {
        // What is left is taken up when the driver acknowledges, so that this interrupt is sent
        // whether it wants one or not.
        if tell.used || tell.more {
            self.signal(VIRTIO_MMIO_INT_VRING);
        }
        if tell.config {
            self.signal(VIRTIO_MMIO_INT_CONFIG);
        }
    }

    fn signal(&mut self, cause: u32) {
        self.interrupt |= cause;
        // It fails when there are too many that nobody took: one is pending then.
        let _ = self.irq.write(1);
    }

    fn set_status(&mut self, value: u32) {
        if self.core.set_status(value) {
            self.selected = Selected::default();
            self.interrupt = 0;
        }
    }

    fn queue(&self) -> Option<&Virtqueue> {
        self.core.queues().get(self.selected.queue as usize)
    }

    fn set_queue_ready(&mut self, ready: bool) {
        let tell = self
            .core
            .set_queue_ready(self.selected.queue as usize, ready);
        self.tell(tell);
    }

    /// The registers that say where the selected queue is.
    fn set_queue(&mut self, register: u32, value: u32) {
        let Some(queue) = self.core.unready_queue(self.selected.queue as usize) else {
            return;
        };
        match register {
            VIRTIO_MMIO_QUEUE_NUM => queue.size = value,
            VIRTIO_MMIO_QUEUE_DESC_LOW => set_low(&mut queue.descriptors, value),
            VIRTIO_MMIO_QUEUE_DESC_HIGH => set_high(&mut queue.descriptors, value),
            VIRTIO_MMIO_QUEUE_AVAIL_LOW => set_low(&mut queue.available, value),
            VIRTIO_MMIO_QUEUE_AVAIL_HIGH => set_high(&mut queue.available, value),
            VIRTIO_MMIO_QUEUE_USED_LOW => set_low(&mut queue.used, value),
            VIRTIO_MMIO_QUEUE_USED_HIGH => set_high(&mut queue.used, value),
            _ => {}
        }
    }

    fn acknowledge(&mut self, causes: u32) {
        self.interrupt &= !causes;
        if causes & VIRTIO_MMIO_INT_VRING != 0 {
            for index in 0..self.core.queues().len() {
                if self.core.queues()[index].more {
                    self.serve(index);
                }
            }
        }
    }

    fn read_register(&self, register: u32) -> u32 {
        match register {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.core.device.id(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => self.core.device_features(self.selected.device_features),
            VIRTIO_MMIO_QUEUE_NUM_MAX => self.queue().map_or(0, |queue| queue.max().into()),
            VIRTIO_MMIO_QUEUE_READY => self.queue().is_some_and(Virtqueue::is_ready).into(),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.interrupt,
            VIRTIO_MMIO_STATUS => self.core.status(),
            // There are no shared memory regions.
            VIRTIO_MMIO_SHM_LEN_LOW
            | VIRTIO_MMIO_SHM_LEN_HIGH
            | VIRTIO_MMIO_SHM_BASE_LOW
            | VIRTIO_MMIO_SHM_BASE_HIGH => u32::MAX,
            // The configuration never changes.
            VIRTIO_MMIO_CONFIG_GENERATION => 0,
            _ => 0,
        }
    }

    fn write_register(&mut self, register: u32, value: u32) {
        match register {
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.selected.device_features = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.selected.driver_features = value,
            VIRTIO_MMIO_DRIVER_FEATURES => {
                let select = self.selected.driver_features;
                self.core.set_driver_features(select, value);
            }
            VIRTIO_MMIO_QUEUE_SEL => self.selected.queue = value,
            VIRTIO_MMIO_QUEUE_READY => self.set_queue_ready(value & 1 != 0),
            VIRTIO_MMIO_QUEUE_NOTIFY => self.serve(value as usize),
            VIRTIO_MMIO_INTERRUPT_ACK => self.acknowledge(value),
            VIRTIO_MMIO_STATUS => self.set_status(value),
            _ => self.set_queue(register, value),
        }
    }
}

impl<D: Device> Mmio for Transport<D> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let Some(at) = offset.checked_sub(VIRTIO_MMIO_CONFIG.into()) {
            self.core.read_config(at, data);
        } else if let Ok(data) = <&mut [u8; 4]>::try_from(data) {
            *data = self.read_register(offset as u32).to_le_bytes();
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let register = u32::try_from(offset).unwrap_or(u32::MAX);
        if let Ok(data) = <[u8; 4]>::try_from(data) {
            self.write_register(register, u32::from_le_bytes(data));
        }
    }
}
