// SPDX-License-Identifier: GPL-2.0

//! Random bytes.

use super::driver::{Driver, Part, DATA};
use crate::virtio::rng::Rng;

#[test]
fn two_requests_get_different_bytes() {
    let mut driver = Driver::started(Rng::new().unwrap());

    // In several parts, of which none is a multiple of anything.
    let first = driver.request(0, &[Part::Take(DATA, 13), Part::Take(DATA + 100, 19)]);
    assert_eq!(driver.take(0), Some((first, 32)));
    let second = driver.request(0, &[Part::Take(DATA + 200, 32)]);
    assert_eq!(driver.take(0), Some((second, 32)));

    let random = [driver.get(DATA, 13), driver.get(DATA + 100, 19)].concat();
    assert_ne!(random, driver.get(DATA + 200, 32));
    assert_ne!(random, [0; 32]);
    // Nothing next to them.
    assert_eq!(driver.get(DATA + 13, 87), [0; 87]);
    assert_eq!(driver.get(DATA + 119, 81), [0; 81]);
}

#[test]
fn a_great_request_gets_less_than_it_has_room_for() {
    let mut driver = Driver::started(Rng::new().unwrap());

    let head = driver.request(0, &[Part::Take(DATA, 5000)]);
    assert_eq!(driver.take(0), Some((head, Rng::REQUEST_MAX)));
    let end = DATA + u64::from(Rng::REQUEST_MAX);
    assert_eq!(driver.get(end, 904), [0; 904]);
}

#[test]
fn a_request_without_room_gets_nothing() {
    let mut driver = Driver::started(Rng::new().unwrap());

    let head = driver.request(0, &[Part::Give(DATA, 16)]);
    assert_eq!(driver.take(0), Some((head, 0)));
    assert_eq!(driver.get(DATA, 16), [0; 16]);
}
