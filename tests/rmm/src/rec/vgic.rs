// SPDX-License-Identifier: GPL-2.0

//! List registers, which the host programs and the RMM only checks.

const STATE_SHIFT: u32 = 62;
const HW: u64 = 1 << 61;
const VINTID: u64 = 0xffff_ffff;

/// True if the realm may run with these list registers: of those that hold an interrupt, none is tied
/// to a physical one, and no two have the same number.
pub(super) fn is_valid(list: &[u64]) -> bool {
    let mut used = list.iter().filter(|lr| **lr >> STATE_SHIFT != 0);
    while let Some(lr) = used.next() {
        if lr & HW != 0 || used.clone().any(|other| (lr ^ other) & VINTID == 0) {
            return false;
        }
    }
    true
}
