// SPDX-License-Identifier: GPL-2.0

//! What all transports have in common: the state of a device as its driver sets it up, and its queues.

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
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vm_memory::GuestMemoryMmap;

use super::queue::Virtqueue;
use super::{Device, Error};

/// What the driver may say of itself.
const DRIVER_STATUS: u32 = VIRTIO_CONFIG_S_ACKNOWLEDGE
    | VIRTIO_CONFIG_S_DRIVER
    | VIRTIO_CONFIG_S_FEATURES_OK
    | VIRTIO_CONFIG_S_DRIVER_OK
    | VIRTIO_CONFIG_S_FAILED;

/// What the transport is to tell the driver, and has to do itself.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Tell {
    /// There is something in the used ring of the queue that was served, and the driver wants to know.
    pub(super) used: bool,
    /// The device stopped.
    pub(super) config: bool,
    /// There is more to do in that queue, of which the driver will not tell again: it has to be served
    /// once more, later.
    pub(super) more: bool,
}

/// A device with its queues.
#[derive(Debug)]
pub(super) struct Core<D> {
    pub(super) device: D,
    memory: GuestMemoryMmap,
    queues: Vec<Virtqueue>,
    state: State,
}

/// What the driver set up, and what happened since.
#[derive(Debug, Default)]
struct State {
    status: u32,
    driver_features: u64,
    fault: Option<Error>,
}

impl<D: Device> Core<D> {
    /// `memory` is what the driver shares with the device, at the addresses that the driver gives.
    pub(super) fn new(device: D, memory: GuestMemoryMmap) -> Self {
        Self {
            queues: new_queues(&device),
            device,
            memory,
            state: State::default(),
        }
    }

    /// Why the device wants a reset, if it does.
    pub(super) fn fault(&self) -> Option<&Error> {
        self.state.fault.as_ref()
    }

    /// The queues, of which only those can be changed that are not ready.
    pub(super) fn queues(&self) -> &[Virtqueue] {
        &self.queues
    }

    /// A queue for its place to be set. That stays as it is while it is ready: there is none then.
    pub(super) fn unready_queue(&mut self, index: usize) -> Option<&mut Virtqueue> {
        self.queues.get_mut(index).filter(|queue| !queue.is_ready())
    }

    /// Has the device look at queue number `index`.
    pub(super) fn serve(&mut self, index: usize) -> Tell {
        if self.state.status & VIRTIO_CONFIG_S_DRIVER_OK == 0 || self.state.fault.is_some() {
            return Tell::default();
        }
        let Some(queue) = self.queues.get_mut(index) else {
            return Tell::default();
        };
        match queue.serve(index, &mut self.device, &self.memory) {
            Ok(outcome) => Tell {
                used: outcome.interrupt,
                more: outcome.more,
                config: false,
            },
            Err(error) => self.stop(error),
        }
    }

    /// The driver broke the rules: nothing more happens until it resets the device.
    fn stop(&mut self, error: Error) -> Tell {
        self.state.fault = Some(error);
        self.state.status |= VIRTIO_CONFIG_S_NEEDS_RESET;
        Tell {
            config: self.state.status & VIRTIO_CONFIG_S_DRIVER_OK != 0,
            ..Tell::default()
        }
    }

    fn features(&self) -> u64 {
        self.device.features()
            | (1 << VIRTIO_F_VERSION_1)
            | (1 << VIRTIO_F_ACCESS_PLATFORM)
            | (1 << VIRTIO_RING_F_EVENT_IDX)
    }

    /// 32 bits of what the device can do.
    pub(super) fn device_features(&self, select: u32) -> u32 {
        shift(select).map_or(0, |shift| (self.features() >> shift) as u32)
    }

    /// 32 bits of what the driver wants of it.
    pub(super) fn driver_features(&self, select: u32) -> u32 {
        shift(select).map_or(0, |shift| (self.state.driver_features >> shift) as u32)
    }

    /// The driver says what it wants, as long as it has not said that this is all.
    pub(super) fn set_driver_features(&mut self, select: u32, value: u32) {
        let Some(shift) = shift(select) else {
            return;
        };
        if self.state.status & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
            return;
        }
        let kept = self.state.driver_features & !(u64::from(u32::MAX) << shift);
        self.state.driver_features = kept | (u64::from(value) << shift);
    }

    /// The device status.
    pub(super) fn status(&self) -> u32 {
        self.state.status
    }

    /// The driver writes the device status. 0 is a reset, of which the transport has a part as well:
    /// true if it was one.
    pub(super) fn set_status(&mut self, value: u32) -> bool {
        if value == 0 {
            self.queues = new_queues(&self.device);
            self.state = State::default();
            return true;
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
        false
    }

    /// The driver says that a queue is ready, or is not.
    pub(super) fn set_queue_ready(&mut self, index: usize, ready: bool) -> Tell {
        let event_idx = self.state.driver_features & (1 << VIRTIO_RING_F_EVENT_IDX) != 0;
        let negotiated = self.state.status & VIRTIO_CONFIG_S_FEATURES_OK != 0;
        let Some(queue) = self.queues.get_mut(index) else {
            return Tell::default();
        };
        if !ready {
            queue.stop();
        } else if negotiated && !queue.is_ready() {
            if let Err(error) = queue.start(event_idx, &self.memory) {
                return self.stop(error);
            }
        }
        Tell::default()
    }

    /// The driver reads the device's configuration.
    pub(super) fn read_config(&self, at: u64, data: &mut [u8]) {
        data.fill(0);
        let config = usize::try_from(at).map_or(None, |at| self.device.config().get(at..));
        for (to, from) in data.iter_mut().zip(config.unwrap_or_default()) {
            *to = *from;
        }
    }
}

/// Where the 32 feature bits are that `select` means.
fn shift(select: u32) -> Option<u32> {
    match select {
        0 => Some(0),
        1 => Some(32),
        _ => None,
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

/// Sets the low half of an address.
pub(super) fn set_low(address: &mut u64, value: u32) {
    *address = (*address & !u64::from(u32::MAX)) | u64::from(value);
}

/// Sets the high half of an address.
pub(super) fn set_high(address: &mut u64, value: u32) {
    *address = (*address & u64::from(u32::MAX)) | (u64::from(value) << 32);
}
