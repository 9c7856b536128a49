// SPDX-License-Identifier: GPL-2.0

//! Registers.

use std::io;

use virtio_bindings::virtio_config::*;
use virtio_bindings::virtio_ids::*;
use virtio_bindings::virtio_mmio::*;

use super::driver::{
    available,
    descriptors,
    used,
    Driver,
    Part,
    BASE,
    DATA,
    END,
    EVENT_IDX,
    OK,
    SIZE,
    VERSION_1, //
};
use crate::bus::Mmio;
use crate::virtio::console::Console;
use crate::virtio::rng::Rng;

fn new() -> Driver<Rng> {
    Driver::new(Rng::new().unwrap())
}

fn started(features: u64) -> Driver<Rng> {
    let mut driver = new();
    driver.start(features);
    driver
}

/// A request for random bytes.
const ASK: [Part; 1] = [Part::Take(DATA, 16)];

#[test]
fn the_device_says_what_it_is() {
    let mut driver = Driver::new(Console::new(Box::new(io::sink())));

    assert_eq!(
        driver.read(VIRTIO_MMIO_MAGIC_VALUE),
        u32::from_le_bytes(*b"virt")
    );
    assert_eq!(driver.read(VIRTIO_MMIO_VERSION), 2);
    assert_eq!(driver.read(VIRTIO_MMIO_DEVICE_ID), VIRTIO_ID_CONSOLE);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), 0);
    for (queue, max) in [(0, 64), (1, 64), (2, 0), (u32::MAX, 0)] {
        driver.write(VIRTIO_MMIO_QUEUE_SEL, queue);
        assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_NUM_MAX), max);
        assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0);
    }
    // No shared memory.
    for register in [VIRTIO_MMIO_SHM_LEN_LOW, VIRTIO_MMIO_SHM_LEN_HIGH] {
        assert_eq!(driver.read(register), u32::MAX);
    }
}

#[test]
fn features_come_in_two_words() {
    let mut driver = new();

    let needed = VERSION_1 | (1 << VIRTIO_F_ACCESS_PLATFORM);
    assert_eq!(driver.features() & needed, needed);
    driver.write(VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
    assert_eq!(driver.read(VIRTIO_MMIO_DEVICE_FEATURES), 0);
}

#[test]
fn features_that_do_not_fit_are_not_ok() {
    for features in [
        0,
        EVENT_IDX,
        VERSION_1 | (1 << VIRTIO_F_RING_PACKED),
        u64::MAX,
    ] {
        let mut driver = new();
        let status = driver.negotiate(features);
        assert_eq!(status & VIRTIO_CONFIG_S_FEATURES_OK, 0);
        // A driver that goes on all the same does not get anywhere.
        driver.write(VIRTIO_MMIO_STATUS, OK);
        let status = driver.read(VIRTIO_MMIO_STATUS);
        assert_eq!(status & VIRTIO_CONFIG_S_DRIVER_OK, 0);
        driver.place(0);
        driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
        assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0);
        // And one that thinks better of it does.
        driver.start(VERSION_1);
        assert!(!driver.needs_reset());
    }
}

#[test]
fn features_that_nobody_has_a_word_for_are_ignored() {
    let mut driver = new();

    driver.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    driver.write(VIRTIO_MMIO_DRIVER_FEATURES, (VERSION_1 >> 32) as u32);
    driver.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 2);
    driver.write(VIRTIO_MMIO_DRIVER_FEATURES, u32::MAX);
    driver.write(VIRTIO_MMIO_STATUS, VIRTIO_CONFIG_S_FEATURES_OK);
    let status = driver.read(VIRTIO_MMIO_STATUS);
    assert_eq!(status, VIRTIO_CONFIG_S_FEATURES_OK);
}

#[test]
fn features_stay_once_they_are_ok() {
    let mut driver = started(VERSION_1);

    driver.write(VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
    driver.write(VIRTIO_MMIO_DRIVER_FEATURES, 0);
    driver.write(VIRTIO_MMIO_STATUS, OK);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), OK);
}

#[test]
fn nothing_is_served_before_driver_ok() {
    let mut driver = new();
    driver.negotiate(VERSION_1);
    driver.place(0);
    driver.write(VIRTIO_MMIO_QUEUE_READY, 1);

    let head = driver.request(0, &ASK);
    assert_eq!(driver.take(0), None);
    driver.write(VIRTIO_MMIO_STATUS, OK);
    driver.notify(0);
    assert_eq!(driver.take(0), Some((head, 16)));
}

#[test]
fn a_queue_that_is_not_ready_is_not_served() {
    let mut driver = started(VERSION_1);

    driver.write(VIRTIO_MMIO_QUEUE_READY, 0);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0);
    driver.request(0, &ASK);
    // Nor one that is not there.
    driver.notify(1);
    driver.notify(u32::MAX);
    assert_eq!(driver.take(0), None);
    assert_eq!(driver.interrupts(), 0);
    assert!(!driver.needs_reset());
}

#[test]
fn a_ready_queue_stays_where_it_is() {
    let mut driver = started(VERSION_1);

    for register in [VIRTIO_MMIO_QUEUE_NUM, VIRTIO_MMIO_QUEUE_DESC_LOW] {
        driver.write(register, 0);
    }
    driver.write(VIRTIO_MMIO_QUEUE_READY, 0);
    driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 1);
    let head = driver.request(0, &ASK);
    assert_eq!(driver.take(0), Some((head, 16)));
}

#[test]
fn a_ready_queue_does_not_start_again() {
    let mut driver = started(VERSION_1);

    driver.request(0, &ASK);
    driver.put(DATA, &[0; 16]);
    driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
    driver.request(0, &[Part::Take(DATA + 16, 16)]);
    assert_eq!(driver.get(DATA, 16), [0; 16]);
    assert_ne!(driver.get(DATA + 16, 16), [0; 16]);
}

#[test]
fn an_impossible_queue_stops_the_device() {
    let words: [(u32, u64, u32); 13] = [
        // Sizes: no power of two, more than there are, more than 16 bits.
        (VIRTIO_MMIO_QUEUE_NUM, 0, 0),
        (VIRTIO_MMIO_QUEUE_NUM, 3, 0),
        (VIRTIO_MMIO_QUEUE_NUM, 128, 0),
        (VIRTIO_MMIO_QUEUE_NUM, 0x1_0008, 0),
        // Alignment.
        (VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors(0) + 8, 4),
        (VIRTIO_MMIO_QUEUE_AVAIL_LOW, available(0) + 1, 4),
        (VIRTIO_MMIO_QUEUE_USED_LOW, used(0) + 2, 4),
        // Not in memory, or not with all of it.
        (VIRTIO_MMIO_QUEUE_DESC_LOW, BASE - 16, 4),
        (
            VIRTIO_MMIO_QUEUE_DESC_LOW,
            END - u64::from(SIZE) * 16 + 16,
            4,
        ),
        (
            VIRTIO_MMIO_QUEUE_AVAIL_LOW,
            END - u64::from(SIZE) * 2 - 4,
            4,
        ),
        (VIRTIO_MMIO_QUEUE_USED_LOW, END - u64::from(SIZE) * 8 - 4, 4),
        (VIRTIO_MMIO_QUEUE_USED_LOW, 0, 4),
        (VIRTIO_MMIO_QUEUE_DESC_LOW, u64::MAX - 15, 4),
    ];
    for (register, value, high) in words {
        let mut driver = new();
        driver.negotiate(VERSION_1);
        driver.place(0);
        driver.write(register, value as u32);
        if high != 0 {
            driver.write(register + high, (value >> 32) as u32);
        }
        driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
        assert_eq!(
            driver.read(VIRTIO_MMIO_QUEUE_READY),
            0,
            "{register:#x} {value:#x}"
        );
        assert!(driver.needs_reset());
        // Before DRIVER_OK it is not told.
        assert_eq!(driver.interrupts(), 0);
    }
}

#[test]
fn a_queue_at_the_end_of_memory_is_possible() {
    let mut driver = new();
    driver.negotiate(VERSION_1);
    driver.place(0);
    let descriptors = END - u64::from(SIZE) * 16;
    driver.write(VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors as u32);
    driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 1);
}

#[test]
fn reset_forgets_everything() {
    let mut driver = started(VERSION_1);
    driver.request(0, &ASK);
    assert_eq!(
        driver.read(VIRTIO_MMIO_INTERRUPT_STATUS),
        VIRTIO_MMIO_INT_VRING
    );

    driver.write(VIRTIO_MMIO_STATUS, 0);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), 0);
    assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    assert_eq!(driver.read(VIRTIO_MMIO_QUEUE_READY), 0);
    driver.write(VIRTIO_MMIO_STATUS, OK);
    assert_eq!(
        driver.read(VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_FEATURES_OK,
        0
    );

    // The rings start from the beginning again.
    driver.start(VERSION_1);
    let head = driver.request(0, &ASK);
    assert_eq!(driver.take(0), Some((head, 16)));
}

#[test]
fn registers_are_words() {
    let mut driver = new();

    for len in [1, 2, 8] {
        let mut data = [0xff; 8];
        driver.transport.read(0, &mut data[..len]);
        assert_eq!(data[..len], [0; 8][..len]);
        driver
            .transport
            .write(VIRTIO_MMIO_STATUS.into(), &[1; 8][..len]);
        assert_eq!(driver.read(VIRTIO_MMIO_STATUS), 0);
    }
    // Between two of them, after all of them, and far away.
    for offset in [2, 0x1fc, 0x200, u64::MAX, 1 << 32] {
        let mut data = [0xff; 4];
        driver.transport.read(offset, &mut data);
        assert_eq!(data, [0; 4], "{offset:#x}");
        driver.transport.write(offset, &[1; 4]);
    }
    driver
        .transport
        .write((1 << 32) + u64::from(VIRTIO_MMIO_STATUS), &[1; 4]);
    assert_eq!(driver.read(VIRTIO_MMIO_STATUS), 0);
}
