// SPDX-License-Identifier: GPL-2.0

//! List registers, which the host programs.
//!
//! In RMI 2.0 the host has written them into the registers of the CPU, and the RMM only checks them. In
//! RMI 1.0 it hands them over in its page, and the RMM loads them and tells what has become of them.

use super::context::Vgic;
use super::exit::{Enter, Exit};
use crate::platform::Platform;

const STATE_SHIFT: u32 = 62;
const HW: u64 = 1 << 61;
const PRIORITY_SHIFT: u32 = 48;
/// What is the number of the physical interrupt if [`HW`] is set, without the bit that asks for a
/// maintenance interrupt.
const PINTID: u64 = 0x1fff << 32 & !(1 << 41);
const VINTID: u64 = 0xffff_ffff;

/// ICH_VTR_EL2, position of the number of priority bits, minus 1.
const VTR_PRIORITY_BITS_SHIFT: u32 = 29;
/// ICH_VTR_EL2, position of how large interrupt numbers can be: 0 for 16 bits, otherwise 24.
const VTR_ID_BITS_SHIFT: u32 = 23;
/// Bits of a priority in a list register.
const PRIORITY_BITS: u64 = 8;

/// ICH_HCR_EL2, what the host may set: the bits that ask for maintenance interrupts (UIE, LRENPIE, NPIE,
/// VGrp0EIE, VGrp0DIE, VGrp1EIE, VGrp1DIE), and the one that makes the realm's ICC_DIR_EL1 trap (TDIR).
const HCR_HOST: u64 = 0xfe | 1 << 14;
/// ICH_HCR_EL2, what the RMM sets: the virtual CPU interface is on (En), and the realm gets no interrupts
/// but by list registers (vSGIEOICount, DVIM).
const HCR_RMM: u64 = 1 | 1 << 8 | 1 << 15;
/// ICH_HCR_EL2: how often the realm has ended interrupts that no list register had (EOIcount).
const HCR_EOI_COUNT: u64 = 0x1f << 27;

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

/// How many list registers the CPU has.
fn count(platform: &impl Platform) -> usize {
    usize::try_from(platform.gic_vtr() & 0x1f).map_or(0, |last| last.saturating_add(1))
}

/// True if the realm may run with what the host says in its page: as [`is_valid`], and nothing is set that
/// the CPU does not have or that is not the host's to set.
pub(super) fn is_valid_page(enter: &Enter, platform: &impl Platform) -> bool {
    let list = enter.gic_lrs.get(..count(platform)).unwrap_or_default();
    let vtr = platform.gic_vtr();
    let unused = PRIORITY_BITS
        .saturating_sub(1)
        .saturating_sub(vtr >> VTR_PRIORITY_BITS_SHIFT & 7);
    let priority = !(u64::MAX << unused) << PRIORITY_SHIFT;
    let last_lpi: u64 = match vtr >> VTR_ID_BITS_SHIFT & 7 {
        0 => 0xffff,
        _ => 0xff_ffff,
    };
    let extended = platform.gic_has_extended_range();
    let exists = |vintid: u64| match vintid {
        // SGIs, PPIs and SPIs.
        0..=1019 => true,
        // Extended PPIs and SPIs.
        1056..=1119 | 4096..=5119 => extended,
        _ => (8192..=last_lpi).contains(&vintid),
    };
    let mut used = list.iter().filter(|lr| **lr >> STATE_SHIFT != 0);
    enter.gic_hcr & !HCR_HOST == 0
        && used.all(|lr| lr & (priority | PINTID) == 0 && exists(lr & VINTID))
        && is_valid(list)
}

impl Vgic {
    /// Takes over what the host says in its page.
    pub(super) fn enter(&mut self, enter: &Enter, platform: &impl Platform) {
        self.switched = 1;
        self.ich_hcr_el2 = HCR_RMM | enter.gic_hcr & HCR_HOST;
        // What it was does not hold if the REC exits before it runs.
        self.ich_misr_el2 = 0;
        let list = self.ich_lr_el2.iter_mut().zip(enter.gic_lrs);
        for (to, from) in list.take(count(platform)) {
            *to = from;
        }
    }

    /// Tells the host what has become of it.
    pub(super) fn exit(&self, exit: &mut Exit) {
        exit.gic_hcr = self.ich_hcr_el2 & (HCR_HOST | HCR_EOI_COUNT);
        exit.gic_lrs = self.ich_lr_el2;
        exit.gic_misr = self.ich_misr_el2;
        exit.gic_vmcr = self.ich_vmcr_el2;
    }
}
