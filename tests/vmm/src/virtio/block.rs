// SPDX-License-Identifier: GPL-2.0

//! The block device, on a file (virtio 1.2, 5.2).

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::Path;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_RO,
    VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_SIZE_MAX,
    VIRTIO_BLK_ID_BYTES,
    VIRTIO_BLK_S_IOERR,
    VIRTIO_BLK_S_OK,
    VIRTIO_BLK_S_UNSUPP,
    VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID,
    VIRTIO_BLK_T_IN,
    VIRTIO_BLK_T_OUT, //
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;

use super::{Device, Error, Request, Served};

/// Bytes of a sector, the unit of all positions.
pub const SECTOR: u64 = 512;

const QUEUES: [u16; 1] = [128];
/// What a request has besides its header and its status: this many segments of this many bytes.
const SEG_MAX: u32 = 126;
const SIZE_MAX: u32 = 64 << 10;

/// Bytes that go through our own memory at once.
const CHUNK: usize = 64 << 10;

const ID_BYTES: usize = VIRTIO_BLK_ID_BYTES as usize;

/// A disk.
#[derive(Debug)]
pub struct Block {
    file: File,
    read_only: bool,
    sectors: u64,
    id: [u8; ID_BYTES],
    config: [u8; 16],
    chunk: Vec<u8>,
}

/// A request that got no further.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Failure {
    Io,
    Unsupported,
}

impl From<io::Error> for Failure {
    fn from(_: io::Error) -> Self {
        Self::Io
    }
}

impl Block {
    /// A disk with the contents of the file (or block device) at `path`, as great as that is now;
    /// a last sector that is not whole is not there. Its ID is the file's name.
    ///
    /// # Errors
    ///
    /// The file cannot be opened, or is neither.
    pub fn open(path: impl AsRef<Path>, read_only: bool) -> io::Result<Self> {
        let path = path.as_ref();
        let mut file = OpenOptions::new().read(true).write(!read_only).open(path)?;
        let kind = file.metadata()?.file_type();
        if !kind.is_file() && !kind.is_block_device() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "neither a file nor a block device",
            ));
        }
        let sectors = file.seek(SeekFrom::End(0))? / SECTOR;
        Ok(Self {
            file,
            read_only,
            sectors,
            id: id(path),
            config: config(sectors),
            chunk: vec![0; CHUNK],
        })
    }

    fn execute(&mut self, request: &mut Request<'_>) -> Result<(), Failure> {
        let mut word = [0; 4];
        let mut sector = [0; 8];
        request.reader.read_exact(&mut word)?;
        let kind = u32::from_le_bytes(word);
        request.reader.read_exact(&mut word)?;
        request.reader.read_exact(&mut sector)?;
        let sector = u64::from_le_bytes(sector);

        match kind {
            VIRTIO_BLK_T_IN => self.read(sector, request),
            VIRTIO_BLK_T_OUT => self.write(sector, request),
            VIRTIO_BLK_T_FLUSH => Ok(self.file.sync_data()?),
            VIRTIO_BLK_T_GET_ID => {
                let room = request.writer.available_bytes().min(ID_BYTES);
                Ok(request.writer.write_all(&self.id[..room])?)
            }
            _ => Err(Failure::Unsupported),
        }
    }

    fn read(&mut self, sector: u64, request: &mut Request<'_>) -> Result<(), Failure> {
        let mut left = request.writer.available_bytes();
        let mut position = self.position(sector, left)?;

        while left > 0 {
            let chunk = &mut self.chunk[..left.min(CHUNK)];
            self.file.read_exact_at(chunk, position)?;
            request.writer.write_all(chunk)?;
            left -= chunk.len();
            position += chunk.len() as u64;
        }
        Ok(())
    }

    fn write(&mut self, sector: u64, request: &mut Request<'_>) -> Result<(), Failure> {
        let mut left = request.reader.available_bytes();
        let mut position = self.position(sector, left)?;

        if self.read_only {
            return Err(Failure::Io);
        }
        while left > 0 {
            let chunk = &mut self.chunk[..left.min(CHUNK)];
            request.reader.read_exact(chunk)?;
            self.file.write_all_at(chunk, position)?;
            left -= chunk.len();
            position += chunk.len() as u64;
        }
        Ok(())
    }

    /// Where `bytes` from `sector` on are in the file, if they are there.
    fn position(&self, sector: u64, bytes: usize) -> Result<u64, Failure> {
        let bytes = bytes as u64;
        let end = sector.checked_add(bytes / SECTOR).ok_or(Failure::Io)?;

        if bytes % SECTOR != 0 || end > self.sectors {
            return Err(Failure::Io);
        }
        Ok(sector * SECTOR)
    }
}

impl Device for Block {
    fn id(&self) -> u32 {
        VIRTIO_ID_BLOCK
    }

    fn features(&self) -> u64 {
        (1 << VIRTIO_BLK_F_SIZE_MAX)
            | (1 << VIRTIO_BLK_F_SEG_MAX)
            | (1 << VIRTIO_BLK_F_FLUSH)
            | (u64::from(self.read_only) << VIRTIO_BLK_F_RO)
    }

    fn queues(&self) -> &[u16] {
        &QUEUES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn serve(&mut self, _queue: usize, request: &mut Request<'_>) -> Result<Served, Error> {
        // The last byte is for the status.
        let room = request.writer.available_bytes();
        let data = room.checked_sub(1).ok_or(Error::NoRoom)?;
        let mut last = request.writer.split_at(data).map_err(Error::Ring)?;

        let status = match self.execute(request) {
            Ok(()) => VIRTIO_BLK_S_OK,
            Err(Failure::Io) => VIRTIO_BLK_S_IOERR,
            Err(Failure::Unsupported) => VIRTIO_BLK_S_UNSUPP,
        };
        last.write_all(&[status as u8]).map_err(Error::Io)?;
        // Only what has no gap in it may count as written.
        let written = match request.writer.bytes_written() {
            written if written == data => room,
            written => written,
        };
        Ok(Served::Done {
            written: written as u32,
        })
    }
}

/// The start of `struct virtio_blk_config`: what comes later has features of its own.
fn config(sectors: u64) -> [u8; 16] {
    let mut config = [0; 16];
    config[..8].copy_from_slice(&sectors.to_le_bytes());
    config[8..12].copy_from_slice(&SIZE_MAX.to_le_bytes());
    config[12..].copy_from_slice(&SEG_MAX.to_le_bytes());
    config
}

/// What of the name of the file at `path` can be an ID: ASCII, and filled up with zeros.
fn id(path: &Path) -> [u8; ID_BYTES] {
    let mut id = [0; ID_BYTES];
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    let possible = name.iter().filter(|byte| byte.is_ascii_graphic());

    for (to, from) in id.iter_mut().zip(possible) {
        *to = *from;
    }
    id
}
