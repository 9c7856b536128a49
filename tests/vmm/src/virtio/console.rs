// SPDX-License-Identifier: GPL-2.0

//! The console device, with one port (virtio 1.2, 5.3).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Read, Write};

use virtio_bindings::virtio_ids::VIRTIO_ID_CONSOLE;

use super::{mmio, pci, Device, Error, Request, Served};
use crate::bus::Mmio;

/// The queue for what is typed; the other one is for what is shown.
const RECEIVE: usize = 0;
const QUEUES: [u16; 2] = [64, 64];

/// A console.
pub struct Console {
    output: Box<dyn Write + Send>,
    input: VecDeque<u8>,
}

impl Console {
    /// Bytes of input that wait for the driver at most.
    pub const INPUT_MAX: usize = 64 << 10;

    /// A console that shows what the guest writes on `output`. What `output` does not take is
    /// lost: the guest is not stopped for it.
    pub fn new(output: Box<dyn Write + Send>) -> Self {
        Self {
            output,
            input: VecDeque::new(),
        }
    }

    /// Keeps what is typed until the driver asks for it, as far as there is room.
    fn keep(&mut self, bytes: &[u8]) -> usize {
        let room = Self::INPUT_MAX.saturating_sub(self.input.len());
        let taken = bytes.len().min(room);
        self.input.extend(&bytes[..taken]);
        taken
    }

    /// A request for input gets what there is, which is at least one byte.
    fn receive(&mut self, request: &mut Request<'_>) -> Result<Served, Error> {
        if self.input.is_empty() {
            return Ok(Served::Later);
        }
        let room = request.writer.available_bytes() as u64;
        let mut input = (&mut self.input).take(room);

        io::copy(&mut input, &mut request.writer).map_err(Error::Io)?;
        Ok(Served::Done {
            written: request.writer.bytes_written() as u32,
        })
    }

    fn transmit(&mut self, request: &mut Request<'_>) -> Served {
        let shown = io::copy(&mut request.reader, &mut self.output);
        let _ = shown.and_then(|_| self.output.flush());
        Served::Done { written: 0 }
    }
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console")
            .field("input", &self.input.len())
            .finish_non_exhaustive()
    }
}

impl Device for Console {
    fn id(&self) -> u32 {
        VIRTIO_ID_CONSOLE
    }

    fn features(&self) -> u64 {
        0
    }

    fn queues(&self) -> &[u16] {
        &QUEUES
    }

    fn config(&self) -> &[u8] {
        &[]
    }

    fn serve(&mut self, queue: usize, request: &mut Request<'_>) -> Result<Served, Error> {
        if queue == RECEIVE {
            self.receive(request)
        } else {
            Ok(self.transmit(request))
        }
    }
}

/// A console on some transport.
pub trait Typed: Mmio {
    /// Gives the guest `bytes` as input, now or, when it is not ready for them, later; what is
    /// given before its driver is there waits for it, over the driver's reset as well. Returns how
    /// many were taken: when too many wait, the others have to be given again, later.
    fn input(&mut self, bytes: &[u8]) -> usize;
}

impl Typed for mmio::Transport<Console> {
    fn input(&mut self, bytes: &[u8]) -> usize {
        let taken = self.core.device.keep(bytes);
        self.serve(RECEIVE);
        taken
    }
}

impl Typed for pci::Transport<Console> {
    fn input(&mut self, bytes: &[u8]) -> usize {
        let taken = self.core.device.keep(bytes);
        self.serve(RECEIVE);
        taken
    }
}
