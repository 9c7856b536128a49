// SPDX-License-Identifier: GPL-2.0

//! Where everything is in the guest's address space.
//!
//! Interrupt controller and devices are below 1 GiB, memory is above. In a realm all of that is the
//! lower half of the IPA space, in which the same addresses with the top bit set mean shared
//! memory; a VMM only ever sees that bit in the addresses that drivers give to devices.

use std::ops::Range;

use crate::error::{Error, Result};

/// Bytes in a page of memory that is populated or converted.
pub const PAGE: u64 = 0x1000;

/// The GICv3's distributor.
pub const GICD: u64 = 0x0800_0000;
/// Bytes of it.
pub const GICD_SIZE: u64 = 0x1_0000;
/// The GICv3's interrupt translation service (ITS), to which devices on PCI send their messages.
pub const ITS: u64 = 0x0808_0000;
/// Bytes of it.
pub const ITS_SIZE: u64 = 0x2_0000;
/// The GICv3's redistributors, one after another.
pub const GICR: u64 = 0x1000_0000;
/// Bytes of one of them.
pub const GICR_SIZE: u64 = 0x2_0000;

/// The serial port, an ns16550a with one byte for each register.
pub const SERIAL: u64 = 0x0900_0000;
/// Bytes of it.
pub const SERIAL_SIZE: u64 = 8;
/// Its interrupt, as a number among the shared ones.
pub const SERIAL_IRQ: u32 = 0;

/// Where the guest says that it panicked.
pub const PVPANIC: u64 = 0x0901_0000;
/// Bytes of it.
pub const PVPANIC_SIZE: u64 = 2;

/// The first virtio device; others follow, each in a page of its own.
pub const VIRTIO: u64 = 0x0a00_0000;
/// Bytes of one.
pub const VIRTIO_SIZE: u64 = 0x200;
/// From one to the next.
pub const VIRTIO_STRIDE: u64 = PAGE;
/// The first one's interrupt; others follow.
pub const VIRTIO_IRQ: u32 = 16;
/// How many there can be; as many as a PCI bus has room for.
pub const VIRTIO_LIMIT: usize = 32;

/// The configuration spaces of the functions on the one PCI bus.
pub const PCI_ECAM: u64 = 0x2000_0000;
/// Bytes of them.
pub const PCI_ECAM_SIZE: u64 = 0x10_0000;
/// Where the guest puts the registers of functions.
pub const PCI_WINDOW: u64 = 0x2100_0000;
/// Bytes of that.
pub const PCI_WINDOW_SIZE: u64 = 0x100_0000;

/// Shared interrupts that the interrupt controller has.
pub const SHARED_IRQS: u32 = 64;

/// Interrupts that are a CPU's own begin with this one.
pub const OWN_IRQS: u32 = 16;
/// The interrupt of a CPU's PMU, which is one of these.
pub const PMU_IRQ: u32 = 23;

/// CPUs that a guest can have, as far as this layout goes.
pub const CPU_LIMIT: u64 = 512;

/// Memory.
pub const RAM: u64 = 0x4000_0000;
/// What its size is a multiple of, and what images are aligned to.
pub const RAM_UNIT: u64 = 0x20_0000;

/// Room for the device tree; Linux does not take a larger one.
pub const FDT_SIZE: u64 = 0x20_0000;

/// Smallest IPA width that KVM makes a VM with.
const IPA_BITS_MIN: u32 = 32;

/// The IPA width of a guest with `memory` bytes: its memory fits into the lower half.
pub fn ipa_bits(memory: u64) -> u32 {
    let last = RAM.saturating_add(memory).saturating_sub(1);
    (u64::BITS - last.leading_zeros() + 1).max(IPA_BITS_MIN)
}

/// The bit that says shared in a realm's addresses.
pub fn shared_bit(ipa_bits: u32) -> u64 {
    1 << (ipa_bits - 1)
}

/// What the hardware calls the CPU that KVM calls `id`.
pub fn mpidr(id: u64) -> u64 {
    (id & 0xf) | (((id >> 4) & 0xff) << 8) | (((id >> 12) & 0xff) << 16)
}

/// Address and interrupt of a virtio device.
pub fn virtio(number: usize) -> (u64, u32) {
    // There are no more than VIRTIO_LIMIT.
    let number = number as u32;
    (
        VIRTIO + u64::from(number) * VIRTIO_STRIDE,
        VIRTIO_IRQ + number,
    )
}

/// Where in memory the images are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Images {
    /// Where the kernel begins.
    pub kernel: u64,
    /// The device tree, as large as it may become.
    pub fdt: Range<u64>,
    /// The initial RAM disk; empty if there is none.
    pub initrd: Range<u64>,
}

/// The whole pages that have all of `range` in them, in which it may begin and end anywhere.
pub fn pages(range: &Range<u64>) -> Range<u64> {
    range.start - range.start % PAGE..range.end.next_multiple_of(PAGE)
}

/// Places a kernel that needs `kernel` bytes when it runs, from `text_offset` after an aligned
/// address on, and an initial RAM disk of `initrd` bytes: at `initrd_at`, or where there is room.
///
/// # Errors
///
/// They do not fit into `memory` bytes, or the initial RAM disk is to be where others are.
pub fn place(
    memory: u64,
    text_offset: u64,
    kernel: u64,
    initrd: u64,
    initrd_at: Option<u64>,
) -> Result<Images> {
    let too_small = || {
        Error::plain(format!(
            "{} MiB of memory cannot hold the kernel ({} MiB when it runs) and the initrd ({} MiB)",
            memory >> 20,
            kernel.div_ceil(1 << 20),
            initrd.div_ceil(1 << 20)
        ))
        .advise("give the guest more: --memory")
    };
    let end = RAM.checked_add(memory).ok_or_else(too_small)?;
    let after = |start: u64, size: u64| {
        let top = start
            .checked_add(size)?
            .checked_next_multiple_of(RAM_UNIT)?;
        (top <= end).then_some(top)
    };
    let start = RAM.checked_add(text_offset).ok_or_else(too_small)?;
    let fdt = after(start, kernel).ok_or_else(too_small)?;
    let first = after(fdt, FDT_SIZE).ok_or_else(too_small)?;
    let disk = initrd_at.unwrap_or(first);
    if disk < first {
        let what = format!("the initrd at {disk:#x}: kernel and device tree are before {first:#x}");
        return Err(Error::plain(what).advise("a higher address: --initrd-at"));
    }
    after(disk, initrd).ok_or_else(too_small)?;
    Ok(Images {
        kernel: start,
        fdt: fdt..fdt + FDT_SIZE,
        initrd: disk..disk + initrd,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pci::ecam::Ecam;
    use crate::virtio;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn width_covers_both_halves() {
        assert_eq!(ipa_bits(64 * MIB), 32);
        assert_eq!(ipa_bits(1024 * MIB), 32);
        assert_eq!(ipa_bits(1024 * MIB + RAM_UNIT), 33);
        assert_eq!(ipa_bits(3072 * MIB), 33);
        assert_eq!(ipa_bits(3074 * MIB), 34);
        assert_eq!(shared_bit(33), 1 << 32);
    }

    #[test]
    fn devices_are_apart() {
        let mut areas = [
            GICD..GICD + GICD_SIZE,
            ITS..ITS + ITS_SIZE,
            PCI_ECAM..PCI_ECAM + PCI_ECAM_SIZE,
            PCI_WINDOW..PCI_WINDOW + PCI_WINDOW_SIZE,
            GICR..GICR + CPU_LIMIT * GICR_SIZE,
            SERIAL..SERIAL + SERIAL_SIZE,
            PVPANIC..PVPANIC + PVPANIC_SIZE,
            VIRTIO..VIRTIO + VIRTIO_LIMIT as u64 * VIRTIO_STRIDE,
            RAM..RAM + RAM_UNIT,
        ];
        areas.sort_by_key(|area| area.start);
        for two in areas.windows(2) {
            assert!(two[0].end <= two[1].start, "{two:x?}");
        }
        assert!(VIRTIO_IRQ + VIRTIO_LIMIT as u32 <= SHARED_IRQS);
        assert_eq!((Ecam::DEVICES, Ecam::SIZE), (VIRTIO_LIMIT, PCI_ECAM_SIZE));
        assert!(VIRTIO_LIMIT as u64 * virtio::pci::SIZE <= PCI_WINDOW_SIZE);
    }

    #[test]
    fn cpus_are_numbered_in_sixteens() {
        assert_eq!(mpidr(15), 15);
        assert_eq!(mpidr(16), 0x100);
        assert_eq!(mpidr(0x1234), 0x1_2304);
    }

    #[test]
    fn too_little_memory_is_an_error() {
        assert!(place(64 * MIB, 0, 60 * MIB, 3 * MIB, None).is_err());
        assert!(place(64 * MIB, 0, 60 * MIB, 2 * MIB, None).is_ok());
        assert!(place(64 * MIB, u64::MAX, 1, 0, None).is_err());
        assert!(place(u64::MAX, 0, 1, 0, None).is_err());
    }

    #[test]
    fn an_initrd_may_begin_and_end_anywhere() {
        let at = |at| place(64 * MIB, 0, 20 * MIB, 0x1001, Some(at));
        let images = at(RAM + 22 * MIB).unwrap();
        assert_eq!(
            pages(&images.initrd),
            RAM + 22 * MIB..RAM + 22 * MIB + 0x2000
        );
        let images = at(RAM + 22 * MIB + 0xfff).unwrap();
        assert_eq!(
            images.initrd,
            RAM + 22 * MIB + 0xfff..RAM + 22 * MIB + 0x2000
        );
        assert_eq!(
            pages(&images.initrd),
            RAM + 22 * MIB..RAM + 22 * MIB + 0x2000
        );
        let images = at(RAM + 22 * MIB + 0x1234).unwrap();
        assert_eq!(
            pages(&images.initrd),
            RAM + 22 * MIB + 0x1000..RAM + 22 * MIB + 0x3000
        );
        // In the room for the device tree, and over the end.
        assert!(at(RAM + 22 * MIB - 1).is_err());
        assert!(at(RAM + 64 * MIB - 0x1001).is_ok());
        assert!(at(RAM + 64 * MIB - 0x1000).is_err());
        assert!(at(u64::MAX).is_err());
    }

    proptest! {
        #[test]
        fn memory_is_below_the_shared_half(memory in 1u64..1 << 46) {
            let bits = ipa_bits(memory);
            prop_assert!(RAM + memory <= shared_bit(bits));
            prop_assert!(bits == IPA_BITS_MIN || RAM + memory > shared_bit(bits - 1));
        }

        #[test]
        fn images_do_not_overlap(
            memory in 1u64..1 << 36,
            kernel in 1u64..1 << 30,
            initrd in 0u64..1 << 32,
            at in prop::option::of(prop_oneof![RAM..RAM + (1 << 36), any::<u64>()]),
        ) {
            if let Ok(images) = place(memory, 0, kernel, initrd, at) {
                prop_assert!(at.is_none_or(|at| at == images.initrd.start));
                prop_assert!(pages(&images.initrd).start >= images.fdt.end);
                prop_assert!(pages(&images.initrd).end <= RAM + memory);
                prop_assert_eq!(images.kernel, RAM);
                prop_assert!(images.kernel + kernel <= images.fdt.start);
                prop_assert!(images.fdt.end <= images.initrd.start);
                prop_assert!(images.initrd.end <= RAM + memory);
                prop_assert_eq!(images.initrd.end - images.initrd.start, initrd);
                prop_assert_eq!(images.fdt.start % RAM_UNIT, 0);
            }
        }
    }
}
