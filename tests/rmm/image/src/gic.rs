// SPDX-License-Identifier: GPL-2.0

//! The CPU interface of the interrupt controller, GICv3.
//!
//! The virtual interface is the host's: it programs the list registers before it enters a REC and
//! reads them afterwards, and neither EL3 nor the RMM switches them.

use rmm::platform::LIST_REGISTERS;

use crate::arch::{mrs, msr};

/// Number of the interrupt of the EL1 virtual timer.
pub(crate) const EL1_VIRTUAL_TIMER: u64 = 27;
/// Number of the interrupt of the EL1 physical timer.
pub(crate) const EL1_PHYSICAL_TIMER: u64 = 30;

/// ICC_HPPIR1_EL1: the number of the interrupt.
const INTID: u64 = 0xff_ffff;

/// ICH_HCR_EL2: the virtual CPU interface is on.
const HCR_EN: u64 = 1;

/// The number of the physical interrupt that the CPU interface signals, or a special one above 1019.
pub(crate) fn highest_pending() -> u64 {
    mrs!("s3_0_c12_c12_2") & INTID
}

/// ICH_VTR_EL2.
pub(crate) fn vtr() -> u64 {
    mrs!("s3_4_c12_c11_1")
}

/// Turns the virtual CPU interface off.
pub(crate) fn disable_virtual() {
    msr!("s3_4_c12_c11_0", mrs!("s3_4_c12_c11_0") & !HCR_EN);
}

/// The list registers, 0 for those that do not exist.
pub(crate) fn list_registers() -> [u64; LIST_REGISTERS] {
    let last = vtr() & 0x1f;
    let mut list = [0; LIST_REGISTERS];
    for (n, value) in (0..=last).zip(list.iter_mut()) {
        *value = list_register(n);
    }
    list
}

/// ICH_LR`n`_EL2. It exists.
fn list_register(n: u64) -> u64 {
    match n {
        0 => mrs!("s3_4_c12_c12_0"),
        1 => mrs!("s3_4_c12_c12_1"),
        2 => mrs!("s3_4_c12_c12_2"),
        3 => mrs!("s3_4_c12_c12_3"),
        4 => mrs!("s3_4_c12_c12_4"),
        5 => mrs!("s3_4_c12_c12_5"),
        6 => mrs!("s3_4_c12_c12_6"),
        7 => mrs!("s3_4_c12_c12_7"),
        8 => mrs!("s3_4_c12_c13_0"),
        9 => mrs!("s3_4_c12_c13_1"),
        10 => mrs!("s3_4_c12_c13_2"),
        11 => mrs!("s3_4_c12_c13_3"),
        12 => mrs!("s3_4_c12_c13_4"),
        13 => mrs!("s3_4_c12_c13_5"),
        14 => mrs!("s3_4_c12_c13_6"),
        _ => mrs!("s3_4_c12_c13_7"),
    }
}
