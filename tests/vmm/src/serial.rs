// SPDX-License-Identifier: GPL-2.0

//! The serial port: vm-superio's, one byte for each register.

use std::io::{self, Write};

use vm_superio::serial::NoEvents;
use vm_superio::Trigger;
use vmm_sys_util::eventfd::EventFd;

use crate::bus::Mmio;

/// The interrupt line of a device.
#[derive(Debug)]
pub struct Line(EventFd);

impl Trigger for Line {
    type E = io::Error;

    fn trigger(&self) -> io::Result<()> {
        self.0.write(1)
    }
}

/// A serial port.
pub struct Serial(vm_superio::Serial<Line, NoEvents, Box<dyn Write + Send>>);

impl Serial {
    /// One that writes to `output` and raises interrupts by `irq`.
    pub fn new(output: Box<dyn Write + Send>, irq: EventFd) -> Self {
        Self(vm_superio::Serial::new(Line(irq), output))
    }

    /// Gives the guest what it can take of `bytes` now; says how many of them that were.
    pub fn input(&mut self, bytes: &[u8]) -> usize {
        // The only reasons for an error are a full queue and a broken interrupt line.
        self.0.enqueue_raw_bytes(bytes).unwrap_or(0)
    }
}

impl Mmio for Serial {
    fn read(&mut self, offset: u64, data: &mut [u8]) {
        data.fill(0);
        if let ([value], Ok(offset)) = (data, u8::try_from(offset)) {
            *value = self.0.read(offset);
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        if let ([value], Ok(offset)) = (data, u8::try_from(offset)) {
            // Whoever reads our output may have gone; the guest goes on.
            let _ = self.0.write(offset, *value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Screen(Arc<Mutex<Vec<u8>>>);

    impl Write for Screen {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writes_and_reads_bytes() {
        let screen = Screen::default();
        let irq = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let mut serial = Serial::new(Box::new(screen.clone()), irq.try_clone().unwrap());
        for byte in b"ok" {
            serial.write(0, &[*byte]);
        }
        // Wider than a register: not one.
        serial.write(0, &[b'x', 0]);
        assert_eq!(*screen.0.lock().unwrap(), b"ok");
        // Interrupts for received bytes.
        serial.write(1, &[1]);
        assert!(irq.read().is_err());
        assert_eq!(serial.input(b"z"), 1);
        assert!(irq.read().is_ok());
        let mut byte = [0];
        serial.read(0, &mut byte);
        assert_eq!(byte, *b"z");
    }

    #[test]
    fn takes_no_more_than_it_has_room_for() {
        let irq = EventFd::new(libc::EFD_NONBLOCK).unwrap();
        let mut serial = Serial::new(Box::new(io::sink()), irq);
        let taken = serial.input(&[b'a'; 1000]);
        assert!(taken > 0 && taken < 1000);
        assert_eq!(serial.input(b"b"), 0);
    }
}
