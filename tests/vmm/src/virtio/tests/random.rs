// SPDX-License-Identifier: GPL-2.0

//! Any register writes, any rings. Whatever they are, the device comes back, and is as good as new
//! after a reset.

use std::io;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use virtio_bindings::virtio_mmio::*;
use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::tempfile::TempFile;

use super::driver::{
    available,
    used,
    Described,
    Driver,
    Part,
    BASE,
    BYTES,
    DATA,
    END,
    EVENT_IDX,
    INDIRECT,
    NEXT,
    OK,
    SIZE,
    VERSION_1,
    WRITE, //
};
use crate::bus::Mmio;
use crate::virtio::block::Block;
use crate::virtio::console::{Console, Typed};
use crate::virtio::rng::Rng;
use crate::virtio::Device;

fn block() -> Block {
    let file = TempFile::new().unwrap();
    file.as_file().set_len(64 << 10).unwrap();
    Block::open(file.as_path(), false).unwrap()
}

fn console() -> Console {
    Console::new(Box::new(io::sink()))
}

/// The guest's whole memory apart from the data, as words of which few are not zero.
fn words() -> impl Strategy<Value = Vec<(u16, u16)>> {
    prop::collection::vec((0..0x8000_u16, any::<u16>()), 0..64)
}

/// Addresses of interest: in the memory, around its ends, and anywhere.
fn address() -> impl Strategy<Value = u64> {
    prop_oneof![
        8 => BASE..END,
        4 => (0..64_u64).prop_map(|n| DATA + n * 16),
        1 => END - 64..END + 64,
        1 => BASE - 64..BASE + 64,
        1 => any::<u64>(),
    ]
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![
        8 => 0..64_u32,
        4 => (0..8_u32).prop_map(|n| n * 512),
        2 => 0..BYTES as u32,
        1 => any::<u32>(),
    ]
}

fn descriptor() -> impl Strategy<Value = Described> {
    let flags = prop_oneof![
        Just(0),
        Just(WRITE),
        Just(NEXT),
        Just(NEXT | WRITE),
        Just(INDIRECT),
        any::<u16>(),
    ];
    let next = prop_oneof![4 => 0..SIZE, 1 => any::<u16>()];
    (address(), length(), flags, next)
}

/// A ring: descriptors, heads, and the index that says how many heads there are.
#[derive(Debug, Clone)]
struct Ring {
    descriptors: Vec<Described>,
    heads: Vec<u16>,
    index: u16,
    words: Vec<(u16, u16)>,
}

fn ring() -> impl Strategy<Value = Ring> {
    (
        prop::collection::vec(descriptor(), 0..=usize::from(SIZE)),
        prop::collection::vec(
            prop_oneof![8 => 0..SIZE, 1 => any::<u16>()],
            usize::from(SIZE),
        ),
        prop_oneof![16 => 0..=SIZE, 1 => any::<u16>()],
        words(),
    )
        .prop_map(|(descriptors, heads, index, words)| Ring {
            descriptors,
            heads,
            index,
            words,
        })
}

fn fill<D: Device>(driver: &Driver<D>, queue: u32, ring: &Ring) {
    // Data as well: headers of requests, and indirect tables.
    for (at, word) in &ring.words {
        let at = GuestAddress(DATA + u64::from(*at % 0x200) * 2);
        driver.memory.write_obj(*word, at).unwrap();
    }
    for (index, descriptor) in ring.descriptors.iter().enumerate() {
        driver.describe(queue, index as u16, *descriptor);
    }
    for (slot, head) in ring.heads.iter().enumerate() {
        let at = GuestAddress(available(queue) + 4 + slot as u64 * 2);
        driver.memory.write_obj(*head, at).unwrap();
    }
    driver.set_available(queue, ring.index);
}

fn used_index<D: Device>(driver: &Driver<D>, queue: u32) -> u16 {
    driver
        .memory
        .read_obj(GuestAddress(used(queue) + 2))
        .unwrap()
}

/// A device with such a ring gives back no more than it got, says so when it gives up, and works
/// again after a reset.
fn survives_ring<D: Device>(device: D, queue: u32, event_idx: bool, ring: &Ring, good: &[Part]) {
    let mut driver = Driver::new(device);
    driver.start(if event_idx {
        VERSION_1 | EVENT_IDX
    } else {
        VERSION_1
    });
    fill(&driver, queue, ring);

    driver.notify(queue);
    // A request may well have been for the rings themselves, after which all is possible.
    driver.write(VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING);
    driver.notify(queue);
    assert_eq!(driver.needs_reset(), driver.transport.fault().is_some());
    if driver.needs_reset() {
        let before = used_index(&driver, queue);
        driver.notify(queue);
        assert_eq!(used_index(&driver, queue), before);
    }

    driver.start(VERSION_1);
    driver.put(DATA, &[0; 64]);
    driver.request(queue, good);
    assert!(driver.take(queue).is_some());
    assert!(!driver.needs_reset());
}

/// What a driver may do to the registers.
#[derive(Debug, Clone, Copy)]
enum Step {
    Read(u64, usize),
    Write(u64, u64, usize),
    /// A queue that is ready, at a random place.
    Place(u32, u64, u64, u64, u32),
    Poke(u64, u64),
}

fn register() -> impl Strategy<Value = u64> {
    let known = prop::sample::select(vec![
        VIRTIO_MMIO_DEVICE_FEATURES_SEL,
        VIRTIO_MMIO_DRIVER_FEATURES,
        VIRTIO_MMIO_DRIVER_FEATURES_SEL,
        VIRTIO_MMIO_QUEUE_SEL,
        VIRTIO_MMIO_QUEUE_NUM,
        VIRTIO_MMIO_QUEUE_READY,
        VIRTIO_MMIO_QUEUE_NOTIFY,
        VIRTIO_MMIO_INTERRUPT_ACK,
        VIRTIO_MMIO_STATUS,
        VIRTIO_MMIO_QUEUE_DESC_LOW,
        VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
        VIRTIO_MMIO_QUEUE_USED_LOW,
        VIRTIO_MMIO_CONFIG,
    ]);
    prop_oneof![8 => known.prop_map(u64::from), 2 => 0..0x200_u64, 1 => any::<u64>()]
}

fn step() -> impl Strategy<Value = Step> {
    let width = prop::sample::select(vec![1_usize, 2, 4, 4, 4, 4, 8]);
    let value = prop_oneof![8 => 0..16_u64, 1 => any::<u64>(), 1 => Just(u64::from(OK))];
    prop_oneof![
        1 => (register(), width.clone()).prop_map(|(at, width)| Step::Read(at, width)),
        8 => (register(), value, width).prop_map(|(at, value, width)| Step::Write(at, value, width)),
        1 => (0..3_u32, address(), address(), address(), 0..10_u32)
            .prop_map(|(queue, d, a, u, size)| Step::Place(queue, d & !15, a & !1, u & !3, size)),
        4 => ((0..0x4000_u64), any::<u64>()).prop_map(|(at, value)| Step::Poke(at * 2, value)),
    ]
}

fn take_step<D: Device>(driver: &mut Driver<D>, step: Step) {
    match step {
        Step::Read(at, width) => driver.transport.read(at, &mut [0; 8][..width]),
        Step::Write(at, value, width) => {
            driver.transport.write(at, &value.to_le_bytes()[..width]);
        }
        Step::Place(queue, descriptors, available, used, size) => {
            driver.place(queue);
            driver.write(VIRTIO_MMIO_QUEUE_NUM, 1 << size);
            for (register, address) in [
                (VIRTIO_MMIO_QUEUE_DESC_LOW, descriptors),
                (VIRTIO_MMIO_QUEUE_AVAIL_LOW, available),
                (VIRTIO_MMIO_QUEUE_USED_LOW, used),
            ] {
                driver.write(register, address as u32);
                driver.write(register + 4, (address >> 32) as u32);
            }
            driver.write(VIRTIO_MMIO_QUEUE_READY, 1);
        }
        Step::Poke(at, value) => driver.put(BASE + at, &value.to_le_bytes()),
    }
}

fn survives_steps<D: Device>(device: D, started: bool, steps: &[Step], good: &[Part]) {
    let mut driver = Driver::new(device);
    if started {
        driver.start(VERSION_1 | EVENT_IDX);
    }
    for step in steps {
        take_step(&mut driver, *step);
    }
    assert_eq!(driver.needs_reset(), driver.transport.fault().is_some());

    driver.start(VERSION_1);
    let last = driver.transport.core.device.queues().len() as u32 - 1;
    driver.put(DATA, &[0; 64]);
    driver.request(last, good);
    assert!(driver.take(last).is_some());
    assert!(!driver.needs_reset());
}

const TAKE: [Part; 1] = [Part::Take(DATA, 16)];
const GIVE: [Part; 1] = [Part::Give(DATA, 16)];
/// A read of no sectors.
const READ: [Part; 2] = [Part::Give(DATA, 16), Part::Take(DATA + 32, 1)];

proptest! {
    #[test]
    fn any_ring_of_the_rng(ring in ring(), event_idx: bool) {
        survives_ring(Rng::new().unwrap(), 0, event_idx, &ring, &TAKE);
    }

    #[test]
    fn any_ring_of_the_disk(ring in ring(), event_idx: bool) {
        survives_ring(block(), 0, event_idx, &ring, &READ);
    }

    #[test]
    fn any_ring_for_what_is_shown(ring in ring(), event_idx: bool) {
        survives_ring(console(), 1, event_idx, &ring, &GIVE);
    }

    #[test]
    fn any_ring_for_what_is_typed(ring in ring(), event_idx: bool) {
        let mut driver = Driver::new(console());
        driver.start(if event_idx { VERSION_1 | EVENT_IDX } else { VERSION_1 });
        driver.transport.input(&[b'x'; 1000]);
        fill(&driver, 0, &ring);
        driver.notify(0);
        driver.transport.input(b"more");
        assert_eq!(driver.needs_reset(), driver.transport.fault().is_some());
    }

    #[test]
    fn any_registers_of_the_rng(started: bool, steps in prop::collection::vec(step(), 0..64)) {
        survives_steps(Rng::new().unwrap(), started, &steps, &TAKE);
    }

    #[test]
    fn any_registers_of_the_disk(started: bool, steps in prop::collection::vec(step(), 0..64)) {
        survives_steps(block(), started, &steps, &READ);
    }

    #[test]
    fn any_registers_of_the_console(started: bool, steps in prop::collection::vec(step(), 0..64)) {
        survives_steps(console(), started, &steps, &GIVE);
    }
}

#[test]
fn the_random_rings_do_get_somewhere() {
    // Where the tests above would see nothing, because no ring is ever good.
    let mut runner = TestRunner::deterministic();
    let (mut served, mut stopped) = (0, 0);
    for _ in 0..200 {
        let ring = ring().new_tree(&mut runner).unwrap().current();
        let mut driver = Driver::started(Rng::new().unwrap());
        fill(&driver, 0, &ring);
        driver.notify(0);
        served += u32::from(driver.take(0).is_some());
        stopped += u32::from(driver.needs_reset());
    }
    assert!(served > 20 && stopped > 20, "{served} {stopped}");
}
