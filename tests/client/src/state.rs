// SPDX-License-Identifier: GPL-2.0

//! Everything that KVM tells user space of itself and of an ordinary VM, one thing in a line: what two
//! kernels may be compared by.

use std::error::Error;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use kvm_arm_rmi::uapi::KVM_ARM_RMI_POPULATE;
use kvm_bindings::{
    kvm_memory_attributes,
    kvm_vcpu_init,
    KVM_ARM_VCPU_PMU_V3,
    KVM_ARM_VCPU_PSCI_0_2,
    KVM_ARM_VCPU_PTRAUTH_ADDRESS,
    KVM_ARM_VCPU_PTRAUTH_GENERIC,
    KVM_ARM_VCPU_SVE, //
};
use kvm_ioctls::{Kvm, VmFd};

/// Capabilities have numbers below this, and a few more are asked for.
const CAPABILITIES: u64 = 300;
/// Sets of features of a vCPU. Those of pointer authentication are had together only, and hosts without
/// a PMU refuse what has that.
const FEATURES: [&[u32]; 8] = [
    &[],
    &[KVM_ARM_VCPU_PSCI_0_2],
    &[KVM_ARM_VCPU_PMU_V3],
    &[KVM_ARM_VCPU_SVE],
    &[KVM_ARM_VCPU_PTRAUTH_ADDRESS],
    &[KVM_ARM_VCPU_PTRAUTH_ADDRESS, KVM_ARM_VCPU_PTRAUTH_GENERIC],
    &[
        KVM_ARM_VCPU_PSCI_0_2,
        KVM_ARM_VCPU_SVE,
        KVM_ARM_VCPU_PTRAUTH_ADDRESS,
        KVM_ARM_VCPU_PTRAUTH_GENERIC,
    ],
    &[
        KVM_ARM_VCPU_PSCI_0_2,
        KVM_ARM_VCPU_PMU_V3,
        KVM_ARM_VCPU_SVE,
        KVM_ARM_VCPU_PTRAUTH_ADDRESS,
        KVM_ARM_VCPU_PTRAUTH_GENERIC,
    ],
];
/// KVM_CREATE_VM, KVM_ARM_GET_REG_WRITABLE_MASKS and its argument: masks of the ID registers.
const CREATE_VM: u64 = 0xae01;
const GET_MASKS: u64 = 0x8040_aeb6;
const MASKS: usize = 3 * 8 * 8;
/// KVM_GET_REG_LIST, and words for it: enough for all registers of a vCPU with SVE.
const GET_REG_LIST: u64 = 0xc008_aeb0;
const REGISTERS: usize = 4096;

/// Registers that count: KVM_REG_ARM_TIMER_CNT, whose number is that of the comparator by mistake, which
/// is ABI now, and KVM_REG_ARM_PTIMER_CNT.
const TIMES: [u64; 2] = [0x6030_0000_0013_df1a, 0x6030_0000_0013_df01];

fn name(result: i32) -> String {
    match result {
        0.. => result.to_string(),
        _ => io::Error::last_os_error().to_string(),
    }
}

/// `rmi-client state`.
pub(crate) fn print() -> Result<(), Box<dyn Error>> {
    let kvm = Kvm::new()?;
    for number in 0..CAPABILITIES {
        println!("kvm cap {number} {}", kvm.check_extension_raw(number));
    }
    let widths = [0].into_iter().chain(31..=53);
    for kind in widths.chain([8, 16, 29, 30, 31, 32, 63].map(|bit| 1 << bit)) {
        // SAFETY: The argument is a number.
        let vm = unsafe { libc::ioctl(kvm.as_raw_fd(), CREATE_VM, kind) };
        let is = name(vm.min(0));
        if vm >= 0 {
            // SAFETY: The kernel has just made it for us.
            drop(unsafe { OwnedFd::from_raw_fd(vm) });
        }
        println!("type {kind:#x} {is}");
    }
    let vm = kvm.create_vm()?;
    for number in 0..CAPABILITIES {
        println!("vm cap {number} {}", vm.check_extension_raw(number));
    }
    let attributes = vm.set_memory_attributes(kvm_memory_attributes::default());
    println!("vm attributes {attributes:?}");
    let nothing = [0u64; 8];
    // SAFETY: The ioctl reads and writes less than that, if there is one.
    let populate = unsafe { libc::ioctl(vm.as_raw_fd(), KVM_ARM_RMI_POPULATE.into(), &nothing) };
    println!("vm populate {}", name(populate));
    let mut masks = [0u64; MASKS];
    // Address, range, and nothing else.
    let range = [masks.as_mut_ptr().addr() as u64, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: The ioctl reads the range, and writes as many masks as there are.
    let got = unsafe { libc::ioctl(vm.as_raw_fd(), GET_MASKS, &range) };
    println!("vm masks {}", name(got));
    for (n, mask) in masks.iter().enumerate().filter(|(_, mask)| **mask != 0) {
        println!("vm mask {n} {mask:#x}");
    }
    for set in FEATURES {
        let features = set.iter().fold(0, |all, feature| all | 1 << feature);
        registers(&kvm.create_vm()?, features)?;
    }
    Ok(())
}

/// All registers of a vCPU with some features.
fn registers(vm: &VmFd, features: u32) -> Result<(), Box<dyn Error>> {
    let vcpu = vm.create_vcpu(0)?;
    let mut init = kvm_vcpu_init::default();
    vm.get_preferred_target(&mut init)?;
    init.features[0] |= features;
    if let Err(error) = vcpu.vcpu_init(&init) {
        println!("features {features:#x}: {error}");
        return Ok(());
    }
    if features & 1 << KVM_ARM_VCPU_SVE != 0 {
        vcpu.vcpu_finalize(&KVM_ARM_VCPU_SVE.try_into()?)?;
    }
    // The number of those that follow, and these: more than the crate's list has room for.
    let mut list = vec![0u64; REGISTERS];
    list[0] = REGISTERS as u64 - 1;
    // SAFETY: The ioctl writes as many words as the first says that there is room for.
    if unsafe { libc::ioctl(vcpu.as_raw_fd(), GET_REG_LIST, list.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error().into());
    }
    let count = usize::try_from(list[0])?;
    for &id in &list[1..=count] {
        // Bits 52 and up: log2 of the bytes.
        let mut value = vec![0; 1 << (id >> 52 & 15)];
        let got = vcpu.get_one_reg(id, &mut value).map(|_| ());
        if TIMES.contains(&id) {
            value.fill(0);
        }
        println!("features {features:#x} register {id:#x} {got:?} {value:x?}");
    }
    Ok(())
}
