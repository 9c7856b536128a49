// SPDX-License-Identifier: GPL-2.0

//! The PCI transport, without what devices had before virtio 1.0 (virtio 1.2, 4.1). Interrupts are
//! messages only: a vector for the configuration, and one for each queue, if the driver wants that.

mod common;

use std::fmt;

use virtio_bindings::virtio_ids::{VIRTIO_ID_BLOCK, VIRTIO_ID_CONSOLE};
use vm_memory::GuestMemoryMmap;

use self::common::{Selected, Vectors};
use super::core::{Core, Tell};
use super::{Device, Error};
use crate::bus::{Mmio, Place};
use crate::layout;
use crate::pci::config::{Config, Identity};
use crate::pci::msix::{Message, Msix};
use crate::pci::Function;

const VENDOR: u16 = 0x1af4;
/// Added to the device ID.
const DEVICE: u16 = 0x1040;
const REVISION: u8 = 1;

/// Bytes of BAR 0, and what is where in it, each in a page of its own.
pub const SIZE: u64 = 0x8000;
const COMMON: u64 = 0x0000;
const ISR: u64 = 0x1000;
const CONFIG: u64 = 0x2000;
const NOTIFY: u64 = 0x3000;
const TABLE: u64 = 0x4000;
const PENDING: u64 = 0x5000;
const PART_SIZE: u64 = 0x1000;

/// The capability in which virtio says what is where, and which part it is about.
const CAPABILITY: u8 = 0x09;
const COMMON_CFG: u8 = 1;
const NOTIFY_CFG: u8 = 2;
const ISR_CFG: u8 = 3;
const DEVICE_CFG: u8 = 4;
const PCI_CFG: u8 = 5;
/// Bytes of it; some have a word more.
const CAPABILITY_SIZE: u8 = 16;

/// Bytes of the common configuration.
const COMMON_SIZE: u32 = 56;
/// Bytes from the notification register of one queue to the next one's.
const NOTIFY_STRIDE: u32 = 4;

/// Why the device tells the driver, for those who have no messages.
const ISR_QUEUE: u8 = 1 << 0;
const ISR_CONFIG: u8 = 1 << 1;

/// What a device needs of the machine.
pub struct Wires {
    /// Sends a message to the interrupt controller.
    pub send: Box<dyn FnMut(Message) + Send>,
    /// Has [`Function::go_on`] called later, by another thread: there is more to do than one access
    /// may take.
    pub later: Box<dyn FnMut() + Send>,
}

impl fmt::Debug for Wires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wires").finish_non_exhaustive()
    }
}

/// A device as a function of PCI.
#[derive(Debug)]
pub struct Transport<D> {
    pub(super) core: Core<D>,
    wires: Wires,
    place: Place,
    config: Config,
    msix: Msix,
    /// Where the capability is that reads and writes BAR 0 by way of configuration space.
    window: usize,
    selected: Selected,
    vectors: Vectors,
    isr: u8,
    /// Somebody will call [`Function::go_on`].
    waiting: bool,
}

impl<D: Device> Transport<D> {
    /// Makes a function of `device`. `memory` is what the driver shares with it, at the addresses
    /// that the driver gives; the registers are at `place`, which the guest moves.
    ///
    /// # Errors
    ///
    /// Its capabilities have no room, which depends on nothing but this source.
    pub fn new(device: D, memory: GuestMemoryMmap, wires: Wires, place: Place) -> Option<Self> {
        let queues = device.queues().len();
        // CAST: Device IDs, and devices' queues, are few.
        let (id, count) = (device.id() as u16, queues as u32);
        let mut config = Config::new(
            Identity {
                vendor: VENDOR,
                device: DEVICE + id,
                revision: REVISION,
                class: class(device.id()),
            },
            SIZE as u32,
        );
        add_part(&mut config, COMMON_CFG, COMMON, COMMON_SIZE, None)?;
        let stride = Some(NOTIFY_STRIDE);
        add_part(
            &mut config,
            NOTIFY_CFG,
            NOTIFY,
            NOTIFY_STRIDE * count,
            stride,
        )?;
        add_part(&mut config, ISR_CFG, ISR, 1, None)?;
        if !device.config().is_empty() {
            let size = device.config().len() as u32;
            add_part(&mut config, DEVICE_CFG, CONFIG, size, None)?;
        }
        let window = add_part(&mut config, PCI_CFG, 0, 0, Some(0))?;
        config.allow(window + 4, &[0xff]);
        config.allow(window + 8, &[0xff; 8]);
        let msix = Msix::new(&mut config, queues as u16 + 1, TABLE as u32, PENDING as u32)?;
        let mut transport = Self {
            core: Core::new(device, memory),
            wires,
            place,
            config,
            msix,
            window,
            selected: Selected::default(),
            vectors: Vectors::none(queues),
            isr: 0,
            waiting: false,
        };
        transport.reset();
        Some(transport)
    }

    /// Why the device wants a reset, if it does.
    pub fn fault(&self) -> Option<&Error> {
        self.core.fault()
    }

    /// Has the device look at queue number `index`.
    pub(super) fn serve(&mut self, index: usize) {
        let tell = self.core.serve(index);
        self.tell(index, tell);
    }

    fn tell(&mut self, index: usize, tell: Tell) {
        if tell.used {
            self.isr |= ISR_QUEUE;
            self.signal(self.vectors.of_queue(index));
        }
        if tell.config {
            self.isr |= ISR_CONFIG;
            self.signal(self.vectors.config);
        }
        if tell.more && !self.waiting {
            self.waiting = true;
            (self.wires.later)();
        }
    }

    fn signal(&mut self, vector: u16) {
        if let Some(message) = self.msix.trigger(&self.config, vector) {
            (self.wires.send)(message);
        }
    }

    /// Something was unmasked, perhaps.
    fn send_due(&mut self) {
        for message in self.msix.due(&self.config) {
            (self.wires.send)(message);
        }
    }

    /// What the window in configuration space is on: where in BAR 0, and how many bytes. Its last word
    /// is where the bytes go through.
    fn window(&self) -> Option<(u64, usize)> {
        let [bar] = self.config.get(self.window + 4);
        let offset = u32::from_le_bytes(self.config.get(self.window + 8));
        let length = u32::from_le_bytes(self.config.get(self.window + 12));
        let possible = bar == 0 && matches!(length, 1 | 2 | 4) && offset % length == 0;
        possible.then_some((offset.into(), length as usize))
    }
}

impl<D: Device> Mmio for Transport<D> {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        let (part, at) = (offset - offset % PART_SIZE, offset % PART_SIZE);
        match part {
            COMMON => {
                let value = self.read_common(at, data.len()).to_le_bytes();
                for (to, from) in data.iter_mut().zip(value) {
                    *to = from;
                }
            }
            ISR => {
                if let (0, Some(first)) = (at, data.first_mut()) {
                    *first = std::mem::take(&mut self.isr);
                }
            }
            CONFIG => self.core.read_config(at, data),
            TABLE => self.msix.read_table(at, data),
            PENDING => self.msix.read_pending(at, data),
            _ => {}
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let (part, at) = (offset - offset % PART_SIZE, offset % PART_SIZE);
        match part {
            COMMON => {
                let mut value = [0; 4];
                for (to, from) in value.iter_mut().zip(data) {
                    *to = *from;
                }
                self.write_common(at, data.len(), u32::from_le_bytes(value));
            }
            // Where it is written says which queue; what is written says it again.
            NOTIFY if at % u64::from(NOTIFY_STRIDE) == 0 => {
                self.serve((at / u64::from(NOTIFY_STRIDE)) as usize);
            }
            TABLE => {
                self.msix.write_table(at, data);
                self.send_due();
            }
            _ => {}
        }
    }
}

impl<D: Device> Function for Transport<D> {
    fn read_config(&mut self, at: u64, data: &mut [u8]) {
        self.config.read(at, data);
        if at == self.window as u64 + 16 {
            if let Some((offset, length)) = self.window() {
                let length = length.min(data.len());
                self.read(offset, &mut data[..length]);
            }
        }
    }

    fn write_config(&mut self, at: u64, data: &[u8]) {
        self.config.write(at, data);
        if at == self.window as u64 + 16 {
            if let Some((offset, length)) = self.window() {
                self.write(offset, &data[..length.min(data.len())]);
            }
        }
        // Only what the host bridge forwards.
        let inside = |base: &u64| {
            *base >= layout::PCI_WINDOW
                && *base - layout::PCI_WINDOW <= layout::PCI_WINDOW_SIZE - SIZE
        };
        self.place.move_to(self.config.bar().filter(inside));
        self.send_due();
    }

    fn go_on(&mut self) {
        self.waiting = false;
        for index in 0..self.core.queues().len() {
            if self.core.queues()[index].more {
                self.serve(index);
            }
        }
    }
}

/// Adds a capability about a part of BAR 0; `more` is the word that some have besides.
fn add_part(config: &mut Config, kind: u8, at: u64, size: u32, more: Option<u32>) -> Option<usize> {
    let mut body = vec![CAPABILITY_SIZE, kind, 0, 0, 0, 0];
    // CAST: It is in BAR 0, which is smaller.
    body.extend((at as u32).to_le_bytes());
    body.extend(size.to_le_bytes());
    if let Some(more) = more {
        body[0] += 4;
        body.extend(more.to_le_bytes());
    }
    config.add_capability(CAPABILITY, &body)
}

/// What PCI calls such a device.
fn class(id: u32) -> [u8; 3] {
    match id {
        // Mass storage, communication, others.
        VIRTIO_ID_BLOCK => [0x00, 0x80, 0x01],
        VIRTIO_ID_CONSOLE => [0x00, 0x80, 0x07],
        _ => [0x00, 0x00, 0xff],
    }
}
