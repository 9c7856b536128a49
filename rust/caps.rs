// SPDX-License-Identifier: GPL-2.0

//! Which of KVM's capabilities a realm's VM has, apart from ours, SVE and the PMU; and which numbers
//! ours may have.

use crate::sys::{
    kernel::{bindings, prelude::*},
    platform::CapNumbers, //
};

/// The highest number that KVM has given to one of its own.
const LAST: u32 = bindings::KVM_CAP_ARM_PMU_V3_STRICT;

/// Those of other architectures among the last: KVM on arm64 does not answer for them itself, and VMMs for
/// arm64 do not ask.
const FOREIGN: &[u32] = &[
    bindings::KVM_CAP_S390_USER_OPEREXEC,
    bindings::KVM_CAP_S390_KEYOP,
    bindings::KVM_CAP_S390_VSIE_ESAMODE,
    bindings::KVM_CAP_S390_HPAGE_2G,
    bindings::KVM_CAP_PPC_COMPAT_CAPS,
];

/// Looks at the numbers that ours have been given.
///
/// # Errors
///
/// `EINVAL` if they have the same, or one is KVM's own.
pub(crate) fn check(numbers: &CapNumbers) -> Result {
    let (rmi, gmem) = (numbers.rmi, numbers.gmem_attributes);
    if rmi == gmem {
        pr_err!("cap and gmem_attributes_cap are both {rmi}\n");
        return Err(EINVAL);
    }
    check_one("cap", rmi, numbers.forced)?;
    match gmem {
        // There is no such capability.
        0 => Ok(()),
        _ => check_one("gmem_attributes_cap", gmem, numbers.forced),
    }
}

/// # Errors
///
/// As for [`check`].
fn check_one(parameter: &str, number: u32, forced: bool) -> Result {
    let foreign = FOREIGN.contains(&number);
    match () {
        () if number > LAST || foreign && forced => Ok(()),
        () if foreign => {
            pr_err!("{parameter}={number} is a capability of another architecture; force_cap=1 takes it\n");
            Err(EINVAL)
        }
        () => {
            pr_err!(
                "{parameter}={number} is another capability of KVM's; {} and above are free\n",
                LAST + 1
            );
            Err(EINVAL)
        }
    }
}

/// Those that do what they do for any VM.
pub(crate) const ALLOWED: &[u32] = &[
    bindings::KVM_CAP_IRQCHIP,
    bindings::KVM_CAP_USER_MEMORY,
    bindings::KVM_CAP_NR_VCPUS,
    bindings::KVM_CAP_NR_MEMSLOTS,
    bindings::KVM_CAP_MP_STATE,
    bindings::KVM_CAP_COALESCED_MMIO,
    bindings::KVM_CAP_SYNC_MMU,
    bindings::KVM_CAP_DESTROY_MEMORY_REGION_WORKS,
    bindings::KVM_CAP_IRQ_ROUTING,
    bindings::KVM_CAP_JOIN_MEMORY_REGIONS_WORKS,
    bindings::KVM_CAP_IRQFD,
    bindings::KVM_CAP_IOEVENTFD,
    bindings::KVM_CAP_INTERNAL_ERROR_DATA,
    bindings::KVM_CAP_VCPU_EVENTS,
    bindings::KVM_CAP_MAX_VCPUS,
    bindings::KVM_CAP_ONE_REG,
    bindings::KVM_CAP_SIGNAL_MSI,
    bindings::KVM_CAP_IRQFD_RESAMPLE,
    bindings::KVM_CAP_ARM_PSCI,
    bindings::KVM_CAP_DEVICE_CTRL,
    bindings::KVM_CAP_ENABLE_CAP_VM,
    bindings::KVM_CAP_ARM_PSCI_0_2,
    bindings::KVM_CAP_CHECK_EXTENSION_VM,
    bindings::KVM_CAP_IOEVENTFD_ANY_LENGTH,
    bindings::KVM_CAP_VCPU_ATTRIBUTES,
    bindings::KVM_CAP_MAX_VCPU_ID,
    bindings::KVM_CAP_MSI_DEVID,
    bindings::KVM_CAP_IMMEDIATE_EXIT,
    bindings::KVM_CAP_ARM_INJECT_EXT_DABT,
    bindings::KVM_CAP_ARM_VM_IPA_SIZE,
    // All that it changes is when KVM would protect pages, which it does not do to those of realms.
    bindings::KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
    bindings::KVM_CAP_ARM_IRQ_LINE_LAYOUT_2,
    bindings::KVM_CAP_ARM_PTRAUTH_ADDRESS,
    bindings::KVM_CAP_ARM_PTRAUTH_GENERIC,
    bindings::KVM_CAP_HALT_POLL,
    bindings::KVM_CAP_BINARY_STATS_FD,
    bindings::KVM_CAP_SYSTEM_EVENT_DATA,
    bindings::KVM_CAP_USER_MEMORY2,
    bindings::KVM_CAP_MEMORY_ATTRIBUTES,
    bindings::KVM_CAP_GUEST_MEMFD,
    bindings::KVM_CAP_GUEST_MEMFD_FLAGS,
    bindings::KVM_CAP_PRE_FAULT_MEMORY,
];
