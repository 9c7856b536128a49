// SPDX-License-Identifier: GPL-2.0

//! KVM_CREATE_VM.

use kvm_arm_rmi::uapi::KVM_VM_TYPE_ARM_REALM;
use kvm_ioctls::{Cap, Kvm};

use super::Cases;
use crate::realm::{ensure, Result};

/// KVM_CAP_MEMORY_ATTRIBUTES, which ordinary VMs have not.
const MEMORY_ATTRIBUTES: u64 = 233;
/// Type of pKVM's protected VMs.
const PROTECTED: u64 = 1 << 31;
/// The least that KVM takes, and the most that its argument can say.
const LEAST: u64 = 32;
const MOST: u64 = 0xff;

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    let kvm = Kvm::new()?;
    let create = |bits| kvm.create_vm_with_type(KVM_VM_TYPE_ARM_REALM | bits);
    cases.errno("a realm with the default IPA width", create(0), 0);
    for bits in [1, 31, 64, MOST] {
        let what = format!("a realm with IPA width {bits}");
        cases.errno(&what, create(bits), libc::EINVAL);
    }
    cases.errno("realm and protected", create(PROTECTED), libc::EINVAL);
    for bit in [8, 16, 29, 32, 62, 63] {
        let what = format!("a realm with bit {bit}");
        cases.errno(&what, create(1 << bit), libc::EINVAL);
    }
    // Other VMMs' bit for a realm, alone.
    for bits in [0, 40] {
        let what = format!("a realm by bit 8, {bits} bits wide");
        let vm = kvm.create_vm_with_type(1 << 8 | bits);
        let is_realm = vm
            .as_ref()
            .is_ok_and(|vm| vm.check_extension_raw(MEMORY_ATTRIBUTES) != 0);
        cases.errno(&what, vm, 0);
        cases.holds(&format!("{what}: its memory has attributes"), is_realm);
    }
    for bits in [1 << 8 | 31, 3 << 8, 1 << 8 | PROTECTED] {
        let what = format!("a VM of type {bits:#x}");
        cases.errno(&what, kvm.create_vm_with_type(bits), libc::EINVAL);
    }

    // How VMMs look for the limit: it must be one, and at most the host's.
    let host = u64::try_from(kvm.check_extension_int(Cap::ArmVmIPASize))?;
    let good: Vec<u64> = (0..=MOST).filter(|&bits| create(bits).is_ok()).collect();
    let limit = *good.last().ok_or("no realm")?;
    ensure!(limit >= 40, "the widest realm has {limit} bits");
    let wanted = [0].into_iter().chain(LEAST..=limit).collect::<Vec<_>>();
    cases.equal("the IPA widths that realms can have", good, wanted);
    cases.holds("a realm's IPA is not wider than the host's", limit <= host);
    println!("IPA widths from {LEAST} to {limit}");
    Ok(())
}
