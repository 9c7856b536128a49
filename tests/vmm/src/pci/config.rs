// SPDX-License-Identifier: GPL-2.0

//! The configuration space of a function (PCI Local Bus 3.0, 6.1).

use super::registers::Registers;

/// Bytes of it. There are no extended capabilities.
pub const SIZE: usize = 256;

// Registers of the header.
const VENDOR: usize = 0x00;
const DEVICE: usize = 0x02;
const COMMAND: usize = 0x04;
const STATUS: usize = 0x06;
const REVISION: usize = 0x08;
const CLASS: usize = 0x09;
const BAR0: usize = 0x10;
const SUBSYSTEM_VENDOR: usize = 0x2c;
const SUBSYSTEM: usize = 0x2e;
const CAPABILITIES: usize = 0x34;
const INTERRUPT_LINE: usize = 0x3c;
const HEADER_SIZE: usize = 0x40;

/// The function answers at the addresses that BAR 0 says.
const COMMAND_MEMORY: u16 = 1 << 1;
/// It may use the guest's memory. Software sets it; the queues of a virtio device work when the driver
/// has said DRIVER_OK, which is later.
const COMMAND_MASTER: u16 = 1 << 2;
/// No interrupts by wire. There are none.
const COMMAND_NO_INTX: u16 = 1 << 10;
/// There is a list of capabilities.
const STATUS_CAPABILITIES: u16 = 1 << 4;

/// What a function is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Vendor, of the subsystem as well.
    pub vendor: u16,
    /// Device, of the subsystem as well.
    pub device: u16,
    /// Revision.
    pub revision: u8,
    /// Programming interface, subclass and class.
    pub class: [u8; 3],
}

/// A configuration space: a header of type 0 with one BAR, for memory below 4 GiB, and a list of
/// capabilities.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    registers: Registers,
    /// Where the number of the next capability comes, and where that is.
    link: usize,
    free: usize,
}

impl Config {
    /// One without capabilities. BAR 0 has `bar_size` bytes, a power of two of at least 16.
    pub fn new(identity: Identity, bar_size: u32) -> Self {
        let mut registers = Registers::new(SIZE);
        for (at, value) in [
            (VENDOR, identity.vendor),
            (SUBSYSTEM_VENDOR, identity.vendor),
            (DEVICE, identity.device),
            (SUBSYSTEM, identity.device),
        ] {
            registers.set(at, &value.to_le_bytes());
        }
        registers.set(REVISION, &[identity.revision]);
        registers.set(CLASS, &identity.class);
        let command = COMMAND_MEMORY | COMMAND_MASTER | COMMAND_NO_INTX;
        registers.allow(COMMAND, &command.to_le_bytes());
        // The low bits, which cannot be written, are how software finds out about the size.
        registers.allow(BAR0, &(!(bar_size - 1)).to_le_bytes());
        // A note of software's to itself.
        registers.allow(INTERRUPT_LINE, &[0xff]);
        Self {
            registers,
            link: CAPABILITIES,
            free: HEADER_SIZE,
        }
    }

    /// Adds a capability: its ID, and what follows the link to the next one. Returns where it is;
    /// none if there is no room.
    pub fn add_capability(&mut self, id: u8, body: &[u8]) -> Option<usize> {
        let at = self.free;
        let end = at.checked_add(2)?.checked_add(body.len())?;
        if end > SIZE {
            return None;
        }
        self.registers.set(at, &[id, 0]);
        self.registers.set(at + 2, body);
        self.registers
            .set(STATUS, &STATUS_CAPABILITIES.to_le_bytes());
        // CAST: It is less than SIZE.
        self.registers.set(self.link, &[at as u8]);
        self.link = at + 1;
        self.free = end.next_multiple_of(4);
        Some(at)
    }

    /// Lets the guest write bits of a capability.
    pub fn allow(&mut self, at: usize, mask: &[u8]) {
        self.registers.allow(at, mask);
    }

    /// What is at `at`, in little-endian order.
    pub fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        self.registers.get(at)
    }

    /// Where the function's registers are, if it answers.
    pub fn bar(&self) -> Option<u64> {
        let command = u16::from_le_bytes(self.get(COMMAND));
        let base = u32::from_le_bytes(self.get(BAR0));
        (command & COMMAND_MEMORY != 0).then_some(base.into())
    }

    /// The guest reads.
    pub fn read(&self, at: u64, data: &mut [u8]) {
        self.registers.read(at, data);
    }

    /// The guest writes.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        self.registers.write(at, data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn config() -> Config {
        let identity = Identity {
            vendor: 0x1af4,
            device: 0x1042,
            revision: 1,
            class: [0, 0x80, 0x01],
        };
        Config::new(identity, 0x8000)
    }

    fn word(config: &Config, at: u64) -> u32 {
        let mut data = [0; 4];
        config.read(at, &mut data);
        u32::from_le_bytes(data)
    }

    #[test]
    fn header() {
        let mut config = config();
        assert_eq!(word(&config, 0x00), 0x1042_1af4);
        assert_eq!(word(&config, 0x04), 0);
        assert_eq!(word(&config, 0x08), 0x0180_0001);
        assert_eq!(word(&config, 0x0c), 0);
        assert_eq!(word(&config, 0x2c), 0x1042_1af4);
        // No interrupt pin.
        config.write(0x3c, &[0xff; 4]);
        assert_eq!(word(&config, 0x3c), 0xff);
        for at in [0x00, 0x08, 0x0c, 0x14, 0x24, 0x2c, 0x30, 0x34, 0x38] {
            let before = word(&config, at);
            config.write(at, &[0xff; 4]);
            assert_eq!(word(&config, at), before, "{at:#x}");
        }
        config.write(0x04, &[0xff; 4]);
        assert_eq!(word(&config, 0x04), 0x0406);
    }

    #[test]
    fn the_bar_tells_its_size_and_keeps_its_place() {
        let mut config = config();
        config.write(0x10, &[0xff; 4]);
        assert_eq!(word(&config, 0x10), 0xffff_8000);
        config.write(0x10, &0x2101_2345_u32.to_le_bytes());
        assert_eq!(word(&config, 0x10), 0x2101_0000);
        assert_eq!(config.bar(), None);
        config.write(0x04, &[2, 0]);
        assert_eq!(config.bar(), Some(0x2101_0000));
        config.write(0x04, &[4, 0]);
        assert_eq!(config.bar(), None);
    }

    /// The list as software walks it: where each is, and its ID.
    fn list(config: &Config) -> Vec<(usize, u8)> {
        let mut all = Vec::new();
        let [mut at] = config.get(0x34);
        while at != 0 {
            let [id, next] = config.get(at.into());
            all.push((usize::from(at), id));
            at = next;
        }
        all
    }

    #[test]
    fn capabilities_are_a_list() {
        let mut config = config();
        assert_eq!(list(&config), []);
        assert_eq!(config.add_capability(0x09, &[5; 13]), Some(0x40));
        assert_eq!(word(&config, 0x04), 0x0010_0000);
        assert_eq!(config.add_capability(0x11, &[6; 10]), Some(0x50));
        assert_eq!(list(&config), [(0x40, 9), (0x50, 0x11)]);
        assert_eq!(config.get(0x42), [5; 13]);
        assert_eq!(config.get(0x4f), [0]);
        assert_eq!(config.get(0x52), [6; 10]);
    }

    proptest! {
        #[test]
        fn capabilities_fit_or_are_refused(sizes in prop::collection::vec(0..300_usize, 0..40)) {
            let mut config = config();
            let (mut added, mut end) = (Vec::new(), 0x40);
            for (n, size) in sizes.iter().enumerate() {
                let body = vec![0xaa; *size];
                match config.add_capability(n as u8 + 1, &body) {
                    Some(at) => {
                        prop_assert!(at >= end && at % 4 == 0);
                        end = at + 2 + size;
                        added.push((at, n as u8 + 1));
                    }
                    None => prop_assert!(end.next_multiple_of(4) + 2 + size > SIZE),
                }
            }
            prop_assert!(end <= SIZE);
            prop_assert_eq!(list(&config), added);
        }
    }
}
