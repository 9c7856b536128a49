// SPDX-License-Identifier: GPL-2.0

//! Bytes of which a guest can write some bits.

/// Bytes, and for each the bits that the guest can write. Reads and writes may be of any width, at
/// any place: what is beyond the end reads as zeros, and ignores writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registers {
    bytes: Vec<u8>,
    writable: Vec<u8>,
}

impl Registers {
    /// `size` zeros that the guest can only read.
    pub fn new(size: usize) -> Self {
        Self {
            bytes: vec![0; size],
            writable: vec![0; size],
        }
    }

    /// How many bytes there are.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Sets what is at `at`, whatever the guest may write.
    pub fn set(&mut self, at: usize, value: &[u8]) {
        for (to, from) in self.bytes.iter_mut().skip(at).zip(value) {
            *to = *from;
        }
    }

    /// Lets the guest write the bits of `mask` at `at`.
    pub fn allow(&mut self, at: usize, mask: &[u8]) {
        for (to, from) in self.writable.iter_mut().skip(at).zip(mask) {
            *to |= *from;
        }
    }

    /// What is at `at`, in little-endian order.
    pub fn get<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut value = [0; N];
        for (to, from) in value.iter_mut().zip(self.bytes.iter().skip(at)) {
            *to = *from;
        }
        value
    }

    /// The guest reads.
    pub fn read(&self, at: u64, data: &mut [u8]) {
        data.fill(0);
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        for (to, from) in data.iter_mut().zip(self.bytes.iter().skip(at)) {
            *to = *from;
        }
    }

    /// The guest writes.
    pub fn write(&mut self, at: u64, data: &[u8]) {
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        let all = self.bytes.iter_mut().zip(&self.writable);
        for ((to, mask), from) in all.skip(at).zip(data) {
            *to = (*to & !mask) | (from & mask);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_allowed_bits_change() {
        let mut registers = Registers::new(4);
        registers.set(0, &[0x12, 0x34, 0x56]);
        registers.allow(1, &[0xf0, 0x01]);
        registers.write(0, &[0xff; 8]);
        assert_eq!(registers.get(0), [0x12, 0xf4, 0x57, 0]);
        registers.write(1, &[0]);
        let mut data = [0xaa; 6];
        registers.read(1, &mut data);
        assert_eq!(data, [0x04, 0x57, 0, 0, 0, 0]);
        registers.read(u64::MAX, &mut data);
        assert_eq!(data, [0; 6]);
    }

    proptest! {
        #[test]
        fn a_write_is_what_is_read_and_nothing_else_changes(
            at in prop_oneof![0..20_u64, any::<u64>()],
            data in prop::collection::vec(any::<u8>(), 0..9),
            mask in prop::collection::vec(any::<u8>(), 16),
            before in prop::collection::vec(any::<u8>(), 16),
        ) {
            let mut registers = Registers::new(16);
            registers.set(0, &before);
            registers.allow(0, &mask);
            registers.write(at, &data);
            let after: [u8; 16] = registers.get(0);
            for n in 0..16 {
                let written = (n as u64).checked_sub(at).and_then(|i| data.get(i as usize));
                let wanted = match written {
                    Some(value) => (before[n] & !mask[n]) | (value & mask[n]),
                    None => before[n],
                };
                prop_assert_eq!(after[n], wanted);
            }
        }
    }
}
