// SPDX-License-Identifier: GPL-2.0

//! When there are interrupts, and what the driver's wishes do to them.

use virtio_bindings::virtio_mmio::*;
use vm_memory::{Bytes, GuestAddress};

use super::driver::{
    available,
    used,
    Driver,
    Part,
    DATA,
    EVENT_IDX,
    NEXT,
    SIZE,
    VERSION_1,
    WRITE, //
};
use crate::virtio::rng::Rng;

/// Where the driver says after which answer it wants an interrupt.
const USED_EVENT: u64 = 4 + SIZE as u64 * 2;

/// A request for random bytes.
const ASK: [Part; 1] = [Part::Take(DATA, 16)];

fn started(features: u64) -> Driver<Rng> {
    let mut driver = Driver::new(Rng::new().unwrap());
    driver.start(features);
    driver
}

/// Writes what is at `offset` of the available ring.
fn wish(driver: &Driver<Rng>, offset: u64, value: u16) {
    driver.put(available(0) + offset, &value.to_le_bytes());
}

#[test]
fn each_answer_is_an_edge() {
    let mut driver = started(VERSION_1);

    for _ in 0..3 {
        driver.request(0, &ASK);
        assert_eq!(driver.interrupts(), 1);
        assert_eq!(
            driver.read(VIRTIO_MMIO_INTERRUPT_STATUS),
            VIRTIO_MMIO_INT_VRING
        );
    }
    driver.write(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
    assert_eq!(
        driver.read(VIRTIO_MMIO_INTERRUPT_STATUS),
        VIRTIO_MMIO_INT_VRING
    );
    driver.write(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    assert_eq!(driver.read(VIRTIO_MMIO_INTERRUPT_STATUS), 0);
    assert_eq!(driver.interrupts(), 0);

    // Without a request there is none.
    driver.notify(0);
    assert_eq!(driver.interrupts(), 0);
}

#[test]
fn no_interrupt_for_a_driver_that_wants_none() {
    let mut driver = started(VERSION_1);

    wish(&driver, 0, 1);
    driver.request(0, &ASK);
    assert!(driver.take(0).is_some());
    assert_eq!(driver.interrupts(), 0);
    wish(&driver, 0, 0);
    driver.request(0, &ASK);
    assert_eq!(driver.interrupts(), 1);
}

#[test]
fn event_indices_say_when_to_tell() {
    let mut driver = started(VERSION_1 | EVENT_IDX);
    let avail_event = GuestAddress(used(0) + 4 + u64::from(SIZE) * 8);

    // After the third answer.
    wish(&driver, USED_EVENT, 2);
    for (answers, interrupts) in [(1_u16, 0), (2, 0), (3, 1), (4, 0)] {
        driver.request(0, &ASK);
        assert_eq!(driver.interrupts(), interrupts, "{answers}");
        // And the device wants to know of the next request.
        assert_eq!(driver.memory.read_obj::<u16>(avail_event).unwrap(), answers);
    }
}

#[test]
fn a_ring_goes_round() {
    // The second one so often that its indices do as well.
    let some = 3 * u32::from(SIZE);
    for (features, times) in [(VERSION_1, some), (VERSION_1 | EVENT_IDX, (1 << 16) + some)] {
        let mut driver = started(features);
        for n in 0..times {
            wish(&driver, USED_EVENT, n as u16);
            let head = driver.request(0, &ASK);
            assert_eq!(driver.take(0), Some((head, 16)));
            assert_eq!(driver.interrupts(), 1);
        }
    }
}

#[test]
fn what_is_left_is_done_at_the_acknowledgement() {
    let mut driver = started(VERSION_1);
    // It wants no interrupts, but has to be told.
    wish(&driver, 0, 1);

    // A request of 7 MiB, eight times: three of them are enough for once.
    for index in 0..SIZE {
        let next = if index + 1 < SIZE { NEXT } else { 0 };
        driver.describe(0, index, (DATA, 7 << 17, WRITE | next, index + 1));
    }
    for _ in 0..8 {
        driver.offer_head(0, 0);
    }
    driver.notify(0);
    for (done, interrupts) in [(3, 1), (3, 1), (2, 0)] {
        for _ in 0..done {
            assert_eq!(driver.take(0), Some((0, Rng::REQUEST_MAX)));
        }
        assert_eq!(driver.take(0), None);
        assert_eq!(driver.interrupts(), interrupts);
        driver.write(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_CONFIG);
        assert_eq!(driver.take(0), None);
        driver.write(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    }
    assert_eq!(driver.take(0), None);
    assert!(!driver.needs_reset());
}
