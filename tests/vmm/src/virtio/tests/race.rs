// SPDX-License-Identifier: GPL-2.0

//! Rings that change while the device looks at them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Barrier;
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

#[test]
fn a_ring_that_changes_meanwhile() {
    let mut driver = Driver::started(Rng::new().unwrap());
    let memory = driver.memory.clone();
    let (begin, done) = (Barrier::new(2), AtomicBool::new(false));
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
            begin.wait();
            while !done.load(Ordering::Relaxed) {
                for word in words {
                    let bytes = described(word);
                    memory
                        .write_slice(&bytes, GuestAddress(descriptors(0)))
                        .unwrap();
                }
            }
        });
        begin.wait();
        for _ in 0..5000 {
            driver.start(VERSION_1);
            driver.offer_head(0, 0);
            driver.notify(0);
            served += u32::from(driver.take(0).is_some());
            stopped += u32::from(driver.needs_reset());
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(served + stopped, 5000);
    assert!(served > 0 && stopped > 0, "{served} {stopped}");
}
