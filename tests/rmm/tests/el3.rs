// SPDX-License-Identifier: GPL-2.0

//! What the RMM makes of the boot arguments and the manifest, right and wrong.

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr};
use proptest::prelude::*;
use rmm::el3::{check_warm_boot, BootError, ColdBoot, Manifest, Version};
use rmm::platform::{GranuleData, GRANULE_WORDS};

const SHARED: u64 = 0x418f_f000;
const LIMIT: PhysAddr = PhysAddr::new(1 << 36);
const PL011: u64 = u64::from_le_bytes(*b"pl011\0\0\0");

fn cold(args: [u64; 4]) -> Result<ColdBoot, BootError> {
    ColdBoot::new(args, 64)
}

#[test]
fn boot_arguments_of_tf_a_are_accepted() {
    let boot = cold([3, 4, 8, SHARED]).unwrap();
    assert_eq!(boot.version, Version { major: 0, minor: 4 });
    assert_eq!((boot.cpus, boot.shared.raw()), (8, SHARED));
    // A later minor version offers the same and more.
    assert!(cold([0, 8, 64, SHARED]).is_ok());
}

#[test]
fn boot_arguments_are_judged_in_order() {
    for (args, error) in [
        ([0, 3, 8, SHARED], BootError::VersionMismatch),
        ([0, 0x1_0004, 8, SHARED], BootError::VersionMismatch),
        ([0, 1 << 32 | 4, 8, SHARED], BootError::VersionMismatch),
        ([9, 0, 65, 0], BootError::VersionMismatch),
        ([99, 4, 65, 0], BootError::CpusOutOfRange),
        ([8, 4, 8, 0], BootError::CpuIdOutOfRange),
        ([0, 4, 0, SHARED], BootError::CpuIdOutOfRange),
        ([0, 4, 8, 0], BootError::InvalidSharedBuffer),
        ([0, 4, 8, SHARED + 8], BootError::InvalidSharedBuffer),
    ] {
        assert_eq!(cold(args), Err(error), "{args:x?}");
    }
}

#[test]
fn a_warm_boot_has_nothing_but_the_cpu() {
    assert_eq!(check_warm_boot([7, 0, 0, 0], 8), Ok(()));
    assert_eq!(
        check_warm_boot([8, 0, 0, 0], 8),
        Err(BootError::CpuIdOutOfRange)
    );
    assert_eq!(
        check_warm_boot([0, 4, 8, SHARED], 8),
        Err(BootError::Unknown)
    );
}

#[test]
fn boot_errors_are_negative_numbers() {
    assert_eq!(BootError::Unknown.raw(), u64::MAX);
    assert_eq!(BootError::ManifestData.raw(), u64::MAX - 6);
}

/// A manifest with these banks and consoles, adding up to 0.
fn manifest(banks: &[[u64; 2]], consoles: &[[u64; 6]]) -> GranuleData {
    let mut page = [0; GRANULE_WORDS];
    page[0] = 3;
    let mut place = 8;
    let mut list = |header: usize, count: usize, words: Vec<u64>| {
        page[header] = count as u64;
        page[header + 1] = SHARED + 8 * place as u64;
        page[place..][..words.len()].copy_from_slice(&words);
        place += words.len();
        let header_sum = page[header].wrapping_add(page[header + 1]);
        let sum = words
            .iter()
            .fold(header_sum, |sum, word| sum.wrapping_add(*word));
        page[header + 2] = sum.wrapping_neg();
    };
    list(2, banks.len(), banks.concat());
    list(5, consoles.len(), consoles.concat());
    page
}

fn parse(page: &GranuleData) -> Result<Manifest, BootError> {
    Manifest::new(page, PhysAddr::new(SHARED), LIMIT)
}

const BANK: [u64; 2] = [0x4000_0000, 0xc000_0000];
const CONSOLE: [u64; 6] = [0x0900_0000, 1, PL011, 1, 115_200, 0];

fn range(base: u64, top: u64) -> AddrRange {
    AddrRange::new(PhysAddr::new(base), PhysAddr::new(top)).unwrap()
}

#[test]
fn the_manifest_of_qemu_virt_is_understood() {
    let found = parse(&manifest(&[BANK], &[CONSOLE])).unwrap();
    assert_eq!(found.version, Version { major: 0, minor: 3 });
    let banks: Vec<AddrRange> = found.ram.banks().collect();
    assert_eq!(banks, [range(0x4000_0000, 0x1_0000_0000)]);
    assert_eq!(
        found.console.unwrap().registers,
        range(0x0900_0000, 0x0900_1000)
    );
}

#[test]
fn the_sum_of_the_consoles_may_leave_out_the_names() {
    let mut page = manifest(&[BANK], &[CONSOLE]);
    page[7] = page[7].wrapping_add(PL011);
    assert!(parse(&page).unwrap().console.is_some());
}

#[test]
fn the_first_console_of_a_known_kind_is_taken() {
    let other = [0x0a00_0000, 1, 1, 0, 0, 0];
    let found = parse(&manifest(&[BANK], &[other, CONSOLE])).unwrap();
    assert_eq!(found.console.unwrap().registers.base().raw(), CONSOLE[0]);
    assert!(parse(&manifest(&[BANK], &[other]))
        .unwrap()
        .console
        .is_none());
    assert!(parse(&manifest(&[BANK], &[])).unwrap().console.is_none());
}

#[test]
fn other_manifest_versions_are_refused() {
    for (version, good) in [
        (3, true),
        (5, true),
        (2, false),
        (0x1_0003, false),
        (0, false),
    ] {
        let mut page = manifest(&[BANK], &[CONSOLE]);
        page[0] = version;
        let error = parse(&page).err();
        assert_eq!(
            error,
            (!good).then_some(BootError::ManifestVersion),
            "{version:#x}"
        );
    }
}

#[test]
fn manifests_that_make_no_sense_are_refused() {
    let pages = 4096;
    for (what, page) in [
        ("no memory", manifest(&[], &[CONSOLE])),
        ("too many banks", manifest(&[BANK; 9], &[CONSOLE])),
        ("empty bank", manifest(&[[0x4000_0000, 0]], &[CONSOLE])),
        (
            "unaligned bank",
            manifest(&[[0x4000_0800, pages]], &[CONSOLE]),
        ),
        (
            "bank of half pages",
            manifest(&[[0x4000_0000, pages + 8]], &[CONSOLE]),
        ),
        (
            "bank that wraps",
            manifest(&[[!0xfff, 2 * pages]], &[CONSOLE]),
        ),
        (
            "bank above the limit",
            manifest(&[[1 << 36, pages]], &[CONSOLE]),
        ),
        (
            "overlapping banks",
            manifest(&[BANK, [0x5000_0000, pages]], &[CONSOLE]),
        ),
        (
            "banks out of order",
            manifest(&[BANK, [0x3000_0000, pages]], &[CONSOLE]),
        ),
        (
            "console above the limit",
            manifest(&[BANK], &[[1 << 36, 1, PL011, 0, 0, 0]]),
        ),
        (
            "console without pages",
            manifest(&[BANK], &[[0x0900_0000, 0, PL011, 0, 0, 0]]),
        ),
        (
            "console too large",
            manifest(&[BANK], &[[0x0900_0000, 1 << 52, PL011, 0, 0, 0]]),
        ),
    ] {
        assert_eq!(parse(&page), Err(BootError::ManifestData), "{what}");
    }
}

#[test]
fn lists_must_lie_in_the_page_and_add_up() {
    for (word, value) in [
        (2, 2),                  // a bank that is not in the sum
        (2, u64::MAX),           // more than there can be
        (3, SHARED - 16),        // before the page
        (3, SHARED + 4096),      // behind it
        (3, SHARED + 4096 - 8),  // half behind it
        (3, SHARED + 8 * 8 + 4), // not on a word
        (3, 0),
        (4, 0), // checksum
        (5, 9),
        (6, SHARED + 4096 - 40),
        (7, 1),
    ] {
        let mut page = manifest(&[BANK], &[CONSOLE]);
        page[word] = value;
        assert_eq!(
            parse(&page),
            Err(BootError::ManifestData),
            "{word} {value:#x}"
        );
    }
}

proptest! {
    #[test]
    fn no_manifest_makes_the_rmm_panic(
        words in prop::collection::vec((0..24usize, prop_oneof![any::<u64>(), 0..16u64]), 0..8),
        shared in prop_oneof![Just(SHARED), any::<u64>()],
    ) {
        let mut page = manifest(&[BANK], &[CONSOLE]);
        for (at, value) in words {
            page[at] = value;
        }
        if let Ok(found) = Manifest::new(&page, PhysAddr::new(shared), LIMIT) {
            prop_assert!(found.ram.banks().all(|bank| bank.top() <= LIMIT));
        }
    }
}
