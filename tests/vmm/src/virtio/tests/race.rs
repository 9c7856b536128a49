// SPDX-License-Identifier: GPL-2.0

//! Rings that change while the device looks at them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use vm_memory::{Bytes, GuestAddress};

use super::driver::{
    described,
    descriptors,
    Driver,
    DATA,
    INDIRECT,
    NEXT,
    VERSION_1,
    WRITE, //
};
use crate::virtio::rng::Rng;

/// Requests at least.
const REQUESTS: u64 = 5000;

#[test]
fn a_ring_that_changes_meanwhile() {
    let mut driver = Driver::started(Rng::new().unwrap());
    let memory = driver.memory.clone();
    let (done, changes) = (AtomicBool::new(false), AtomicU64::new(0));
    let (mut served, mut stopped) = (0, 0);

    thread::scope(|scope| {
        // Another CPU of the guest goes through good and impossible descriptors.
        scope.spawn(|| {
            let words = [
                (DATA, 16, WRITE, 0),
                (DATA, 16, WRITE | NEXT, 0),
                (DATA, u32::MAX, WRITE, 0),
                (DATA, 16, INDIRECT, 0),
                (DATA, 16, WRITE | NEXT, 1),
                (0, 16, WRITE, 0),
            ];
            while !done.load(Ordering::Relaxed) {
                for word in words {
                    let bytes = described(word);
                    memory
                        .write_slice(&bytes, GuestAddress(descriptors(0)))
                        .unwrap();
                    changes.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let mut requests = 0;
        // On a busy machine the two may run in turns of many requests: what counts is that the device
        // has met both, however long that takes.
        while requests < REQUESTS || served == 0 || stopped == 0 {
            if requests >= REQUESTS {
                let before = changes.load(Ordering::Relaxed);
                while changes.load(Ordering::Relaxed) == before {
                    thread::yield_now();
                }
            }
            driver.start(VERSION_1);
            driver.offer_head(0, 0);
            driver.notify(0);
            requests += 1;
            served += u64::from(driver.take(0).is_some());
            stopped += u64::from(driver.needs_reset());
            // Each is answered, or the device has stopped; never both, never neither.
            assert_eq!(served + stopped, requests);
        }
        done.store(true, Ordering::Relaxed);
    });
}
