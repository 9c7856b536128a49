// SPDX-License-Identifier: GPL-2.0

//! A driver: it does everything by registers and memory, as a guest has to.

use virtio_bindings::virtio_config::*;
use virtio_bindings::virtio_mmio::*;
use virtio_bindings::virtio_ring::*;
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EventFd, EFD_NONBLOCK};

use crate::bus::Mmio;
use crate::virtio::mmio::Transport;
use crate::virtio::Device;

/// The memory of the tests: at an address that an `u32` does not have, as a realm's shared half.
pub(super) const BASE: u64 = 1 << 33;
pub(super) const BYTES: usize = 1 << 20;
/// From here on it is free for data.
pub(super) const DATA: u64 = BASE + 0x1_0000;

/// Behind the last byte.
pub(super) const END: u64 = BASE + BYTES as u64;

pub(super) const VERSION_1: u64 = 1 << VIRTIO_F_VERSION_1;
pub(super) const EVENT_IDX: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;

/// Descriptors per queue.
pub(super) const SIZE: u16 = 8;

pub(super) const NEXT: u16 = VRING_DESC_F_NEXT as u16;
pub(super) const WRITE: u16 = VRING_DESC_F_WRITE as u16;
pub(super) const INDIRECT: u16 = VRING_DESC_F_INDIRECT as u16;

pub(super) const OK: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_DRIVER_OK;

/// A part of a request.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    /// Bytes that the device reads: where, and how many.
    Give(u64, u32),
    /// Bytes that the device writes.
    Take(u64, u32),
}

pub(super) fn memory() -> GuestMemoryMmap {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(BASE), BYTES)]).unwrap()
}

/// Where the parts of a queue are.
pub(super) fn descriptors(queue: u32) -> u64 {
    BASE + u64::from(queue) * 0x4000
}

pub(super) fn available(queue: u32) -> u64 {
    descriptors(queue) + 0x1000
}

pub(super) fn used(queue: u32) -> u64 {
    descriptors(queue) + 0x2000
}

/// A device and its driver.
pub(super) struct Driver<D> {
    pub(super) transport: Transport<D>,
    pub(super) memory: GuestMemoryMmap,
    irq: EventFd,
    /// Per queue: the next descriptor, and how many entries of the rings were used.
    free: [u16; 2],
    offered: [u16; 2],
    taken: [u16; 2],
}

impl<D: Device> Driver<D> {
    /// A device that nobody touched.
    pub(super) fn new(device: D) -> Self {
        let memory = memory();
        let irq = EventFd::new(EFD_NONBLOCK).unwrap();
        Self {
            transport: Transport::new(device, memory.clone(), irq.try_clone().unwrap()),
            memory,
            irq,
            free: [0; 2],
            offered: [0; 2],
            taken: [0; 2],
        }
    }

    /// A device that works, without event indices.
    pub(super) fn started(device: D) -> Self {
        let mut driver = Self::new(device);
        driver.start(VERSION_1 | (1 << VIRTIO_F_ACCESS_PLATFORM));
        driver
    }

    pub(super) fn start(&mut self, features: u64) {
        self.write(VIRTIO_MMIO_STATUS, 0);
        self.memory
            .write_slice(&[0; 0x1_0000], GuestAddress(BASE))
            .unwrap();
        (self.free, self.offered, self.taken) = ([0; 2], [0; 2], [0; 2]);
        self.negotiate(features);
        for queue in 0..self.transport.core.device.queues().len() as u32 {
            self.place(queue);
            self.write(VIRTIO_MMIO_QUEUE_READY, 1);
            assert_eq!(self.read(VIRTIO_MMIO_QUEUE_READY), 1);
        }
        self.write(VIRTIO_MMIO_STATUS, OK);
        assert_eq!(self.read(VIRTIO_MMIO_STATUS), OK);
    }

    /// Up to FEATURES_OK, or not.
    pub(super) fn negotiate(&mut self, features: u64) -> u32 {
        self.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
        self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
        self.write(VIRTIO_MMIO_DRIVER_FEATURES, features as u32);
        self.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
        self.write(VIRTIO_MMIO_DRIVER_FEATURES, (features >> 32) as u32);
        self.write(VIRTIO_MMIO_STATUS, OK & !VIRTIO_CONFIG_S_DRIVER_OK);
        self.read(VIRTIO_MMIO_STATUS)
    }

    /// Selects a queue, and says where it is.
    pub(super) fn place(&mut self, queue: u32) {
        self.write(VIRTIO_MMIO_QUEUE_SEL, queue);
        self.write(VIRTIO_MMIO_QUEUE_NUM, SIZE.into());
        for (register, address) in [
            (VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors(queue)),
            (VIRTIO_MMIO_QUEUE_AVAIL_LOW, available(queue)),
            (VIRTIO_MMIO_QUEUE_USED_LOW, used(queue)),
        ] {
            self.write(register, address as u32);
            self.write(register + 4, (address >> 32) as u32);
        }
    }

    pub(super) fn read(&mut self, register: u32) -> u32 {
        let mut data = [0xff; 4];
        self.transport.read(register.into(), &mut data);
        u32::from_le_bytes(data)
    }

    pub(super) fn write(&mut self, register: u32, value: u32) {
        self.transport.write(register.into(), &value.to_le_bytes());
    }

    /// What the device says that it can do.
    pub(super) fn features(&mut self) -> u64 {
        self.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
        let high = u64::from(self.read(VIRTIO_MMIO_DEVICE_FEATURES));
        self.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
        (high << 32) | u64::from(self.read(VIRTIO_MMIO_DEVICE_FEATURES))
    }

    /// Writes descriptor number `index`.
    pub(super) fn describe(&self, queue: u32, index: u16, (address, len, flags, next): Described) {
        let at = GuestAddress(descriptors(queue) + u64::from(index) * 16);
        self.memory
            .write_slice(&described((address, len, flags, next)), at)
            .unwrap();
    }

    /// Puts a request into the ring, of which nobody tells the device.
    pub(super) fn offer(&mut self, queue: u32, parts: &[Part]) -> u16 {
        let q = queue as usize;
        let head = self.free[q] % SIZE;
        for (n, part) in parts.iter().enumerate() {
            let index = self.free[q] % SIZE;
            self.free[q] = self.free[q].wrapping_add(1);
            let (address, len, mut flags) = match *part {
                Part::Give(address, len) => (address, len, 0),
                Part::Take(address, len) => (address, len, WRITE),
            };
            if n + 1 < parts.len() {
                flags |= NEXT;
            }
            self.describe(queue, index, (address, len, flags, self.free[q] % SIZE));
        }
        self.offer_head(queue, head);
        head
    }

    /// Puts a descriptor number into the ring.
    pub(super) fn offer_head(&mut self, queue: u32, head: u16) {
        let offered = &mut self.offered[queue as usize];
        let slot = available(queue) + 4 + u64::from(*offered % SIZE) * 2;
        *offered = offered.wrapping_add(1);
        self.memory.write_obj(head, GuestAddress(slot)).unwrap();
        self.set_available(queue, self.offered[queue as usize]);
    }

    pub(super) fn set_available(&self, queue: u32, index: u16) {
        self.memory
            .write_obj(index, GuestAddress(available(queue) + 2))
            .unwrap();
    }

    pub(super) fn notify(&mut self, queue: u32) {
        self.write(VIRTIO_MMIO_QUEUE_NOTIFY, queue);
    }

    /// A request, of which the device is told.
    pub(super) fn request(&mut self, queue: u32, parts: &[Part]) -> u16 {
        let head = self.offer(queue, parts);
        self.notify(queue);
        head
    }

    /// The next request that the device is done with: its head and how much was written.
    pub(super) fn take(&mut self, queue: u32) -> Option<(u16, u32)> {
        let taken = &mut self.taken[queue as usize];
        let index: u16 = self.memory.read_obj(GuestAddress(used(queue) + 2)).unwrap();
        if index == *taken {
            return None;
        }
        let slot = used(queue) + 4 + u64::from(*taken % SIZE) * 8;
        *taken = taken.wrapping_add(1);
        let head: u32 = self.memory.read_obj(GuestAddress(slot)).unwrap();
        let len = self.memory.read_obj(GuestAddress(slot + 4)).unwrap();
        Some((head as u16, len))
    }

    /// How often there was an interrupt since it was last asked.
    pub(super) fn interrupts(&self) -> u64 {
        self.irq.read().unwrap_or(0)
    }

    pub(super) fn needs_reset(&mut self) -> bool {
        self.read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET != 0
    }

    pub(super) fn put(&self, address: u64, bytes: &[u8]) {
        self.memory
            .write_slice(bytes, GuestAddress(address))
            .unwrap();
    }

    pub(super) fn get(&self, address: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory
            .read_slice(&mut bytes, GuestAddress(address))
            .unwrap();
        bytes
    }
}

/// A descriptor: address, length, flags, next.
pub(super) type Described = (u64, u32, u16, u16);

pub(super) fn described((address, len, flags, next): Described) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&address.to_le_bytes());
    bytes[8..12].copy_from_slice(&len.to_le_bytes());
    bytes[12..14].copy_from_slice(&flags.to_le_bytes());
    bytes[14..].copy_from_slice(&next.to_le_bytes());
    bytes
}
