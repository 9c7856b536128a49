// SPDX-License-Identifier: GPL-2.0

//! The entropy device (virtio 1.2, 5.4).

use std::fs::File;
use std::io::{self, Read};

use virtio_bindings::virtio_ids::VIRTIO_ID_RNG;

use super::{Device, Error, Request, Served};

/// Where random bytes come from.
pub const RANDOM: &str = "/dev/urandom";

const QUEUES: [u16; 1] = [64];

/// Random bytes from the host's kernel.
#[derive(Debug)]
pub struct Rng {
    source: File,
}

impl Rng {
    /// Bytes that one request gets at most. A driver that wants more asks again.
    pub const REQUEST_MAX: u32 = 4096;

    /// Opens the source of random bytes.
    ///
    /// # Errors
    ///
    /// There is no [`RANDOM`].
    pub fn new() -> io::Result<Self> {
        let source = File::open(RANDOM)?;
        Ok(Self { source })
    }
}

impl Device for Rng {
    fn id(&self) -> u32 {
        VIRTIO_ID_RNG
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

    fn serve(&mut self, _queue: usize, request: &mut Request<'_>) -> Result<Served, Error> {
        let room = request.writer.available_bytes() as u64;
        let mut random = (&self.source).take(room.min(Self::REQUEST_MAX.into()));

        io::copy(&mut random, &mut request.writer).map_err(Error::Io)?;
        Ok(Served::Done {
            written: request.writer.bytes_written() as u32,
        })
    }
}
