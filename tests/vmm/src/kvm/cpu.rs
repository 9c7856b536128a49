// SPDX-License-Identifier: GPL-2.0

//! Making CPUs.

use std::ffi::{c_int, c_ulong};

use kvm_bindings::{
    kvm_device_attr,
    kvm_vcpu_init,
    KVM_ARM_VCPU_PMU_V3,
    KVM_ARM_VCPU_PMU_V3_CTRL,
    KVM_ARM_VCPU_PMU_V3_INIT,
    KVM_ARM_VCPU_PMU_V3_IRQ,
    KVM_ARM_VCPU_POWER_OFF,
    KVM_ARM_VCPU_PSCI_0_2,
    KVM_ARM_VCPU_PTRAUTH_ADDRESS,
    KVM_ARM_VCPU_PTRAUTH_GENERIC,
    KVM_ARM_VCPU_SVE,
    KVM_CAP_ARM_PTRAUTH_ADDRESS,
    KVM_CAP_ARM_PTRAUTH_GENERIC,
    KVM_CAP_ARM_SVE, //
};
use kvm_ioctls::VcpuFd;

use super::vm::Vm;
use crate::error::{Result, Trying};
use crate::layout::PMU_IRQ;

/// KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE; core registers are numbered by words.
const CORE: u64 = 0x6030_0000_0010_0000;
/// The program counter.
const PC: u64 = CORE | (0x100 / 4);
/// The first register.
const X0: u64 = CORE;
/// PMCR_EL0, and how many event counters it says that there are.
const PMCR: u64 = 0x6030_0000_0013_dce0;
const PMCR_N_SHIFT: u32 = 11;
const PMCR_N: u64 = 0x1f << PMCR_N_SHIFT;

/// What a CPU may have, and which capability says so.
const OPTIONAL: [(u32, u32); 3] = [
    (KVM_CAP_ARM_PTRAUTH_ADDRESS, KVM_ARM_VCPU_PTRAUTH_ADDRESS),
    (KVM_CAP_ARM_PTRAUTH_GENERIC, KVM_ARM_VCPU_PTRAUTH_GENERIC),
    (KVM_CAP_ARM_SVE, KVM_ARM_VCPU_SVE),
];

/// Makes CPU `id`, which is the next number from 0 on. All but the first are off until the guest
/// turns them on.
///
/// # Errors
///
/// There are too many.
pub fn create(vm: &Vm, id: u64) -> Result<VcpuFd> {
    let fd = vm.fd.create_vcpu(id);
    let fd = fd.trying(format!("KVM_CREATE_VCPU {id}"));
    let fd = fd.map_err(|e| e.advise("the host may not have as many: --cpus"))?;
    let mut init = kvm_vcpu_init::default();
    let target = vm.fd.get_preferred_target(&mut init);
    target.trying("KVM_ARM_PREFERRED_TARGET")?;
    // A realm's calls to turn CPUs on and off arrive in KVM as well: it has to know of them.
    init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
    if id != 0 {
        init.features[0] |= 1 << KVM_ARM_VCPU_POWER_OFF;
    }
    // All that the host has, and, for a realm, the RMM as well.
    for (capability, feature) in OPTIONAL {
        if vm.fd.check_extension_raw(c_ulong::from(capability)) == 1 {
            init.features[0] |= 1 << feature;
        }
    }
    if vm.pmu.is_some() {
        init.features[0] |= 1 << KVM_ARM_VCPU_PMU_V3;
    }
    fd.vcpu_init(&init).trying("KVM_ARM_VCPU_INIT")?;
    if let Some(counters) = vm.pmu {
        set_counters(&fd, counters)?;
    }
    if init.features[0] & (1 << KVM_ARM_VCPU_SVE) != 0 {
        // With all vector lengths, which KVM_REG_ARM64_SVE_VLS could have made fewer before.
        let finalize = fd.vcpu_finalize(&(KVM_ARM_VCPU_SVE as c_int));
        finalize.trying("KVM_ARM_VCPU_FINALIZE of SVE")?;
    }
    Ok(fd)
}

/// Chooses how many event counters the PMU has, of all CPUs in fact.
fn set_counters(cpu: &VcpuFd, counters: u64) -> Result<()> {
    let mut value = [0; 8];
    let get = cpu.get_one_reg(PMCR, &mut value);
    get.trying("KVM_GET_ONE_REG of PMCR_EL0")?;
    let wanted = u64::from_le_bytes(value) & !PMCR_N | counters << PMCR_N_SHIFT;
    let set = cpu.set_one_reg(PMCR, &wanted.to_le_bytes());
    let set = set.trying(format!(
        "KVM_SET_ONE_REG of PMCR_EL0 for {counters} counters"
    ));
    set.map_err(|e| e.advise("there may not be as many: --pmu"))?;
    Ok(())
}

/// Gives the PMU of a CPU its interrupt. The interrupt controller is there.
///
/// # Errors
///
/// Those of KVM_SET_DEVICE_ATTR.
pub fn init_pmu(cpu: &VcpuFd) -> Result<()> {
    let set = |attr: u32, addr: u64| {
        cpu.set_device_attr(&kvm_device_attr {
            group: KVM_ARM_VCPU_PMU_V3_CTRL,
            attr: attr.into(),
            addr,
            flags: 0,
        })
    };
    let interrupt = PMU_IRQ;
    let at = (&raw const interrupt).expose_provenance() as u64;
    set(KVM_ARM_VCPU_PMU_V3_IRQ, at).trying("KVM_ARM_VCPU_PMU_V3_IRQ")?;
    set(KVM_ARM_VCPU_PMU_V3_INIT, 0).trying("KVM_ARM_VCPU_PMU_V3_INIT")
}

/// Says where the first CPU starts, and what it finds in x0. The others are told by the guest.
///
/// # Errors
///
/// Those of KVM_SET_ONE_REG.
pub fn set_entry(cpu: &VcpuFd, entry: u64, x0: u64) -> Result<()> {
    for (register, value) in [(PC, entry), (X0, x0)] {
        let set = cpu.set_one_reg(register, &value.to_le_bytes());
        set.trying(format!("KVM_SET_ONE_REG {register:#x}"))?;
    }
    Ok(())
}
