// SPDX-License-Identifier: GPL-2.0

//! A function on PCI and its driver, which does everything by configuration space, BAR 0 and memory.

use std::sync::{Arc, Mutex};

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::driver::{available, described, descriptors, memory, used, BASE, SIZE};
use crate::bus::{Mmio, Place};
use crate::pci::msix::Message;
use crate::pci::Function;
use crate::virtio::pci::{Transport, Wires};
use crate::virtio::Device;

// What virtio_pci.h of a driver has.
pub(super) const FEATURE_SELECT: u64 = 0x00;
pub(super) const FEATURE: u64 = 0x04;
pub(super) const DRIVER_FEATURE_SELECT: u64 = 0x08;
pub(super) const DRIVER_FEATURE: u64 = 0x0c;
pub(super) const CONFIG_VECTOR: u64 = 0x10;
pub(super) const QUEUES: u64 = 0x12;
pub(super) const STATUS: u64 = 0x14;
pub(super) const QUEUE_SELECT: u64 = 0x16;
pub(super) const QUEUE_SIZE: u64 = 0x18;
pub(super) const QUEUE_VECTOR: u64 = 0x1a;
pub(super) const QUEUE_ENABLE: u64 = 0x1c;
pub(super) const QUEUE_NOTIFY_OFF: u64 = 0x1e;
pub(super) const QUEUE_DESC: u64 = 0x20;
pub(super) const QUEUE_AVAIL: u64 = 0x28;
pub(super) const QUEUE_USED: u64 = 0x30;
pub(super) const ISR: u64 = 0x1000;
pub(super) const NOTIFY: u64 = 0x3000;
pub(super) const TABLE: u64 = 0x4000;

/// A function, and what it did to the machine.
pub(super) struct Slot<D> {
    pub(super) function: Transport<D>,
    pub(super) memory: GuestMemoryMmap,
    pub(super) place: Place,
    messages: Arc<Mutex<Vec<Message>>>,
    pub(super) later: Arc<Mutex<u32>>,
}

impl<D: Device> Slot<D> {
    pub(super) fn new(device: D) -> Self {
        let (memory, place) = (memory(), Place::nowhere());
        let messages = Arc::<Mutex<Vec<Message>>>::default();
        let later = Arc::<Mutex<u32>>::default();
        let (sent, told) = (messages.clone(), later.clone());
        let wires = Wires {
            send: Box::new(move |message| sent.lock().unwrap().push(message)),
            later: Box::new(move || *told.lock().unwrap() += 1),
        };
        let function = Transport::new(device, memory.clone(), wires, place.clone()).unwrap();
        Self {
            function,
            memory,
            place,
            messages,
            later,
        }
    }

    pub(super) fn read<const N: usize>(&mut self, at: u64) -> u64 {
        let mut data = [0xff; 8];
        self.function.read(at, &mut data[..N]);
        data[N..].fill(0);
        u64::from_le_bytes(data)
    }

    pub(super) fn write<const N: usize>(&mut self, at: u64, value: u64) {
        self.function.write(at, &value.to_le_bytes()[..N]);
    }

    pub(super) fn config<const N: usize>(&mut self, at: u64) -> u64 {
        let mut data = [0xff; 8];
        self.function.read_config(at, &mut data[..N]);
        data[N..].fill(0);
        u64::from_le_bytes(data)
    }

    pub(super) fn write_config<const N: usize>(&mut self, at: u64, value: u64) {
        self.function.write_config(at, &value.to_le_bytes()[..N]);
    }

    /// The capabilities: where, and which ID.
    pub(super) fn capabilities(&mut self) -> Vec<(u64, u8)> {
        let (mut all, mut at) = (Vec::new(), self.config::<1>(0x34));
        while at != 0 {
            all.push((at, self.config::<1>(at) as u8));
            at = self.config::<1>(at + 1);
        }
        all
    }

    /// Where the capability about this part is.
    pub(super) fn part(&mut self, kind: u64) -> Option<u64> {
        let all = self.capabilities();
        let of_virtio = all.iter().filter(|(_, id)| *id == 9);
        let mut places = of_virtio.map(|(at, _)| *at);
        places.find(|at| self.config::<1>(at + 3) == kind)
    }

    /// Turns MSI-X on, and has a message of its own for each vector.
    pub(super) fn messages_on(&mut self) {
        let (at, _) = *self
            .capabilities()
            .iter()
            .find(|(_, id)| *id == 0x11)
            .unwrap();
        self.write_config::<2>(at + 2, 0x8000);
        for vector in 0..3 {
            self.write::<4>(TABLE + vector * 16, 0x0808_0040);
            self.write::<4>(TABLE + vector * 16 + 4, 0);
            self.write::<4>(TABLE + vector * 16 + 8, vector);
            self.write::<4>(TABLE + vector * 16 + 12, 0);
        }
    }

    /// The data of the messages since it was last asked.
    pub(super) fn sent(&self) -> Vec<u32> {
        let sent = std::mem::take(&mut *self.messages.lock().unwrap());
        assert!(sent.iter().all(|message| message.address == 0x0808_0040));
        sent.iter().map(|message| message.data).collect()
    }

    /// Sets the device up: vector 0 is the configuration's, each queue has the next one.
    pub(super) fn start(&mut self, features: u64) {
        self.write::<1>(STATUS, 0);
        assert_eq!(self.read::<1>(STATUS), 0);
        self.memory
            .write_slice(&[0; 0x1_0000], GuestAddress(BASE))
            .unwrap();
        self.write::<1>(STATUS, 3);
        for (select, value) in [(0, features & 0xffff_ffff), (1, features >> 32)] {
            self.write::<4>(DRIVER_FEATURE_SELECT, select);
            self.write::<4>(DRIVER_FEATURE, value);
        }
        self.write::<1>(STATUS, 0xb);
        self.write::<2>(CONFIG_VECTOR, 0);
        for queue in 0..self.read::<2>(QUEUES) {
            self.write::<2>(QUEUE_SELECT, queue);
            self.write::<2>(QUEUE_SIZE, SIZE.into());
            self.write::<2>(QUEUE_VECTOR, queue + 1);
            let number = queue as u32;
            for (register, address) in [
                (QUEUE_DESC, descriptors(number)),
                (QUEUE_AVAIL, available(number)),
                (QUEUE_USED, used(number)),
            ] {
                self.write::<4>(register, address & 0xffff_ffff);
                self.write::<4>(register + 4, address >> 32);
            }
            self.write::<2>(QUEUE_ENABLE, 1);
        }
        self.write::<1>(STATUS, 0xf);
        assert_eq!(self.read::<1>(STATUS), 0xf);
    }

    /// Descriptor 0 is `part`; the ring offers it `times` times, of which the device is told.
    pub(super) fn request(&mut self, queue: u32, part: (u64, u32, u16, u16), times: u16) {
        let put = |bytes: &[u8], at| self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
        put(&described(part), descriptors(queue));
        put(&times.to_le_bytes(), available(queue) + 2);
        self.write::<4>(NOTIFY + u64::from(queue) * 4, queue.into());
    }

    /// How many requests the device is done with.
    pub(super) fn done(&self, queue: u32) -> u16 {
        self.memory.read_obj(GuestAddress(used(queue) + 2)).unwrap()
    }
}
