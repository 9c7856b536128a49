// SPDX-License-Identifier: GPL-2.0

//! The PCI transport, as a driver sees it: by configuration space, BAR 0 and messages.

use std::io;

use vm_memory::{Bytes, GuestAddress};
use vmm_sys_util::tempfile::TempFile;

use super::driver::{
    available,
    described,
    descriptors,
    used,
    DATA,
    EVENT_IDX,
    NEXT,
    SIZE,
    VERSION_1,
    WRITE, //
};
use super::function::*;
use crate::layout::PCI_WINDOW;
use crate::pci::Function;
use crate::virtio::block::Block;
use crate::virtio::console::{Console, Typed};
use crate::virtio::queue::Error;
use crate::virtio::rng::Rng;

fn rng() -> Slot<Rng> {
    Slot::new(Rng::new().unwrap())
}

#[test]
fn the_function_says_what_it_is() {
    let mut rng = rng();
    // Entropy source: device 4.
    assert_eq!(rng.config::<4>(0x00), 0x1044_1af4);
    assert_eq!(rng.config::<4>(0x08), 0xff00_0001);
    assert_eq!(rng.config::<1>(0x3d), 0);
    let file = TempFile::new().unwrap();
    file.as_file().set_len(3 << 10).unwrap();
    let mut disk = Slot::new(Block::open(file.as_path(), false).unwrap());
    assert_eq!(disk.config::<4>(0x00), 0x1042_1af4);
    assert_eq!(disk.config::<4>(0x08), 0x0180_0001);
    // Its size in sectors.
    assert_eq!(disk.read::<4>(0x2000), 6);
}

#[test]
fn each_part_has_a_capability() {
    let mut rng = rng();
    let ids: Vec<_> = rng.capabilities().iter().map(|(_, id)| *id).collect();
    assert_eq!(ids, [9, 9, 9, 9, 0x11]);
    for (kind, length, offset, size) in [(1, 16, 0, 56), (2, 20, 0x3000, 4), (3, 16, 0x1000, 1)] {
        let at = rng.part(kind).unwrap();
        assert_eq!(rng.config::<1>(at + 2), length, "{kind}");
        assert_eq!(rng.config::<1>(at + 4), 0);
        assert_eq!(rng.config::<4>(at + 8), offset);
        assert_eq!(rng.config::<4>(at + 12), size);
    }
    let notify = rng.part(2).unwrap();
    assert_eq!(rng.config::<4>(notify + 16), 4);
    // It has no configuration of its own; a disk has.
    assert_eq!(rng.part(4), None);
    let file = TempFile::new().unwrap();
    let mut disk = Slot::new(Block::open(file.as_path(), false).unwrap());
    let at = disk.part(4).unwrap();
    assert_eq!(
        (disk.config::<4>(at + 8), disk.config::<4>(at + 12)),
        (0x2000, 16)
    );
}

#[test]
fn the_bar_is_where_the_guest_puts_it_inside_the_window() {
    let mut rng = rng();
    rng.write_config::<4>(0x10, PCI_WINDOW + 0x8000);
    assert_eq!(rng.place.base(), None);
    rng.write_config::<2>(0x04, 2);
    assert_eq!(rng.place.base(), Some(PCI_WINDOW + 0x8000));
    for (bar, place) in [
        (PCI_WINDOW, Some(PCI_WINDOW)),
        (PCI_WINDOW + 0xff_8000, Some(PCI_WINDOW + 0xff_8000)),
        (PCI_WINDOW - 0x8000, None),
        (PCI_WINDOW + 0x100_0000, None),
        (0x4000_0000, None),
        (0, None),
    ] {
        rng.write_config::<4>(0x10, bar);
        assert_eq!(rng.place.base(), place, "{bar:#x}");
    }
}

#[test]
fn registers_of_the_common_configuration() {
    let mut console = Slot::new(Console::new(Box::new(io::sink())));
    assert_eq!(console.read::<2>(QUEUES), 2);
    assert_eq!(console.read::<4>(FEATURE), 1 << 29);
    console.write::<4>(FEATURE_SELECT, 1);
    // VERSION_1 and ACCESS_PLATFORM.
    assert_eq!(console.read::<4>(FEATURE), 0b11);
    console.write::<4>(FEATURE_SELECT, 2);
    assert_eq!(console.read::<4>(FEATURE), 0);
    for (queue, size) in [(0, 64), (1, 64), (2, 0), (0xffff, 0)] {
        console.write::<2>(QUEUE_SELECT, queue);
        assert_eq!(console.read::<2>(QUEUE_SIZE), size);
        assert_eq!(console.read::<2>(QUEUE_NOTIFY_OFF), queue);
        assert_eq!(console.read::<2>(QUEUE_VECTOR), 0xffff);
        assert_eq!(console.read::<2>(QUEUE_ENABLE), 0);
    }
    // As many vectors as queues, and one more.
    console.write::<2>(QUEUE_SELECT, 1);
    for (vector, kept) in [(2, 2), (3, 0xffff), (1, 1), (0xffff, 0xffff)] {
        console.write::<2>(QUEUE_VECTOR, vector);
        assert_eq!(console.read::<2>(QUEUE_VECTOR), kept);
        console.write::<2>(CONFIG_VECTOR, vector);
        assert_eq!(console.read::<2>(CONFIG_VECTOR), kept);
    }
    // Another width is no register.
    assert_eq!(console.read::<4>(QUEUES), 0);
    console.write::<4>(QUEUE_VECTOR, 1);
    assert_eq!(console.read::<2>(QUEUE_VECTOR), 0xffff);
    console.start(VERSION_1);
    console.write::<2>(QUEUE_SELECT, 1);
    assert_eq!(console.read::<4>(QUEUE_DESC), descriptors(1) & 0xffff_ffff);
    assert_eq!(console.read::<4>(QUEUE_DESC + 4), descriptors(1) >> 32);
    assert_eq!(console.read::<4>(QUEUE_AVAIL + 4), available(1) >> 32);
    assert_eq!(console.read::<4>(QUEUE_USED), used(1) & 0xffff_ffff);
    // What is ready stays where it is, and ready.
    console.write::<4>(QUEUE_DESC, 0);
    console.write::<2>(QUEUE_ENABLE, 0);
    assert_eq!(console.read::<4>(QUEUE_DESC), descriptors(1) & 0xffff_ffff);
    assert_eq!(console.read::<2>(QUEUE_ENABLE), 1);
    // After a reset all is as at first.
    console.write::<1>(STATUS, 0);
    console.write::<2>(QUEUE_SELECT, 1);
    assert_eq!(console.read::<2>(QUEUE_SIZE), 64);
    assert_eq!(console.read::<4>(QUEUE_DESC), 0);
    assert_eq!(console.read::<2>(CONFIG_VECTOR), 0xffff);
}

#[test]
fn an_answer_is_a_message_of_its_queue() {
    let mut console = Slot::new(Console::new(Box::new(io::sink())));
    console.messages_on();
    console.start(VERSION_1);
    console.request(1, (DATA, 16, 0, 0), 1);
    assert_eq!((console.done(1), console.sent()), (1, vec![2]));
    assert_eq!(console.function.input(b"x"), 1);
    assert_eq!(console.sent(), [0; 0]);
    console.request(0, (DATA, 16, WRITE, 0), 1);
    assert_eq!((console.done(0), console.sent()), (1, vec![1]));
    assert_eq!((console.read::<1>(ISR), console.read::<1>(ISR)), (1, 0));
    // A driver without messages finds nothing but that.
    console.start(VERSION_1);
    console.write::<2>(QUEUE_SELECT, 1);
    console.write::<2>(QUEUE_VECTOR, 0xffff);
    console.request(1, (DATA, 16, 0, 0), 1);
    assert_eq!((console.done(1), console.sent()), (1, vec![]));
    assert_eq!(console.read::<1>(ISR), 1);
}

#[test]
fn a_masked_vector_tells_later() {
    let mut rng = rng();
    rng.messages_on();
    rng.start(VERSION_1);
    rng.write::<4>(TABLE + 16 + 12, 1);
    rng.request(0, (DATA, 16, WRITE, 0), 1);
    assert_eq!((rng.done(0), rng.sent()), (1, vec![]));
    assert_eq!(rng.read::<8>(0x5000), 0b10);
    rng.write::<4>(TABLE + 16 + 12, 0);
    assert_eq!(rng.sent(), [1]);
    assert_eq!(rng.read::<8>(0x5000), 0);
}

#[test]
fn a_driver_that_breaks_the_rules_is_told() {
    let mut rng = rng();
    rng.messages_on();
    rng.start(VERSION_1);
    rng.request(0, (0, 16, WRITE, 0), 1);
    assert_eq!(rng.read::<1>(STATUS), 0x4f);
    assert_eq!(rng.sent(), [0]);
    assert_eq!(rng.read::<1>(ISR), 2);
    assert!(matches!(
        rng.function.fault(),
        Some(Error::Ring(_) | Error::Endless)
    ));
    rng.start(VERSION_1);
    rng.request(0, (DATA, 16, WRITE, 0), 1);
    assert_eq!((rng.done(0), rng.sent()), (1, vec![1]));
}

#[test]
fn what_is_too_much_for_once_is_done_later() {
    let mut rng = rng();
    rng.messages_on();
    rng.start(VERSION_1);
    // A request of 7 MiB, eight times: three of them are enough for once.
    for index in 1..SIZE {
        let next = if index + 1 < SIZE { NEXT } else { 0 };
        let at = GuestAddress(descriptors(0) + u64::from(index) * 16);
        let part = described((DATA, 7 << 17, WRITE | next, index + 1));
        rng.memory.write_slice(&part, at).unwrap();
    }
    rng.request(0, (DATA, 7 << 17, WRITE | NEXT, 1), 8);
    for (done, later) in [(3, 1), (6, 2), (8, 2)] {
        assert_eq!(rng.done(0), done);
        assert_eq!(*rng.later.lock().unwrap(), later);
        assert_eq!(rng.sent(), [1]);
        rng.function.go_on();
    }
    assert_eq!((rng.done(0), rng.sent()), (8, vec![]));
    // However often the driver tells, one call is on its way at most.
    rng.start(VERSION_1 | EVENT_IDX);
    rng.function.go_on();
    assert_eq!((rng.done(0), *rng.later.lock().unwrap()), (0, 2));
}

#[test]
fn registers_by_way_of_configuration_space() {
    let mut rng = rng();
    let at = rng.part(5).unwrap();
    assert_eq!(rng.config::<1>(at + 2), 20);
    let select = |rng: &mut Slot<Rng>, bar, offset, length| {
        rng.write_config::<1>(at + 4, bar);
        rng.write_config::<4>(at + 8, offset);
        rng.write_config::<4>(at + 12, length);
    };
    select(&mut rng, 0, QUEUES, 2);
    assert_eq!(rng.config::<4>(at + 16), 1);
    select(&mut rng, 0, CONFIG_VECTOR, 2);
    rng.write_config::<4>(at + 16, 1);
    assert_eq!(rng.read::<2>(CONFIG_VECTOR), 1);
    // Another BAR, another width, unaligned.
    for (bar, offset, length) in [(1, CONFIG_VECTOR, 2), (0, CONFIG_VECTOR, 3), (0, 0xf, 2)] {
        select(&mut rng, bar, offset, length);
        assert_eq!(rng.config::<4>(at + 16), 0);
        rng.write_config::<4>(at + 16, 0);
        assert_eq!(rng.read::<2>(CONFIG_VECTOR), 1);
    }
}
