// SPDX-License-Identifier: GPL-2.0

//! A queue: its place in memory, and the requests in it (virtio 1.2, 2.7).

use std::sync::atomic::Ordering;
use std::{error, fmt, io};

use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT, Reader, Writer};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::{Device, Served};

/// Bytes that a request may have. The greatest that our devices announce is half of it.
pub(super) const REQUEST_MAX: usize = 16 << 20;

/// Why a device stopped.
#[derive(Debug)]
pub enum Error {
    /// The size of a queue is not a possible one, or parts of the queue are not in the memory that
    /// the driver shares.
    Setup,
    /// What is in a ring is not possible, or points out of the memory that the driver shares.
    Ring(virtio_queue::Error),
    /// A request's descriptors do not end.
    Endless,
    /// A request has more bytes than we take.
    TooLong,
    /// A request has no room for the answer.
    NoRoom,
    /// We ourselves failed.
    Io(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup => write!(f, "queue with an impossible size or address"),
            Self::Ring(error) => write!(f, "impossible ring: {error}"),
            Self::Endless => write!(f, "request without an end"),
            Self::TooLong => write!(f, "request of more than {REQUEST_MAX} bytes"),
            Self::NoRoom => write!(f, "request without room for the answer"),
            Self::Io(error) => write!(f, "{error}"),
        }
    }
}

impl error::Error for Error {}

/// A request: the bytes that the driver gives, and the room that it gives for the answer.
///
/// Both are memory that the driver may write at any time: what matters has to be read once.
#[allow(missing_debug_implementations, reason = "neither half has one")]
pub struct Request<'a> {
    /// What the driver gives.
    pub reader: Reader<'a>,
    /// Room for the answer.
    pub writer: Writer<'a>,
}

impl<'a> Request<'a> {
    fn new(
        memory: &'a GuestMemoryMmap,
        chain: DescriptorChain<&'a GuestMemoryMmap>,
        size: u16,
    ) -> Result<Self, Error> {
        check_end(chain.clone(), size)?;
        let request = Self {
            reader: Reader::new(memory, chain.clone()).map_err(Error::Ring)?,
            writer: Writer::new(memory, chain).map_err(Error::Ring)?,
        };
        if request.bytes() > REQUEST_MAX {
            return Err(Error::TooLong);
        }
        Ok(request)
    }

    fn bytes(&self) -> usize {
        self.reader.available_bytes() + self.writer.available_bytes()
    }
}

/// Whether `chain` has a last descriptor, among at most `size`.
///
/// The iterator just ends when it cannot go on, be it for a loop, an index that is too great or
/// memory that is not there. Whether that was the end can be seen from the last one it gave.
fn check_end(chain: DescriptorChain<&GuestMemoryMmap>, size: u16) -> Result<(), Error> {
    match chain.take(usize::from(size)).last() {
        Some(last) if !last.has_next() => Ok(()),
        _ => Err(Error::Endless),
    }
}

/// What serving a queue came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Outcome {
    /// The driver wants an interrupt.
    pub(super) interrupt: bool,
    /// There is more to do, but it was enough for once.
    pub(super) more: bool,
}

/// A queue, with what the driver says of it before it is ready.
#[derive(Debug)]
pub(super) struct Virtqueue {
    max: u16,
    /// The driver's words, which count when it says that the queue is ready.
    pub(super) size: u32,
    pub(super) descriptors: u64,
    pub(super) available: u64,
    pub(super) used: u64,
    /// While it is ready.
    ring: Option<Queue>,
    /// Something was left to do.
    pub(super) more: bool,
}

impl Virtqueue {
    pub(super) fn new(max: u16) -> Self {
        Self {
            max,
            size: 0,
            descriptors: 0,
            available: 0,
            used: 0,
            ring: None,
            more: false,
        }
    }

    /// The greatest size.
    pub(super) fn max(&self) -> u16 {
        self.max
    }

    pub(super) fn is_ready(&self) -> bool {
        self.ring.is_some()
    }

    pub(super) fn start(&mut self, event_idx: bool, memory: &GuestMemoryMmap) -> Result<(), Error> {
        let size = u16::try_from(self.size).map_err(|_| Error::Setup)?;
        let mut ring = Queue::new(self.max).map_err(Error::Ring)?;

        ring.try_set_size(size)
            .and_then(|()| ring.try_set_desc_table_address(GuestAddress(self.descriptors)))
            .and_then(|()| ring.try_set_avail_ring_address(GuestAddress(self.available)))
            .and_then(|()| ring.try_set_used_ring_address(GuestAddress(self.used)))
            .map_err(|_| Error::Setup)?;
        ring.set_event_idx(event_idx);
        ring.set_ready(true);
        if !ring.is_valid(memory) {
            return Err(Error::Setup);
        }
        self.ring = Some(ring);
        self.more = false;
        Ok(())
    }

    pub(super) fn stop(&mut self) {
        self.ring = None;
        self.more = false;
    }

    /// Has `device` serve the requests that are there, this being its queue number `index`: at most
    /// as many as the queue has room for, or until they had [`REQUEST_MAX`] bytes.
    ///
    /// # Errors
    ///
    /// The queue is broken.
    pub(super) fn serve<D: Device>(
        &mut self,
        index: usize,
        device: &mut D,
        memory: &GuestMemoryMmap,
    ) -> Result<Outcome, Error> {
        let Some(ring) = &mut self.ring else {
            return Ok(Outcome {
                interrupt: false,
                more: false,
            });
        };
        let (mut used, mut later) = (false, false);
        let mut bytes = 0;

        for _ in 0..ring.size() {
            let Some(chain) = ring.iter(memory).map_err(Error::Ring)?.next() else {
                break;
            };
            let head = chain.head_index();
            let mut request = Request::new(memory, chain, ring.size())?;
            bytes += request.bytes();
            match device.serve(index, &mut request)? {
                Served::Done { written } => {
                    ring.add_used(memory, head, written).map_err(Error::Ring)?;
                    used = true;
                }
                Served::Later => {
                    ring.go_to_previous_position();
                    later = true;
                    break;
                }
            }
            if bytes >= REQUEST_MAX {
                break;
            }
        }
        let rest = ring.enable_notification(memory).map_err(Error::Ring)?;
        self.more = rest && !later;
        Ok(Outcome {
            interrupt: used && wants_interrupt(ring, memory).map_err(Error::Ring)?,
            more: self.more,
        })
    }
}

/// Whether the driver wants an interrupt for what was put into the used ring.
fn wants_interrupt(
    ring: &mut Queue,
    memory: &GuestMemoryMmap,
) -> Result<bool, virtio_queue::Error> {
    // This one orders its look at the driver's wish after our writes to the used ring; the flag,
    // which is for those who do without event indices, it does not know of.
    let wanted = ring.needs_notification(memory)?;
    if ring.event_idx_enabled() {
        return Ok(wanted);
    }
    let flags = memory
        .load(GuestAddress(ring.avail_ring()), Ordering::Relaxed)
        .map(u16::from_le)
        .map_err(virtio_queue::Error::GuestMemory)?;
    Ok(u32::from(flags) & VRING_AVAIL_F_NO_INTERRUPT == 0)
}
