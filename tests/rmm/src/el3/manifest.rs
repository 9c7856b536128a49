// SPDX-License-Identifier: GPL-2.0

//! The boot manifest: EL3's description of the machine, at the start of the shared page.
//!
//! Version 0.3. In 64-bit words from the start of the page: version (low half of word 0), platform
//! data (1), number, address and checksum of the memory banks (2 to 4) and of the consoles (5 to
//! 7). The lists are elsewhere in the page. Each of the two groups adds up to 0, list included.
//!
//! EL3 wrote it and EL3 is trusted, but an RMM that misreads it gives realms memory that is not
//! there. So nothing is used before it has been checked against the page.

use kvm_arm_rmi::rmi::{AddrRange, PhysAddr, GRANULE_SIZE};

use super::{BootError, Version};
use crate::platform::GranuleData;
use crate::ram::{RamMap, MAX_BANKS};

/// Words of the manifest that hold a version, and of the two lists that it points to.
const WORD_VERSION: usize = 0;
const WORD_BANKS: usize = 2;
const WORD_CONSOLES: usize = 5;

/// Words of a memory bank: base, size in bytes.
const BANK_WORDS: usize = 2;
/// Words of a console: base, pages, name, clock in Hz, baud rate, flags.
const CONSOLE_WORDS: usize = 6;
/// Position of the name in a console.
const CONSOLE_NAME: usize = 2;

/// Most consoles that are looked at.
const MAX_CONSOLES: usize = 8;

/// The name of a PL011 UART in a console entry.
const NAME_PL011: [u8; 8] = *b"pl011\0\0\0";

/// A console that the RMM can write to: a PL011 UART that EL3 has set up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Console {
    /// Its registers, whole pages.
    pub registers: AddrRange,
}

/// What the RMM takes from the manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Manifest {
    /// Version of the manifest.
    pub version: Version,
    /// The host's memory. That of the RMM may lie inside.
    pub ram: RamMap,
    /// The first console of a kind that the RMM knows.
    pub console: Option<Console>,
}

impl Manifest {
    /// Reads the manifest in `page`, which is at `shared`. Nothing in it may end above `limit`.
    ///
    /// # Errors
    ///
    /// [`BootError::ManifestVersion`] if it is not of version 0.3 or a later 0.x,
    /// [`BootError::ManifestData`] if a list is outside the page or does not add up, if there is no
    /// memory or too much of it, or if its banks are not whole granules in ascending order.
    pub fn new(page: &GranuleData, shared: PhysAddr, limit: PhysAddr) -> Result<Self, BootError> {
        let raw = page.get(WORD_VERSION).copied().unwrap_or(0) & u64::from(u32::MAX);
        let version = Version::from_raw(raw)
            .filter(|v| v.offers(0, 3))
            .ok_or(BootError::ManifestVersion)?;

        let banks = list(page, shared, WORD_BANKS, BANK_WORDS, MAX_BANKS);
        let consoles = list(page, shared, WORD_CONSOLES, CONSOLE_WORDS, MAX_CONSOLES);
        let ram = banks
            .and_then(|list| ram(&list, limit))
            .ok_or(BootError::ManifestData)?;
        let console = consoles
            .ok_or(BootError::ManifestData)
            .and_then(|list| console(&list, limit))?;
        Ok(Self {
            version,
            ram,
            console,
        })
    }
}

/// A list in the page, and what it and its header add up to: 0, if it is as EL3 wrote it.
struct List<'a> {
    entries: &'a [u64],
    sum: u64,
}

/// The list that the words from `at` on describe: entries of `width` words, at most `max` of them.
///
/// `None` if it does not lie in the page.
fn list(
    page: &GranuleData,
    shared: PhysAddr,
    at: usize,
    width: usize,
    max: usize,
) -> Option<List<'_>> {
    let header: &[u64; 3] = page.get(at..)?.first_chunk()?;
    let [count, address, _] = *header;

    let count = usize::try_from(count).ok().filter(|n| *n <= max)?;
    let entries = if count == 0 {
        &[]
    } else {
        let offset = address.checked_sub(shared.raw())?;
        if offset % 8 != 0 {
            return None;
        }
        let first = usize::try_from(offset / 8).ok()?;
        page.get(first..)?.get(..count.checked_mul(width)?)?
    };
    let sum = sum(header.iter().chain(entries));
    Some(List { entries, sum })
}

/// The sum of words, modulo 2^64.
fn sum<'a>(words: impl Iterator<Item = &'a u64>) -> u64 {
    words.fold(0, |sum, word| sum.wrapping_add(*word))
}

/// The whole granules `base..base + size`, or `None` if that is not what it is or ends above `limit`.
fn range(base: u64, size: u64, limit: PhysAddr) -> Option<AddrRange> {
    let top = PhysAddr::new(base.checked_add(size)?);
    AddrRange::new(PhysAddr::new(base), top).filter(|range| range.top() <= limit)
}

/// The memory in the list of banks.
fn ram(list: &List<'_>, limit: PhysAddr) -> Option<RamMap> {
    if list.sum != 0 {
        return None;
    }
    let mut banks = [None; MAX_BANKS];
    for (slot, entry) in banks.iter_mut().zip(list.entries.chunks_exact(BANK_WORDS)) {
        let [base, size] = *entry.first_chunk()?;
        *slot = Some(range(base, size, limit)?);
    }
    RamMap::new(banks)
}

/// The first console of the list that is a PL011, if there is one.
///
/// TF-A's port for QEMU virt leaves the names out when it adds up (seen in 2.12.1, corrected by
/// 2.15), so the list is good as well if the sum is that of the names.
///
/// # Errors
///
/// [`BootError::ManifestData`] if the list does not add up, or the console is not whole pages.
fn console(list: &List<'_>, limit: PhysAddr) -> Result<Option<Console>, BootError> {
    let names = list.entries.iter().skip(CONSOLE_NAME);
    if list.sum != 0 && list.sum != sum(names.step_by(CONSOLE_WORDS)) {
        return Err(BootError::ManifestData);
    }
    for entry in list.entries.chunks_exact(CONSOLE_WORDS) {
        if let [base, pages, name, ..] = *entry {
            if name.to_le_bytes() == NAME_PL011 {
                let size = pages.checked_mul(GRANULE_SIZE);
                let registers = size.and_then(|size| range(base, size, limit));
                let registers = registers.ok_or(BootError::ManifestData)?;
                return Ok(Some(Console { registers }));
            }
        }
    }
    Ok(None)
}
