// SPDX-License-Identifier: GPL-2.0

//! Rings that no honest driver has.

use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_ACKNOWLEDGE,
    VIRTIO_CONFIG_S_NEEDS_RESET, //
};
use virtio_bindings::virtio_mmio::{
    VIRTIO_MMIO_INTERRUPT_ACK,
    VIRTIO_MMIO_INTERRUPT_STATUS,
    VIRTIO_MMIO_INT_CONFIG,
    VIRTIO_MMIO_QUEUE_NUM,
    VIRTIO_MMIO_QUEUE_READY,
    VIRTIO_MMIO_STATUS, //
};

use super::driver::{
    described,
    Described,
    Driver,
    Part,
    BASE,
    DATA,
    END,
    INDIRECT,
    NEXT,
    OK,
    SIZE,
    VERSION_1,
    WRITE, //
};
use crate::virtio::queue::REQUEST_MAX;
use crate::virtio::rng::Rng;
use crate::virtio::Error;

const TABLE: u64 = DATA + 0x8000;

fn started() -> Driver<Rng> {
    Driver::started(Rng::new().unwrap())
}

/// The device stops, says so once, does nothing more, and works again after a reset.
fn assert_stops(driver: &mut Driver<Rng>) {
    driver.notify(0);
    let stopped = OK | VIRTIO_CONFIG_S_NEEDS_RESET;
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), stopped);
    assert_eq!(
        driver.read(VIRTIO_MMIO_INTERRUPT_STATUS),
        VIRTIO_MMIO_INT_CONFIG
    );
    assert_eq!(driver.interrupts(), 1);
    assert_eq!(driver.take(0), None);
    assert!(driver.transport.fault().is_some());

    driver.write(VIRTIO_MMIO_INTERRUPT_ACK, u32::MAX);
    driver.request(0, &[Part::Take(DATA, 16)]);
    assert_eq!(driver.take(0), None);
    assert_eq!(driver.interrupts(), 0);
    // The driver cannot take it back.
    driver.write(VIRTIO_MMIO_STATUS, OK);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), stopped);

    driver.start(VERSION_1);
    assert!(driver.transport.fault().is_none());
    let head = driver.request(0, &[Part::Take(DATA, 16)]);
    assert_eq!(driver.take(0), Some((head, 16)));
}

fn with_descriptors(descriptors: &[Described]) -> Driver<Rng> {
    let mut driver = started();
    for (index, descriptor) in descriptors.iter().enumerate() {
        driver.describe(0, index as u16, *descriptor);
    }
    driver.offer_head(0, 0);
    driver
}

/// A request of one indirect descriptor for `bytes` bytes of table.
fn with_table(bytes: u32, table: &[Described]) -> Driver<Rng> {
    let driver = with_descriptors(&[(TABLE, bytes, INDIRECT, 0)]);
    for (index, descriptor) in table.iter().enumerate() {
        driver.put(TABLE + index as u64 * 16, &described(*descriptor));
    }
    driver
}

#[test]
fn descriptors_in_a_circle() {
    let mut driver = with_descriptors(&[(DATA, 1, NEXT | WRITE, 0)]);
    assert_stops(&mut driver);
    let mut driver = with_descriptors(&[
        (DATA, 1, NEXT | WRITE, 1),
        (DATA, 1, NEXT | WRITE, 2),
        (DATA, 1, NEXT | WRITE, 1),
    ]);
    assert_stops(&mut driver);
}

#[test]
fn descriptor_that_is_not_there() {
    let mut driver = with_descriptors(&[(DATA, 1, NEXT | WRITE, SIZE)]);
    assert_stops(&mut driver);
    for head in [SIZE, u16::MAX] {
        let mut driver = started();
        driver.offer_head(0, head);
        assert_stops(&mut driver);
    }
}

#[test]
fn bytes_that_are_not_in_memory() {
    for (address, len) in [
        (0, 1),
        (BASE - 1, 1),
        (BASE - 1, 2),
        (END, 1),
        (END - 1, 2),
        (DATA, u32::MAX),
        (u64::MAX, 1),
        (u64::MAX - 15, 32),
        // The same without the high half of the address.
        (u64::from(DATA as u32), 16),
    ] {
        for flags in [0, WRITE] {
            let mut driver = with_descriptors(&[(address, len, flags, 0)]);
            assert_stops(&mut driver);
        }
    }
}

#[test]
fn more_requests_than_the_ring_has() {
    for index in [SIZE + 1, 0x8000, u16::MAX] {
        let mut driver = with_descriptors(&[(DATA, 1, WRITE, 0)]);
        driver.set_available(0, index);
        assert_stops(&mut driver);
    }
}

#[test]
fn indirect_tables_that_make_no_sense() {
    let good = (DATA, 16, WRITE, 0);
    // The good one, to see that it is not something else. Nobody negotiated it, but it does no
    // harm.
    let mut driver = with_table(16, &[good]);
    driver.notify(0);
    assert_eq!(driver.take(0), Some((0, 16)));

    for (bytes, table) in [
        (0, good),
        (15, good),
        (17, good),
        (u32::MAX, good),
        (16 << 16, good),
        // Again an indirect one, and the same one.
        (16, (TABLE, 16, INDIRECT, 0)),
        // In a circle, and out of it.
        (16, (DATA, 16, WRITE | NEXT, 0)),
        (16, (DATA, 16, WRITE | NEXT, 1)),
        (16, (END, 16, WRITE, 0)),
    ] {
        assert_stops(&mut with_table(bytes, &[table]));
    }
    // The table is not in memory.
    let mut driver = with_descriptors(&[(END, 16, INDIRECT, 0)]);
    assert_stops(&mut driver);
    // The table is longer than a request may be.
    let mut table = [(DATA, 1, WRITE | NEXT, 0); SIZE as usize + 1];
    for (index, descriptor) in table.iter_mut().enumerate() {
        descriptor.3 = index as u16 + 1;
    }
    table[SIZE as usize].2 = WRITE;
    assert_stops(&mut with_table(16 * (u32::from(SIZE) + 1), &table));
}

#[test]
fn more_bytes_than_a_request_may_have() {
    const MANY: u16 = 32;
    const PART: u32 = (REQUEST_MAX / MANY as usize) as u32;
    for (first, stops) in [(PART, false), (PART + 1, true)] {
        let mut driver = Driver::new(Rng::new().unwrap());
        driver.negotiate(VERSION_1);
        driver.place(0);
        driver.write(VIRTIO_MMIO_QUEUE_NUM, MANY.into());
        driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
        driver.write(VIRTIO_MMIO_STATUS, OK);
        driver.describe(0, 0, (DATA, first, NEXT | WRITE, 1));
        for index in 1..MANY {
            let next = if index + 1 < MANY { NEXT } else { 0 };
            driver.describe(0, index, (DATA, PART, next | WRITE, index + 1));
        }
        driver.offer_head(0, 0);
        driver.notify(0);
        assert_eq!(driver.needs_reset(), stops);
        let fault = driver.transport.fault();
        assert_eq!(matches!(fault, Some(Error::TooLong)), stops);
        assert_eq!(driver.take(0).is_some(), !stops);
    }
}

#[test]
fn what_was_done_before_the_impossible_request_stays_done() {
    let mut driver = started();
    let good = driver.offer(0, &[Part::Take(DATA, 16)]);
    driver.describe(0, 1, (DATA, 16, WRITE | NEXT, 1));
    driver.offer_head(0, 1);
    driver.notify(0);
    assert_eq!(driver.take(0), Some((good, 16)));
    assert!(driver.needs_reset());
}

#[test]
fn status_bits_are_not_taken_back() {
    let mut driver = started();
    driver.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_ACKNOWLEDGE);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), OK);
    // Nor is there one for what is ours to say.
    driver.write(VIRTIO_MMIO_STATUS, OK | VIRTIO_CONFIG_S_NEEDS_RESET);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), OK);
}
