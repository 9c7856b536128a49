// SPDX-License-Identifier: GPL-2.0

//! What a realm does not have.

use std::os::fd::AsRawFd;

use kvm_bindings::{
    kvm_arm_counter_offset,
    kvm_arm_device_addr,
    kvm_device_attr,
    kvm_enable_cap,
    KVM_ARM_VCPU_EL1_32BIT,
    KVM_ARM_VCPU_HAS_EL2,
    KVM_ARM_VCPU_PVTIME_CTRL,
    KVM_ARM_VCPU_PVTIME_IPA, //
};
use realm_guest::{BASE, PAGE_SIZE};

use super::Cases;
use crate::realm::bare::KVM_ARM_VCPU_PMU_V3_STRICT;
use crate::realm::cpu::init;
use crate::realm::memory::check;
use crate::realm::vm::{Shape, Vm};
use crate::realm::Result;

/// Capabilities by number, and their names.
const OFFERED: [(u64, &str); 17] = [
    (0, "IRQCHIP"),
    (9, "NR_VCPUS"),
    (14, "MP_STATE"),
    (16, "SYNC_MMU"),
    (32, "IRQFD"),
    (36, "IOEVENTFD"),
    (41, "VCPU_EVENTS"),
    (66, "MAX_VCPUS"),
    (70, "ONE_REG"),
    (82, "IRQFD_RESAMPLE"),
    (87, "ARM_PSCI"),
    (89, "DEVICE_CTRL"),
    (102, "ARM_PSCI_0_2"),
    (127, "VCPU_ATTRIBUTES"),
    (128, "MAX_VCPU_ID"),
    (136, "IMMEDIATE_EXIT"),
    (165, "ARM_VM_IPA_SIZE"),
];
/// What a VMM for realms needs from KVM in general.
const MEMORY: [(u64, &str); 3] = [
    (231, "USER_MEMORY2"),
    (233, "MEMORY_ATTRIBUTES"),
    (234, "GUEST_MEMFD"),
];
const REFUSED: [(u64, &str); 22] = [
    (23, "SET_GUEST_DEBUG"),
    (81, "READONLY_MEM"),
    (93, "ARM_EL1_32BIT"),
    (119, "GUEST_DEBUG_HW_BPS"),
    (120, "GUEST_DEBUG_HW_WPS"),
    (144, "ARM_USER_IRQ"),
    (158, "ARM_INJECT_SERROR_ESR"),
    (177, "ARM_NISV_TO_USER"),
    (187, "STEAL_TIME"),
    (192, "DIRTY_LOG_RING"),
    (195, "SET_GUEST_DEBUG2"),
    (205, "ARM_MTE"),
    (216, "ARM_SYSTEM_SUSPEND"),
    (223, "DIRTY_LOG_RING_ACQ_REL"),
    (225, "DIRTY_LOG_RING_WITH_BITMAP"),
    (227, "COUNTER_OFFSET"),
    (228, "ARM_EAGER_SPLIT_CHUNK_SIZE"),
    (239, "ARM_WRITABLE_IMP_ID_REGS"),
    (240, "ARM_EL2"),
    (245, "ARM_SEA_TO_USER"),
    (251, "ARM_PMU_V3_STRICT"),
    (9999, "anything that is new"),
];

/// KVM_ARM_SET_DEVICE_ADDR and KVM_ARM_SET_COUNTER_OFFSET.
const SET_DEVICE_ADDR: u64 = 0x4010_aeab;
const SET_COUNTER_OFFSET: u64 = 0x4010_aeb5;

/// What does no harm, and is enabled without looking.
const ENABLED: [(u32, &str); 2] = [(168, "MANUAL_DIRTY_LOG_PROTECT2"), (182, "HALT_POLL")];

pub(super) fn cases(cases: &mut Cases) -> Result<()> {
    ordinary(cases)?;
    offered(cases)?;
    let vm = Vm::empty(Shape::REALM)?;
    for (number, name) in REFUSED {
        let has = vm.fd.check_extension_raw(number);
        cases.equal(&format!("a realm has no {name}"), has, 0);
        let cap = kvm_enable_cap {
            cap: number.try_into()?,
            ..Default::default()
        };
        let what = format!("enabling {name}");
        cases.errno(&what, vm.fd.enable_cap(&cap), libc::EINVAL);
    }

    for (cap, name) in ENABLED {
        let cap = kvm_enable_cap {
            cap,
            args: [1, 0, 0, 0],
            ..Default::default()
        };
        cases.errno(&format!("enabling {name}"), vm.fd.enable_cap(&cap), 0);
    }

    super::document::capabilities(cases)?;

    let offset = kvm_arm_counter_offset::default();
    // SAFETY: The ioctl reads one such structure.
    let set = unsafe { libc::ioctl(vm.fd.as_raw_fd(), SET_COUNTER_OFFSET, &raw const offset) };
    cases.errno("a counter offset", check(set), libc::EINVAL);
    let address = kvm_arm_device_addr::default();
    // SAFETY: As above.
    let set = unsafe { libc::ioctl(vm.fd.as_raw_fd(), SET_DEVICE_ADDR, &raw const address) };
    cases.errno("mapping a GICv2", check(set), libc::ENODEV);

    let cpu = vm.fd.create_vcpu(0)?;
    let is_old = super::is_linux_6_12()?;
    for (feature, name, is_newer) in [
        (KVM_ARM_VCPU_EL1_32BIT, "AArch32", false),
        (KVM_ARM_VCPU_HAS_EL2, "nested virtualisation", true),
        (KVM_ARM_VCPU_PMU_V3_STRICT, "a strict PMU", true),
    ] {
        let mut init = init(&vm, 0)?;
        init.features[0] |= 1 << feature;
        let what = format!("a CPU with {name}");
        let result = cpu.vcpu_init(&init);
        if is_old && is_newer {
            // That has never heard of it.
            let unknown = result.err().map(|error| error.errno());
            cases.equal(&what, unknown, Some(libc::ENOENT));
        } else {
            cases.errno(&what, result, libc::EINVAL);
        }
    }
    cpu.vcpu_init(&init(&vm, 0)?)?;
    let ipa = 0u64;
    let stolen = kvm_device_attr {
        group: KVM_ARM_VCPU_PVTIME_CTRL,
        attr: KVM_ARM_VCPU_PVTIME_IPA.into(),
        addr: (&raw const ipa).addr() as u64,
        flags: 0,
    };
    cases.errno("stolen time", cpu.has_device_attr(&stolen), libc::ENXIO);
    cases.errno("setting it", cpu.set_device_attr(&stolen), libc::ENXIO);
    Ok(())
}

/// What VMMs rely upon.
pub(in crate::realm) fn offered(cases: &mut Cases) -> Result<()> {
    let vm = Vm::empty(Shape::REALM)?;
    for (number, name) in OFFERED.into_iter().chain(MEMORY) {
        let has = vm.fd.check_extension_raw(number) > 0;
        cases.holds(&format!("a realm has {name}"), has);
    }
    Ok(())
}

/// An ordinary VM has nothing of what realms have.
fn ordinary(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape {
        realm: false,
        ..Shape::REALM
    })?;
    let has = vm.fd.check_extension_raw(233);
    cases.equal("an ordinary VM has no MEMORY_ATTRIBUTES", has, 0);
    for private in [false, true] {
        let set = vm.set_private(BASE, PAGE_SIZE, private);
        let what = format!("an ordinary VM's memory: private {private}");
        cases.errno(&what, set, libc::EINVAL);
    }
    Ok(())
}
