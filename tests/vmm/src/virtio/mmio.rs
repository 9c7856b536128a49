// SPDX-License-Identifier: GPL-2.0

//! The MMIO transport, version 2 (virtio 1.2, 4.2).

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE,
    VIRTIO_CONFIG_S_DRIVER,
    VIRTIO_CONFIG_S_DRIVER_OK,
    VIRTIO_CONFIG_S_FAILED,
    VIRTIO_CONFIG_S_FEATURES_OK,
    VIRTIO_CONFIG_S_NEEDS_RESET,
    VIRTIO_F_ACCESS_PLATFORM,
    VIRTIO_F_VERSION_1, //
};
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
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vm_memory::GuestMemoryMmap;
use vmm_sys_util::eventfd::EventFd;

use super::queue::Virtqueue;
use super::{Device, Error};
use crate::bus::Mmio;

/// Bytes of addresses that a device takes.
pub const SIZE: u64 = 0x200;

/// "virt".
const MAGIC: u32 = 0x7472_6976;
const VERSION: u32 = 2;
const VENDOR: u32 = 0;

/// What the driver may say of itself.
const DRIVER_STATUS: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_DRIVER_OK
    | VIRTIO_CONFIG_S_FAILED;

/// A device's registers and queues.
#[derive(Debug)]
pub struct Transport<D> {
    pub(super) device: D,
    memory: GuestMemoryMmap,
    irq: EventFd,
    queues: Vec<Virtqueue>,
    state: State,
}

/// What the driver set up, and what happened since.
#[derive(Debug, Default)]
struct State {
    status: u32,
    interrupt: u32,
    driver_features: u64,
    device_features_select: u32,
    driver_features_select: u32,
    queue_select: u32,
    fault: Option<Error>,
}

impl<D: Device> Transport<D> {
    /// Puts `device` on a transport. `memory` is what the driver shares with it, at the addresses
    /// that the driver gives; `irq` gets a write for each interrupt, which is an edge.
    pub fn new(device: D, memory: GuestMemoryMmap, irq: EventFd) -> Self {
        Self {
            queues: new_queues(&device),
            device,
            memory,
            irq,
            state: State::default(),
        }
    }

    /// Why the device wants a reset, if it does.
    pub fn fault(&self) -> Option<&Error> {
        self.state.fault.as_ref()
    }

    /// Has the device look at queue number `index`.
    pub(super) fn serve(&mut self, index: usize) {
        if self.state.status & VIRTIO_CONFIG_S_DRIVER_OK == 0 || self.state.fault.is_some() {
            return;
        }
        let Some(queue) = self.queues.get_mut(index) else {
            return;
        };
        match queue.serve(index, &mut self.device, &self.memory) {
            // What is left is taken up when the driver acknowledges, so that this interrupt is
            // sent whether it wants one or not.
            Ok(outcome) if outcome.interrupt || outcome.more => self.signal(VIRTIO_MMIO_INT_VRING),
            Ok(_) => {}
            Err(error) => self.stop(error),
        }
    }

    fn signal(&mut self, cause: u32) {
        self.state.interrupt |= cause;
        // It fails when there are too many that nobody took: one is pending then.
        let _ = self.irq.write(1);
    }

    /// The driver broke the rules: nothing more happens until it resets the device.
    fn stop(&mut self, error: Error) {
        self.state.fault = Some(error);
        self.state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        if self.state.status & VIRTIO_CONFIG_S_DRIVER_OK != 0 {
            self.signal(VIRTIO_MMIO_INT_CONFIG);
        }
    }

    fn reset(&mut self) {
        self.queues = new_queues(&self.device);
        self.state = State::default();
    }

    fn features(&self) -> u64 {
        self.device.features()
            | (1 << VIRTIO_F_VERSION_1)
            | (1 << VIRTIO_F_ACCESS_PLATFORM)
            | (1 << VIRTIO_RING_F_EVENT_IDX)
    }

    fn set_driver_features(&mut self, value: u32) {
        if self.state.status & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            return;
        }
        let shift = match self.state.driver_features_select {
            0 => 0,
            1 => 32,
            _ => return,
        };
        let kept = self.state.driver_features & !(u64::from(u32::MAX) << shift);
        self.state.driver_features = kept | (u64::from(value) << shift);
    }

    fn set_status(&mut self, value: u32) {
        if value == 0 {
            return self.reset();
        }
        self.state.status |= value & DRIVER_STATUS & !VIRTIO_CONFIG_S_DRIVER_OK;
        let possible = self.state.driver_features & !self.features() == 0
            && self.state.driver_features & (1 << VIRTIO_F_VERSION_1) != 0;
        if !possible {
            self.state.status &= !VIRTIO_CONFIG_S_FEATURES_OK;
        }
        if self.state.status & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            self.state.status |= value & VIRTIO_CONFIG_S_DRIVER_OK;
        }
    }

    fn queue(&self) -> Option<&Virtqueue> {
        self.queues
            .get(usize::try_from(self.state.queue_select).ok()?)
    }

    fn set_queue_ready(&mut self, ready: bool) {
        let event_idx = self.state.driver_features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0;
        let negotiated = self.state.status & VIRTIO_CONFIG_S_FEATURES_OK != 0;
        let Some(queue) = self.queues.get_mut(self.state.queue_select as usize) else {
            return;
        };
        if !ready {
            queue.stop();
        } else if negotiated && !queue.is_ready() {
            if let Err(error) = queue.start(event_idx, &self.memory) {
                self.stop(error);
            }
        }
    }

    /// The registers that say where the selected queue is. They stay as they are while it is ready.
    fn set_queue(&mut self, register: u32, value: u32) {
        let Some(queue) = self.queues.get_mut(self.state.queue_select as usize) else {
            return;
        };
        if queue.is_ready() {
            return;
        }
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
        self.state.interrupt &= !causes;
        if causes & VIRTIO_MMIO_INT_VRING != 0 {
            for index in 0..self.queues.len() {
                if self.queues[index].more {
                    self.serve(index);
                }
            }
        }
    }

    fn read_register(&self, register: u32) -> u32 {
        match register {
            VIRTIO_MMIO_MAGIC_VALUE => MAGIC,
            VIRTIO_MMIO_VERSION => VERSION,
            VIRTIO_MMIO_DEVICE_ID => self.device.id(),
            VIRTIO_MMIO_VENDOR_ID => VENDOR,
            VIRTIO_MMIO_DEVICE_FEATURES => match self.state.device_features_select {
                0 => self.features() as u32,
                1 => (self.features() >> 32) as u32,
                _ => 0,
            },
            VIRTIO_MMIO_QUEUE_NUM_MAX => self.queue().map_or(0, |queue| queue.max().into()),
            VIRTIO_MMIO_QUEUE_READY => self.queue().is_some_and(Virtqueue::is_ready).into(),
            VIRTIO_MMIO_INTERRUPT_STATUS => self.state.interrupt,
            VIRTIO_MMIO_STATUS => self.state.status,
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
            VIRTIO_MMIO_DEVICE_FEATURES_SEL => self.state.device_features_select = value,
            VIRTIO_MMIO_DRIVER_FEATURES_SEL => self.state.driver_features_select = value,
            VIRTIO_MMIO_DRIVER_FEATURES => self.set_driver_features(value),
            VIRTIO_MMIO_QUEUE_SEL => self.state.queue_select = value,
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
        if let Some(offset) = offset.checked_sub(VIRTIO_MMIO_CONFIG.into()) {
            let config = usize::try_from(offset).map_or(None, |at| self.device.config().get(at..));
            for (to, from) in data.iter_mut().zip(config.unwrap_or_default()) {
                *to = *from;
            }
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

fn new_queues(device: &impl Device) -> Vec<Virtqueue> {
    device
        .queues()
        .iter()
        .copied()
        .map(Virtqueue::new)
        .collect()
}

fn set_low(address: &mut u64, value: u32) {
    *address = (*address & !u64::from(u32::MAX)) | u64::from(value);
}

fn set_high(address: &mut u64, value: u32) {
    *address = (*address & u64::from(u32::MAX)) | (u64::from(value) << 32);
}
