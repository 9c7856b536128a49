// SPDX-License-Identifier: GPL-2.0

//! Any accesses to configuration space and BAR 0. Whatever they are, the function comes back, is what
//! it was, and its device is as good as new after a reset.

use proptest::prelude::*;
use vm_memory::{Bytes, GuestAddress};

use super::driver::{BASE, BYTES, DATA, EVENT_IDX, VERSION_1, WRITE};
use super::function::Slot;
use crate::bus::Mmio;
use crate::layout::{PCI_WINDOW, PCI_WINDOW_SIZE};
use crate::pci::Function;
use crate::virtio::pci::SIZE;
use crate::virtio::rng::Rng;

#[derive(Debug, Clone, Copy)]
enum Step {
    ReadConfig(u64, usize),
    WriteConfig(u64, u64, usize),
    Read(u64, usize),
    Write(u64, u64, usize),
    Poke(u64, u64),
    GoOn,
}

fn step() -> impl Strategy<Value = Step> {
    let width = || prop::sample::select(vec![1_usize, 2, 4, 8]);
    let value = || {
        prop_oneof![
            8 => 0..16_u64,
            2 => DATA - 0x1_0000..DATA,
            2 => PCI_WINDOW..PCI_WINDOW + PCI_WINDOW_SIZE,
            1 => any::<u64>(),
        ]
    };
    let config = || prop_oneof![8 => 0..0x100_u64, 1 => 0..0x1000_u64, 1 => any::<u64>()];
    let bar = || {
        prop_oneof![
            8 => 0..0x38_u64,
            4 => (0..8_u64, 0..0x40_u64).prop_map(|(part, at)| part * 0x1000 + at),
            1 => 0..SIZE + 8,
            1 => any::<u64>(),
        ]
    };
    prop_oneof![
        (config(), width()).prop_map(|(at, width)| Step::ReadConfig(at, width)),
        (config(), value(), width())
            .prop_map(|(at, value, width)| Step::WriteConfig(at, value, width)),
        (bar(), width()).prop_map(|(at, width)| Step::Read(at, width)),
        (bar(), value(), width()).prop_map(|(at, value, width)| Step::Write(at, value, width)),
        (0..0x4000_u64, any::<u64>()).prop_map(|(at, value)| Step::Poke(at * 2, value)),
        Just(Step::GoOn),
    ]
}

fn take(slot: &mut Slot<Rng>, step: Step) {
    match step {
        Step::ReadConfig(at, width) => slot.function.read_config(at, &mut [0; 8][..width]),
        Step::WriteConfig(at, value, width) => {
            slot.function
                .write_config(at, &value.to_le_bytes()[..width]);
        }
        Step::Read(at, width) => slot.function.read(at, &mut [0; 8][..width]),
        Step::Write(at, value, width) => slot.function.write(at, &value.to_le_bytes()[..width]),
        Step::Poke(at, value) => {
            assert!(at + 8 <= BYTES as u64);
            let at = GuestAddress(BASE + at);
            slot.memory.write_slice(&value.to_le_bytes(), at).unwrap();
        }
        Step::GoOn => slot.function.go_on(),
    }
}

/// All that the guest may not change: the identity, and the capabilities apart from their few
/// writable words.
fn fixed(slot: &mut Slot<Rng>) -> Vec<u8> {
    let mut bytes = vec![0; 256];
    slot.function.read_config(0, &mut bytes);
    bytes[0x04..0x06].fill(0);
    bytes[0x10..0x14].fill(0);
    bytes[0x3c] = 0;
    let mut at = usize::from(bytes[0x34]);
    while at != 0 {
        match (bytes[at], bytes[at + 3]) {
            (0x11, _) => bytes[at + 3] = 0,
            (9, 5) => {
                bytes[at + 4] = 0;
                bytes[at + 8..at + 20].fill(0);
            }
            _ => {}
        }
        at = usize::from(bytes[at + 1]);
    }
    bytes
}

proptest! {
    #[test]
    fn any_accesses(started: bool, steps in prop::collection::vec(step(), 0..96)) {
        let mut slot = Slot::new(Rng::new().unwrap());
        let before = fixed(&mut slot);
        if started {
            slot.start(VERSION_1 | EVENT_IDX);
        }
        for step in steps {
            take(&mut slot, step);
        }
        prop_assert_eq!(fixed(&mut slot), before);
        let base = slot.place.base().unwrap_or(PCI_WINDOW);
        prop_assert!(base >= PCI_WINDOW && base + SIZE <= PCI_WINDOW + PCI_WINDOW_SIZE);
        prop_assert_eq!(base % SIZE, 0);

        slot.start(VERSION_1);
        slot.request(0, (DATA, 16, WRITE, 0), 1);
        prop_assert_eq!(slot.done(0), 1);
        prop_assert!(slot.function.fault().is_none());
    }
}
