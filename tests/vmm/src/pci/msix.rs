// SPDX-License-Identifier: GPL-2.0

//! Message-signalled interrupts: MSI-X (PCI Local Bus 3.0, 6.8.2).

use super::config::Config;
use super::registers::Registers;

/// ID of the capability.
const CAPABILITY: u8 = 0x11;
/// Message control, from the start of the capability.
const CONTROL: usize = 2;
const CONTROL_MASK: u16 = 1 << 14;
const CONTROL_ENABLE: u16 = 1 << 15;

/// Bytes of an entry of the table.
pub const ENTRY_SIZE: usize = 16;
/// Its last word: the vector is masked.
const ENTRY_CONTROL: usize = 12;
const ENTRY_MASK: u8 = 1;

/// A write to memory that means an interrupt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// Where to.
    pub address: u64,
    /// What.
    pub data: u32,
}

/// A function's vectors.
#[derive(Debug)]
pub struct Msix {
    /// Where the capability is in configuration space.
    capability: usize,
    table: Registers,
    /// Vectors that have something to tell, but are masked.
    pending: Vec<bool>,
}

impl Msix {
    /// Adds `vectors` (1 to 2048) of them to a function. The table and the pending bits are at these
    /// offsets in BAR 0, multiples of 8. None if its configuration space is full.
    pub fn new(config: &mut Config, vectors: u16, table: u32, pending: u32) -> Option<Self> {
        let mut body = [0; 10];
        body[..2].copy_from_slice(&(vectors - 1).to_le_bytes());
        body[2..6].copy_from_slice(&table.to_le_bytes());
        body[6..].copy_from_slice(&pending.to_le_bytes());
        let capability = config.add_capability(CAPABILITY, &body)?;
        let control = CONTROL_MASK | CONTROL_ENABLE;
        config.allow(capability + CONTROL, &control.to_le_bytes());

        let mut table = Registers::new(usize::from(vectors) * ENTRY_SIZE);
        for entry in (0..table.size()).step_by(ENTRY_SIZE) {
            table.allow(entry, &[0xfc, 0xff, 0xff, 0xff]);
            table.allow(entry + 4, &[0xff; 8]);
            table.allow(entry + ENTRY_CONTROL, &[ENTRY_MASK]);
            table.set(entry + ENTRY_CONTROL, &[ENTRY_MASK]);
        }
        Some(Self {
            capability,
            table,
            pending: vec![false; vectors.into()],
        })
    }

    /// How many vectors there are.
    pub fn vectors(&self) -> usize {
        self.pending.len()
    }

    /// Interrupts by vector number `vector`: the message to send now. If the vector is masked it is
    /// pending, until [`Self::due`] has it; if there is none, or they are off, nobody is told.
    pub fn trigger(&mut self, config: &Config, vector: u16) -> Option<Message> {
        let control = self.control(config);
        let pending = self.pending.get_mut(usize::from(vector))?;
        if control & CONTROL_ENABLE == 0 {
            return None;
        }
        *pending = true;
        self.take(control, vector.into())
    }

    /// The messages of pending vectors that are not masked any more: to ask for after a write to the
    /// table or to configuration space.
    pub fn due(&mut self, config: &Config) -> Vec<Message> {
        let control = self.control(config);
        let all = 0..self.pending.len();
        all.filter_map(|vector| self.take(control, vector))
            .collect()
    }

    fn take(&mut self, control: u16, vector: usize) -> Option<Message> {
        let entry = vector * ENTRY_SIZE;
        let [masked] = self.table.get(entry + ENTRY_CONTROL);
        let off = control & (CONTROL_ENABLE | CONTROL_MASK) != CONTROL_ENABLE;
        if off || masked & ENTRY_MASK != 0 || !std::mem::take(self.pending.get_mut(vector)?) {
            return None;
        }
        Some(Message {
            address: u64::from_le_bytes(self.table.get(entry)),
            data: u32::from_le_bytes(self.table.get(entry + 8)),
        })
    }

    fn control(&self, config: &Config) -> u16 {
        u16::from_le_bytes(config.get(self.capability + CONTROL))
    }

    /// The guest reads the table.
    pub fn read_table(&self, at: u64, data: &mut [u8]) {
        self.table.read(at, data);
    }

    /// The guest writes the table.
    pub fn write_table(&mut self, at: u64, data: &[u8]) {
        self.table.write(at, data);
    }

    /// The guest reads the pending bits.
    pub fn read_pending(&self, at: u64, data: &mut [u8]) {
        let mut bits = Registers::new(self.pending.len().div_ceil(64) * 8);
        for (n, eight) in self.pending.chunks(8).enumerate() {
            let byte = eight
                .iter()
                .rev()
                .fold(0, |all, bit| all << 1 | u8::from(*bit));
            bits.set(n, &[byte]);
        }
        bits.read(at, data);
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::Identity;
    use super::*;
    use proptest::prelude::*;

    const CAP: u64 = 0x40;

    fn new(vectors: u16) -> (Config, Msix) {
        let identity = Identity {
            vendor: 1,
            device: 2,
            revision: 0,
            class: [0; 3],
        };
        let mut config = Config::new(identity, 0x8000);
        let msix = Msix::new(&mut config, vectors, 0x4000, 0x5000).unwrap();
        (config, msix)
    }

    fn message(n: u32) -> Message {
        Message {
            address: 0x1_0808_0040 + u64::from(n) * 4,
            data: 7 + n,
        }
    }

    fn fill(msix: &mut Msix, vector: u32, masked: bool) {
        let Message { address, data } = message(vector);
        let entry = u64::from(vector) * 16;
        msix.write_table(entry, &address.to_le_bytes());
        msix.write_table(entry + 8, &data.to_le_bytes());
        msix.write_table(entry + 12, &u32::from(masked).to_le_bytes());
    }

    fn pending(msix: &Msix) -> u64 {
        let mut bits = [0; 8];
        msix.read_pending(0, &mut bits);
        u64::from_le_bytes(bits)
    }

    #[test]
    fn capability() {
        let (mut config, msix) = new(3);
        assert_eq!(config.get(0x40), [0x11, 0, 2, 0]);
        assert_eq!(config.get(0x44), 0x4000_u32.to_le_bytes());
        assert_eq!(config.get(0x48), 0x5000_u32.to_le_bytes());
        config.write(CAP, &[0xff; 12]);
        assert_eq!(config.get(0x40), [0x11, 0, 2, 0xc0]);
        assert_eq!(config.get(0x44), 0x4000_u32.to_le_bytes());
        assert_eq!(msix.vectors(), 3);
    }

    #[test]
    fn table_after_reset_and_when_written() {
        let (_, mut msix) = new(2);
        let mut entry = [0xaa; 16];
        msix.read_table(16, &mut entry);
        assert_eq!(entry, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]);
        for at in [0, 4, 8, 12] {
            msix.write_table(16 + at, &[0xff; 4]);
        }
        msix.read_table(16, &mut entry);
        let mut wanted = [0xff; 16];
        wanted[0] = 0xfc;
        wanted[12..].copy_from_slice(&[1, 0, 0, 0]);
        assert_eq!(entry, wanted);
        msix.read_table(32, &mut entry);
        assert_eq!(entry, [0; 16]);
    }

    #[test]
    fn a_message_is_what_the_table_says() {
        let (mut config, mut msix) = new(2);
        fill(&mut msix, 0, false);
        fill(&mut msix, 1, false);
        // Off: lost.
        assert_eq!(msix.trigger(&config, 1), None);
        config.write(CAP + 2, &[0, 0x80]);
        assert_eq!(msix.due(&config), []);
        assert_eq!(msix.trigger(&config, 0), Some(message(0)));
        assert_eq!(msix.trigger(&config, 1), Some(message(1)));
        for none in [2, 0x7ff, u16::MAX] {
            assert_eq!(msix.trigger(&config, none), None);
        }
        assert_eq!(pending(&msix), 0);
    }

    #[test]
    fn masked_ones_wait() {
        let (mut config, mut msix) = new(3);
        for vector in 0..3 {
            fill(&mut msix, vector, vector == 1);
        }
        config.write(CAP + 2, &[0, 0x80]);
        assert_eq!(msix.trigger(&config, 1), None);
        assert_eq!(msix.trigger(&config, 1), None);
        assert_eq!(pending(&msix), 0b010);
        // All at once.
        config.write(CAP + 2, &[0, 0xc0]);
        assert_eq!(msix.trigger(&config, 2), None);
        assert_eq!(pending(&msix), 0b110);
        fill(&mut msix, 1, false);
        assert_eq!(msix.due(&config), []);
        config.write(CAP + 2, &[0, 0x80]);
        // Each once, however often it was.
        assert_eq!(msix.due(&config), [message(1), message(2)]);
        assert_eq!(msix.due(&config), []);
        assert_eq!(pending(&msix), 0);
    }

    #[test]
    fn pending_bits_of_many() {
        let (mut config, mut msix) = new(70);
        config.write(CAP + 2, &[0, 0x80]);
        for vector in [0, 9, 63, 69] {
            assert_eq!(msix.trigger(&config, vector), None);
        }
        let mut bits = [0; 16];
        msix.read_pending(0, &mut bits);
        let wanted = (1_u128 << 0) | (1 << 9) | (1 << 63) | (1 << 69);
        assert_eq!(u128::from_le_bytes(bits), wanted);
        msix.read_pending(16, &mut bits);
        assert_eq!(bits, [0; 16]);
    }

    proptest! {
        /// Nothing is lost and nothing invented, whatever is masked when.
        #[test]
        fn each_trigger_arrives_once_unmasked(
            steps in prop::collection::vec((0..3_u16, any::<bool>(), any::<bool>()), 0..64),
        ) {
            let (mut config, mut msix) = new(3);
            (0..3).for_each(|vector| fill(&mut msix, vector, false));
            config.write(CAP + 2, &[0, 0x80]);
            let (mut waiting, mut masked) = ([false; 3], [false; 3]);
            for (vector, trigger, mask) in steps {
                let n = usize::from(vector);
                if trigger {
                    let sent = msix.trigger(&config, vector);
                    prop_assert_eq!(sent.is_some(), !masked[n]);
                    waiting[n] = masked[n];
                } else {
                    masked[n] = mask;
                    fill(&mut msix, vector.into(), mask);
                    let due = msix.due(&config);
                    let wanted = !mask && std::mem::take(&mut waiting[n] );
                    if mask && !wanted { prop_assert!(due.is_empty()); }
                    prop_assert_eq!(due.len(), usize::from(wanted));
                }
            }
        }
    }
}
