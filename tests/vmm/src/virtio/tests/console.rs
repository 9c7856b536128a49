// SPDX-License-Identifier: GPL-2.0

//! What is shown and what is typed.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::thread;

use virtio_bindings::virtio_mmio::VIRTIO_MMIO_STATUS;

use super::driver::{
    Driver,
    Part,
    DATA,
    VERSION_1, //
};
use crate::virtio::console::{Console, Typed};

const RECEIVE: u32 = 0;
const TRANSMIT: u32 = 1;

/// A screen to look at.
#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What nothing can be written to.
struct Gone;

impl Write for Gone {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::BrokenPipe.into())
    }
}

fn console() -> Console {
    Console::new(Box::new(io::sink()))
}

#[test]
fn what_the_guest_writes_is_shown() {
    let screen = Screen::default();
    let mut driver = Driver::started(Console::new(Box::new(screen.clone())));

    driver.put(DATA, b"Hello, ");
    driver.put(DATA + 0x1000, b"realm\n");
    let head = driver.request(
        TRANSMIT,
        &[Part::Give(DATA, 7), Part::Give(DATA + 0x1000, 6)],
    );
    assert_eq!(driver.take(TRANSMIT), Some((head, 0)));
    assert_eq!(*screen.0.lock().unwrap(), b"Hello, realm\n");
    assert_eq!(driver.interrupts(), 1);
}

#[test]
fn output_that_goes_nowhere_does_not_stop_the_guest() {
    let mut driver = Driver::started(Console::new(Box::new(Gone)));

    let head = driver.request(TRANSMIT, &[Part::Give(DATA, 7)]);
    assert_eq!(driver.take(TRANSMIT), Some((head, 0)));
    assert!(!driver.needs_reset());
}

#[test]
fn input_goes_to_a_waiting_request_with_an_interrupt() {
    let mut driver = Driver::started(console());

    let head = driver.request(RECEIVE, &[Part::Take(DATA, 16)]);
    assert_eq!(driver.take(RECEIVE), None);
    assert_eq!(driver.interrupts(), 0);

    assert_eq!(driver.transport.input(b"ls\n"), 3);
    assert_eq!(driver.take(RECEIVE), Some((head, 3)));
    assert_eq!(driver.get(DATA, 4), b"ls\n\0");
    assert_eq!(driver.interrupts(), 1);
}

#[test]
fn input_waits_for_requests() {
    let mut driver = Driver::started(console());

    assert_eq!(driver.transport.input(b"0123456789"), 10);
    assert_eq!(driver.interrupts(), 0);
    let first = driver.offer(RECEIVE, &[Part::Take(DATA, 4)]);
    let second = driver.offer(
        RECEIVE,
        &[Part::Take(DATA + 4, 3), Part::Take(DATA + 7, 100)],
    );
    let third = driver.offer(RECEIVE, &[Part::Take(DATA + 200, 4)]);
    driver.notify(RECEIVE);

    assert_eq!(driver.take(RECEIVE), Some((first, 4)));
    assert_eq!(driver.take(RECEIVE), Some((second, 6)));
    assert_eq!(driver.take(RECEIVE), None);
    assert_eq!(driver.get(DATA, 11), b"0123456789\0");

    // The one that got nothing is the next to get something.
    assert_eq!(driver.transport.input(b"a"), 1);
    assert_eq!(driver.take(RECEIVE), Some((third, 1)));
    assert_eq!(driver.get(DATA + 200, 2), b"a\0");
}

#[test]
fn input_before_the_driver_is_there_waits_for_it() {
    let mut driver = Driver::new(console());

    assert_eq!(driver.transport.input(b"early"), 5);
    driver.write(VIRTIO_MMIO_STATUS, 0);
    driver.start(VERSION_1);
    let head = driver.request(RECEIVE, &[Part::Take(DATA, 16)]);
    assert_eq!(driver.take(RECEIVE), Some((head, 5)));
    assert_eq!(driver.get(DATA, 5), b"early");
}

#[test]
fn too_much_input_is_left_to_the_giver() {
    let mut driver = Driver::started(console());
    let much = vec![b'x'; Console::INPUT_MAX];

    assert_eq!(driver.transport.input(b"a"), 1);
    assert_eq!(driver.transport.input(&much), Console::INPUT_MAX - 1);
    assert_eq!(driver.transport.input(b"b"), 0);

    let head = driver.request(RECEIVE, &[Part::Take(DATA, 10)]);
    assert_eq!(driver.take(RECEIVE), Some((head, 10)));
    assert_eq!(driver.get(DATA, 10), b"axxxxxxxxx");
    assert_eq!(driver.transport.input(&much), 10);
}

#[test]
fn input_comes_from_another_thread() {
    let mut driver = Driver::started(console());
    let head = driver.request(RECEIVE, &[Part::Take(DATA, 16)]);
    let driver = Arc::new(Mutex::new(driver));

    let other = Arc::clone(&driver);
    let typist = thread::spawn(move || other.lock().unwrap().transport.input(b"ls\n"));
    assert_eq!(typist.join().unwrap(), 3);
    assert_eq!(driver.lock().unwrap().take(RECEIVE), Some((head, 3)));
}
