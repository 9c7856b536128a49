// SPDX-License-Identifier: GPL-2.0

//! The CPU interface of the interrupt controller, GICv3.
//!
//! Since RMI 2.0 the virtual interface is the host's: it programs the list registers before it enters a
//! REC and reads them afterwards, and neither EL3 nor the RMM switches them. In RMI 1.0 the RMM does:
//! [`load`] and [`save`].

use rmm::platform::LIST_REGISTERS;
use rmm::rec::context::Vgic;

use crate::arch::{mrs, msr};

/// Number of the interrupt of the EL1 virtual timer.
pub(crate) const EL1_VIRTUAL_TIMER: u64 = 27;
/// Number of the interrupt of the EL1 physical timer.
pub(crate) const EL1_PHYSICAL_TIMER: u64 = 30;

/// ICC_HPPIR1_EL1: the number of the interrupt.
const INTID: u64 = 0xff_ffff;

/// ICC_CTLR_EL1: there are interrupts of the extended ranges.
const CTLR_EXT_RANGE: u64 = 1 << 19;

/// ICH_HCR_EL2: the virtual CPU interface is on.
const HCR_EN: u64 = 1;

/// ICH_VTR_EL2, position of the number of preemption bits, minus 1.
const VTR_PREEMPTION_BITS_SHIFT: u32 = 26;

/// The number of the physical interrupt that the CPU interface signals, or a special one above 1019.
pub(crate) fn highest_pending() -> u64 {
    mrs!("s3_0_c12_c12_2") & INTID
}

/// True if there are interrupts of the extended ranges.
pub(crate) fn has_extended_range() -> bool {
    mrs!("s3_0_c12_c12_4") & CTLR_EXT_RANGE != 0
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
    let mut list = [0; LIST_REGISTERS];
    for (n, value) in (0..=vtr() & 0x1f).zip(list.iter_mut()) {
        *value = list_register(n);
    }
    list
}

/// Loads the virtual CPU interface.
pub(crate) fn load(vgic: &Vgic) {
    for (n, value) in (0..=vtr() & 0x1f).zip(vgic.ich_lr_el2) {
        set_list_register(n, value);
    }
    let priorities = vgic.ich_ap0r_el2.into_iter().zip(vgic.ich_ap1r_el2);
    for (n, (group0, group1)) in priorities.enumerate().take(active_priorities()) {
        set_active_priorities(n, group0, group1);
    }
    // ICH_VMCR_EL2, and then ICH_HCR_EL2, which turns it on.
    msr!("s3_4_c12_c11_7", vgic.ich_vmcr_el2);
    msr!("s3_4_c12_c11_0", vgic.ich_hcr_el2);
}

/// Saves the virtual CPU interface.
pub(crate) fn save(vgic: &mut Vgic) {
    vgic.ich_lr_el2 = list_registers();
    let priorities = vgic.ich_ap0r_el2.iter_mut().zip(&mut vgic.ich_ap1r_el2);
    for (n, (group0, group1)) in priorities.enumerate().take(active_priorities()) {
        (*group0, *group1) = get_active_priorities(n);
    }
    vgic.ich_vmcr_el2 = mrs!("s3_4_c12_c11_7");
    vgic.ich_hcr_el2 = mrs!("s3_4_c12_c11_0");
    // ICH_MISR_EL2.
    vgic.ich_misr_el2 = mrs!("s3_4_c12_c11_2");
}

/// How many ICH_AP0R`n`_EL2 there are, and ICH_AP1R`n`_EL2: 1, 2 or 4, for 5 to 7 bits of preemption.
fn active_priorities() -> usize {
    match vtr() >> VTR_PREEMPTION_BITS_SHIFT & 7 {
        6.. => 4,
        5 => 2,
        _ => 1,
    }
}

/// Defines the access to registers that are numbered.
macro_rules! numbered {
    ($($n:literal $name:literal),*) => {
        /// ICH_LR`n`_EL2. It exists.
        fn list_register(n: u64) -> u64 {
            match n {
                $($n => mrs!($name),)*
                _ => 0,
            }
        }

        /// Writes ICH_LR`n`_EL2. It exists.
        fn set_list_register(n: u64, value: u64) {
            match n {
                $($n => msr!($name, value),)*
                _ => {}
            }
        }
    };
}

numbered! {
    0 "s3_4_c12_c12_0", 1 "s3_4_c12_c12_1", 2 "s3_4_c12_c12_2", 3 "s3_4_c12_c12_3",
    4 "s3_4_c12_c12_4", 5 "s3_4_c12_c12_5", 6 "s3_4_c12_c12_6", 7 "s3_4_c12_c12_7",
    8 "s3_4_c12_c13_0", 9 "s3_4_c12_c13_1", 10 "s3_4_c12_c13_2", 11 "s3_4_c12_c13_3",
    12 "s3_4_c12_c13_4", 13 "s3_4_c12_c13_5", 14 "s3_4_c12_c13_6", 15 "s3_4_c12_c13_7"
}

/// ICH_AP0R`n`_EL2 and ICH_AP1R`n`_EL2. They exist.
fn get_active_priorities(n: usize) -> (u64, u64) {
    match n {
        0 => (mrs!("s3_4_c12_c8_0"), mrs!("s3_4_c12_c9_0")),
        1 => (mrs!("s3_4_c12_c8_1"), mrs!("s3_4_c12_c9_1")),
        2 => (mrs!("s3_4_c12_c8_2"), mrs!("s3_4_c12_c9_2")),
        _ => (mrs!("s3_4_c12_c8_3"), mrs!("s3_4_c12_c9_3")),
    }
}

/// Writes ICH_AP0R`n`_EL2 and ICH_AP1R`n`_EL2. They exist.
fn set_active_priorities(n: usize, group0: u64, group1: u64) {
    match n {
        0 => {
            msr!("s3_4_c12_c8_0", group0);
            msr!("s3_4_c12_c9_0", group1);
        }
        1 => {
            msr!("s3_4_c12_c8_1", group0);
            msr!("s3_4_c12_c9_1", group1);
        }
        2 => {
            msr!("s3_4_c12_c8_2", group0);
            msr!("s3_4_c12_c9_2", group1);
        }
        _ => {
            msr!("s3_4_c12_c8_3", group0);
            msr!("s3_4_c12_c9_3", group1);
        }
    }
}
