// SPDX-License-Identifier: GPL-2.0

//! Pages: filling them, and looking at what is in them.

use core::arch::asm;

use realm_guest::{pattern, Order, Renewal, PAGE_SIZE};

use crate::upper;

/// Places in a page that have the pattern: its first word and its last.
const PLACES: [u64; 2] = [0, PAGE_SIZE - 8];

/// Loads a word with an instruction that the syndrome of an abort describes.
///
/// # Safety
///
/// `address` can be read.
pub(crate) unsafe fn load(address: u64) -> u64 {
    let value;
    // SAFETY: by the contract of this function.
    unsafe { asm!("ldr {}, [{}]", out(reg) value, in(reg) address, options(nostack)) };
    value
}

/// Stores a word with an instruction that the syndrome of an abort describes.
///
/// # Safety
///
/// `address` can be written, and nothing here has its data there.
pub(crate) unsafe fn store(address: u64, value: u64) {
    // SAFETY: by the contract of this function.
    unsafe { asm!("str {}, [{}]", in(reg) value, in(reg) address, options(nostack)) };
}

/// The IPA of a page of an order, without the bit for the upper half.
fn page(order: Order, n: u64) -> u64 {
    order.base + n * PAGE_SIZE
}

/// Where the guest finds `ipa`.
fn address(order: Order, ipa: u64) -> u64 {
    if order.shared {
        upper(ipa)
    } else {
        ipa
    }
}

/// Fills a page, which is at `page`.
fn fill(order: Order, page: u64) {
    for ipa in PLACES.map(|place| page + place) {
        // SAFETY: the VMM has the guest fill memory beyond its image only.
        unsafe { store(address(order, ipa), pattern(ipa, order.shared)) };
    }
}

/// Fills the pages from the first to the last.
pub(crate) fn touch(order: Order) {
    for n in 0..order.count {
        fill(order, page(order, n));
    }
}

/// Fills the pages in an order in which hardly any two neighbours follow each other.
pub(crate) fn touch_scattered(order: Order) {
    // An odd step through a power of two comes by everywhere.
    const STEP: u64 = 0x9e37_79b1;
    for n in 0..order.count {
        fill(order, page(order, n.wrapping_mul(STEP) & (order.count - 1)));
    }
}

/// Fills as many pages from the first on, each `step` bytes behind the one before.
pub(crate) fn touch_every(order: Order, step: u64) {
    for n in 0..order.count {
        fill(order, order.base + n * step);
    }
}

/// Stores to the first word of the pages, another value each time, for ever.
pub(crate) fn scribble(order: Order) -> ! {
    let mut value = 0u64;
    loop {
        for n in 0..order.count {
            value = value.wrapping_add(1);
            // SAFETY: as in `fill`.
            unsafe { store(address(order, page(order, n)), value) };
        }
    }
}

/// Looks at every word of the pages and renews its own. Returns how many were wrong, and of the first of
/// them its IPA, its value and the least generation that it may have.
pub(crate) fn renew(order: Order, renewal: Renewal) -> [u64; 4] {
    let mut wrong = [0; 4];
    for round in 1..=renewal.rounds.max(1) {
        for ipa in (page(order, 0)..page(order, order.count)).step_by(8) {
            let at = address(order, ipa);
            // SAFETY: as in `fill`.
            let value = unsafe { load(at) };
            if let Some(least) = renewal.is_wrong(ipa, value, round) {
                if wrong[0] == 0 {
                    wrong = [0, ipa, value, least.into()];
                }
                wrong[0] += 1;
            }
            if renewal.rounds != 0 && renewal.is_own(ipa) {
                // SAFETY: as in `fill`.
                unsafe { store(at, renewal.renewed(ipa, round)) };
            }
        }
    }
    wrong
}

/// Counts the pages in which `is_good` does not hold for what is at an IPA.
fn count_bad(order: Order, is_good: impl Fn(u64, u64) -> bool) -> u64 {
    let bad = |n: &u64| {
        PLACES.iter().any(|place| {
            let ipa = page(order, *n) + place;
            // SAFETY: the VMM has the guest look at memory only.
            !is_good(ipa, unsafe { load(address(order, ipa)) })
        })
    };
    (0..order.count).filter(bad).count() as u64
}

/// Counts the pages without the pattern.
pub(crate) fn check(order: Order) -> u64 {
    count_bad(order, |ipa, value| value == pattern(ipa, order.shared))
}

/// Counts the pages with something in the places for the pattern.
pub(crate) fn check_zero(order: Order) -> u64 {
    count_bad(order, |_, value| value == 0)
}
