// SPDX-License-Identifier: GPL-2.0

//! The disk.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use virtio_bindings::virtio_blk::*;
use virtio_bindings::virtio_mmio::{VIRTIO_MMIO_CONFIG, VIRTIO_MMIO_QUEUE_NUM_MAX};
use vmm_sys_util::tempfile::TempFile;

use super::driver::{
    Driver,
    Part,
    DATA,
    END, //
};
use crate::bus::Mmio;
use crate::virtio::block::Block;
use crate::virtio::queue::REQUEST_MAX;
use crate::virtio::Error;

/// Where in memory a request's header, its data and its status are.
const HEADER: u64 = DATA;
const BODY: u64 = DATA + 0x1000;
const STATUS: u64 = DATA + 0x800;

/// What the status is before the device writes it.
const NONE: u32 = 0xaa;

/// A file of four sectors and a bit, with a number per sector.
fn file() -> TempFile {
    let file = TempFile::new().unwrap();
    let contents: Vec<u8> = (0..4 * 512 + 100).map(|at| (at / 512 + 1) as u8).collect();
    fs::write(file.as_path(), contents).unwrap();
    file
}

fn disk(file: &TempFile) -> Driver<Block> {
    Driver::started(Block::open(file.as_path(), false).unwrap())
}

fn put_header(driver: &Driver<Block>, kind: u32, sector: u64) {
    driver.put(HEADER, &kind.to_le_bytes());
    driver.put(HEADER + 4, &[0; 4]);
    driver.put(HEADER + 8, &sector.to_le_bytes());
    driver.put(STATUS, &[NONE as u8]);
}

/// Does a request with `data`, and returns its status and how much was written.
fn request(driver: &mut Driver<Block>, kind: u32, sector: u64, data: &[Part]) -> (u32, u32) {
    put_header(driver, kind, sector);
    let mut parts = vec![Part::Give(HEADER, 16)];
    parts.extend(data);
    parts.push(Part::Take(STATUS, 1));
    let head = driver.request(0, &parts);
    let (done, written) = driver.take(0).unwrap();
    assert_eq!(done, head);
    (driver.get(STATUS, 1)[0].into(), written)
}

#[test]
fn configuration_has_whole_sectors_and_limits_that_we_keep() {
    let mut driver = disk(&file());
    let mut capacity = [0; 8];

    driver
        .transport
        .read(VIRTIO_MMIO_CONFIG.into(), &mut capacity);
    assert_eq!(u64::from_le_bytes(capacity), 4);
    let bytes = driver.read(VIRTIO_MMIO_CONFIG + 8);
    let segments = driver.read(VIRTIO_MMIO_CONFIG + 12);
    // Linux takes no less than a page of a segment.
    assert!(bytes >= 64 << 10 && segments >= 64);
    let request = u64::from(bytes) * u64::from(segments) + 16 + 1;
    assert!(request <= REQUEST_MAX as u64);
    // Header and status have descriptors of their own.
    let descriptors = driver.read(VIRTIO_MMIO_QUEUE_NUM_MAX);
    assert!(segments + 2 <= descriptors);
    // There is no more.
    assert_eq!(driver.read(VIRTIO_MMIO_CONFIG + 16), 0);
}

#[test]
fn reads_over_several_descriptors() {
    let mut driver = disk(&file());

    let parts = [Part::Take(BODY, 100), Part::Take(BODY + 0x800, 924)];
    let done = request(&mut driver, VIRTIO_BLK_T_IN, 1, &parts);
    assert_eq!(done, (VIRTIO_BLK_S_OK, 1025));
    assert_eq!(driver.get(BODY, 101), [&[2; 100][..], &[0]].concat());
    let rest = [&[2; 412][..], &[3; 512], &[0]].concat();
    assert_eq!(driver.get(BODY + 0x800, 925), rest);
}

#[test]
fn writes_over_several_descriptors() {
    let file = file();
    let mut driver = disk(&file);

    driver.put(BODY, &[7; 512]);
    driver.put(BODY + 0x800, &[8; 512]);
    let parts = [
        Part::Give(BODY, 512),
        Part::Give(BODY + 0x800, 500),
        Part::Give(BODY + 0x800, 12),
    ];
    let done = request(&mut driver, VIRTIO_BLK_T_OUT, 2, &parts);
    assert_eq!(done, (VIRTIO_BLK_S_OK, 1));

    let contents = fs::read(file.as_path()).unwrap();
    assert_eq!(contents[..1024], [[1; 512], [2; 512]].concat());
    assert_eq!(contents[1024..2048], [[7; 512], [8; 512]].concat());
    assert_eq!(contents[2048..], [5; 100]);
}

#[test]
fn a_request_greater_than_our_own_buffer_is_whole() {
    let file = TempFile::new().unwrap();
    let contents: Vec<u8> = (0..200 << 10)
        .map(|at: u32| (at / 512 + at) as u8)
        .collect();
    fs::write(file.as_path(), &contents).unwrap();
    let mut driver = disk(&file);

    let whole = [Part::Take(BODY, 200 << 10)];
    let done = request(&mut driver, VIRTIO_BLK_T_IN, 0, &whole);
    assert_eq!(done, (VIRTIO_BLK_S_OK, (200 << 10) + 1));
    assert_eq!(driver.get(BODY, 200 << 10), contents);

    let back: Vec<u8> = contents.iter().map(|byte| !byte).collect();
    driver.put(BODY, &back);
    let whole = [Part::Give(BODY, 200 << 10)];
    let done = request(&mut driver, VIRTIO_BLK_T_OUT, 0, &whole);
    assert_eq!(done, (VIRTIO_BLK_S_OK, 1));
    assert_eq!(fs::read(file.as_path()).unwrap(), back);
}

#[test]
fn header_and_status_may_be_anywhere_in_the_descriptors() {
    let mut driver = disk(&file());

    put_header(&driver, VIRTIO_BLK_T_IN, 3);
    let parts = [
        Part::Give(HEADER, 1),
        Part::Give(HEADER + 1, 15),
        Part::Take(BODY, 513),
    ];
    let head = driver.request(0, &parts);
    assert_eq!(driver.take(0), Some((head, 513)));
    let answer = [&[4; 512][..], &[VIRTIO_BLK_S_OK as u8]].concat();
    assert_eq!(driver.get(BODY, 513), answer);
}

#[test]
fn flush_is_done() {
    let mut driver = disk(&file());

    assert_ne!(driver.features() & (1 << VIRTIO_BLK_F_FLUSH), 0);
    let done = request(&mut driver, VIRTIO_BLK_T_FLUSH, 0, &[]);
    assert_eq!(done, (VIRTIO_BLK_S_OK, 1));
}

#[test]
fn id_is_the_name_of_the_file() {
    let file = file();
    let mut driver = disk(&file);
    let mut name = file
        .as_path()
        .file_name()
        .unwrap()
        .as_encoded_bytes()
        .to_vec();
    name.resize(20, 0);

    let done = request(&mut driver, VIRTIO_BLK_T_GET_ID, 0, &[Part::Take(BODY, 20)]);
    assert_eq!(done, (VIRTIO_BLK_S_OK, 21));
    assert_eq!(driver.get(BODY, 20), name);

    // With less room there is less of it, and with more there is a gap before the status.
    driver.put(BODY, &[0; 64]);
    let done = request(&mut driver, VIRTIO_BLK_T_GET_ID, 0, &[Part::Take(BODY, 3)]);
    assert_eq!(done, (VIRTIO_BLK_S_OK, 4));
    assert_eq!(driver.get(BODY, 4), [&name[..3], &[0]].concat());
    let done = request(&mut driver, VIRTIO_BLK_T_GET_ID, 0, &[Part::Take(BODY, 32)]);
    assert_eq!(done, (VIRTIO_BLK_S_OK, 20));
}

#[test]
fn what_is_not_on_the_disk_is_an_error() {
    let file = file();
    let before = fs::read(file.as_path()).unwrap();
    let mut driver = disk(&file);

    driver.put(BODY, &[9; 1024]);
    for (sector, len) in [
        (4, 512),
        (3, 1024),
        (u64::MAX, 512),
        (u64::MAX / 512, 512),
        (u64::MAX / 512 + 1, 512),
        // Not whole sectors.
        (0, 511),
        (0, 513),
        (0, 1),
    ] {
        let read = request(
            &mut driver,
            VIRTIO_BLK_T_IN,
            sector,
            &[Part::Take(BODY, len)],
        );
        assert_eq!(read, (VIRTIO_BLK_S_IOERR, 0), "{sector} {len}");
        let write = request(
            &mut driver,
            VIRTIO_BLK_T_OUT,
            sector,
            &[Part::Give(BODY, len)],
        );
        assert_eq!(write, (VIRTIO_BLK_S_IOERR, 1), "{sector} {len}");
    }
    assert_eq!(driver.get(BODY, 1024), [9; 1024]);
    assert_eq!(fs::read(file.as_path()).unwrap(), before);
    assert!(!driver.needs_reset());
}

#[test]
fn a_file_that_shrinks_is_an_error_for_what_is_gone() {
    let file = file();
    let mut driver = disk(&file);

    file.as_file().set_len(512).unwrap();
    let part = [Part::Take(BODY, 512)];
    let gone = request(&mut driver, VIRTIO_BLK_T_IN, 1, &part);
    assert_eq!(gone, (VIRTIO_BLK_S_IOERR, 0));
    let there = request(&mut driver, VIRTIO_BLK_T_IN, 0, &part);
    assert_eq!(there, (VIRTIO_BLK_S_OK, 513));
}

#[test]
fn read_only_disk_says_so_and_takes_no_writes() {
    let file = file();
    let before = fs::read(file.as_path()).unwrap();
    let mut driver = Driver::started(Block::open(file.as_path(), true).unwrap());

    assert_ne!(driver.features() & (1 << VIRTIO_BLK_F_RO), 0);
    assert_eq!(disk(&file).features() & (1 << VIRTIO_BLK_F_RO), 0);
    let write = request(&mut driver, VIRTIO_BLK_T_OUT, 0, &[Part::Give(BODY, 512)]);
    assert_eq!(write, (VIRTIO_BLK_S_IOERR, 1));
    let nothing = request(&mut driver, VIRTIO_BLK_T_OUT, 0, &[]);
    assert_eq!(nothing, (VIRTIO_BLK_S_IOERR, 1));
    let read = request(&mut driver, VIRTIO_BLK_T_IN, 0, &[Part::Take(BODY, 512)]);
    assert_eq!(read, (VIRTIO_BLK_S_OK, 513));
    assert_eq!(fs::read(file.as_path()).unwrap(), before);
}

#[test]
fn what_we_do_not_do_is_unsupported() {
    let mut driver = disk(&file());

    for kind in [VIRTIO_BLK_T_SCSI_CMD, VIRTIO_BLK_T_DISCARD, 3, u32::MAX] {
        let done = request(&mut driver, kind, 0, &[Part::Give(BODY, 512)]);
        assert_eq!(done, (VIRTIO_BLK_S_UNSUPP, 1));
    }
}

#[test]
fn short_header_is_an_error() {
    let mut driver = disk(&file());

    put_header(&driver, VIRTIO_BLK_T_FLUSH, 0);
    let head = driver.request(0, &[Part::Give(HEADER, 15), Part::Take(STATUS, 1)]);
    assert_eq!(driver.take(0), Some((head, 1)));
    assert_eq!(driver.get(STATUS, 1), [VIRTIO_BLK_S_IOERR as u8]);
    let head = driver.request(0, &[Part::Take(STATUS, 1)]);
    assert_eq!(driver.take(0), Some((head, 1)));
    assert!(!driver.needs_reset());
}

#[test]
fn no_room_for_the_status_stops_the_device() {
    let mut driver = disk(&file());

    put_header(&driver, VIRTIO_BLK_T_FLUSH, 0);
    driver.request(0, &[Part::Give(HEADER, 16)]);
    assert_eq!(driver.take(0), None);
    assert!(driver.needs_reset());
    assert!(matches!(driver.transport.fault(), Some(Error::NoRoom)));
}

#[test]
fn data_next_to_the_end_of_memory_are_not_cut() {
    let mut driver = disk(&file());

    let done = request(
        &mut driver,
        VIRTIO_BLK_T_IN,
        0,
        &[Part::Take(END - 512, 512)],
    );
    assert_eq!(done, (VIRTIO_BLK_S_OK, 513));
    assert_eq!(driver.get(END - 512, 512), [1; 512]);
}

#[test]
fn what_is_no_file_does_not_open() {
    let missing = Block::open("/nonexistent/disk", true).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    for path in ["/", "/dev/zero"] {
        let error = Block::open(Path::new(path), true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{path}");
    }
}
