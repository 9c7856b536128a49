// SPDX-License-Identifier: GPL-2.0

//! Which of KVM's capabilities a realm's VM has, apart from ours and from SVE.

use kernel::bindings;

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
