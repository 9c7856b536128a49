// SPDX-License-Identifier: GPL-2.0

//! Where the RMM is in memory. TF-A's port for QEMU virt gives it 24 MiB at [`BASE`], the one for
//! Arm's Base model (the feature `fvp`) 32 MiB.
//!
//! | on virt from | size | what | mapped |
//! |---|---|---|---|
//! | 0x40100000 | 512 KiB | code | read, execute |
//! | 0x40180000 | 256 KiB | constants | read |
//! | 0x401c0000 | 256 KiB, at least | initialised data | read, write |
//! | 0x40200000 | 4 MiB | stacks, see [`STACK_SLOT`] | read, write, with gaps |
//! | 0x40600000 | 18 MiB | zeroed data | read, write |
//! | 0x41800000 | 1 MiB | unused, up to the page shared with EL3 | |
//!
//! All of it is mapped at its physical address. Further mappings are at a fixed distance from
//! theirs, so that the address space has four parts; `RAM_LIMIT` keeps them apart.

use core::ops::Range;

/// On Arm's Base model, instead of QEMU virt.
const FVP: bool = cfg!(feature = "fvp");

/// First byte of the RMM: where EL3 loads the image and enters it.
pub(crate) const BASE: u64 = if FVP { 0xfdc0_0000 } else { 0x4010_0000 };
/// Bytes that belong to the RMM, the page shared with EL3 included.
pub(crate) const SIZE: u64 = if FVP { 32 << 20 } else { 24 << 20 };

/// The code.
pub(crate) const TEXT: Range<u64> = BASE..BASE + (512 << 10);
/// The constants.
pub(crate) const RODATA: Range<u64> = TEXT.end..TEXT.end + (256 << 10);
/// The initialised data: up to where a level 3 table ends.
pub(crate) const DATA: Range<u64> = RODATA.end..(BASE / (2 << 20) + 1) * (2 << 20);
/// The stacks.
pub(crate) const STACKS: Range<u64> = DATA.end..DATA.end + MAX_CPUS * STACK_SLOT;
/// The data that are zero at boot.
pub(crate) const BSS: Range<u64> = STACKS.end..STACKS.end + (if FVP { 24 << 20 } else { 18 << 20 });

/// CPUs that the RMM can serve.
pub(crate) const MAX_CPUS: u64 = 32;
/// log2 of [`STACK_SLOT`].
pub(crate) const STACK_SLOT_SHIFT: u32 = 17;
/// Bytes of stack per CPU: an unmapped page, the stack, an unmapped page, and the page on which an
/// exception is reported.
pub(crate) const STACK_SLOT: u64 = 1 << STACK_SLOT_SHIFT;
/// Offset of the top of the stack in its slot.
pub(crate) const STACK_TOP: u64 = STACK_SLOT - (2 << 12);

/// Distance from a device's registers to their mapping.
pub(crate) const DEVICE_WINDOW: u64 = 1 << 36;
/// Distance from a granule to its mapping in the Realm physical address space.
pub(crate) const REALM_WINDOW: u64 = 2 << 36;
/// Distance from a granule to its mapping in the Non-secure physical address space.
pub(crate) const NS_WINDOW: u64 = 4 << 36;
/// Nothing that the RMM maps ends above this physical address.
pub(crate) const RAM_LIMIT: u64 = 1 << 36;

/// Granules that the RMM can keep track of: 3 GiB, or the model's 4.
pub(crate) const MAX_GRANULES: usize = if FVP { 4 << 18 } else { 3 << 18 };

// The early tables have one level 3 table for the image and two for the stacks.
const _: () = assert!(DATA.end >= DATA.start + (256 << 10));
const _: () = assert!(STACKS.start % (2 << 20) == 0 && STACKS.end - STACKS.start == 4 << 20);
const _: () = assert!(BASE / (2 << 20) + 1 == STACKS.start / (2 << 20));
const _: () = assert!(BSS.end <= BASE + SIZE && BASE >> 30 == (BASE + SIZE - 1) >> 30);
