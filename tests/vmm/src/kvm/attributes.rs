// SPDX-License-Identifier: GPL-2.0

//! How a realm is measured.

use kvm_arm_rmi::uapi::{
    KVM_ARM_RMI_HASH_SHA_256,
    KVM_ARM_RMI_HASH_SHA_384,
    KVM_ARM_RMI_HASH_SHA_512,
    KVM_ARM_VM_RMI_CTRL,
    KVM_ARM_VM_RMI_HASH_ALGO,
    KVM_ARM_VM_RMI_RPV, //
};
use kvm_bindings::kvm_device_attr;

use super::vm::Vm;
use crate::args::{Args, Hash};
use crate::error::{Result, Trying};

/// Tells KVM what `args` say of it, before the realm is made.
///
/// # Errors
///
/// The RMM has no such hash algorithm.
pub fn choose(vm: &Vm, args: &Args) -> Result<()> {
    if let Some(hash) = args.hash {
        let number: u64 = match hash {
            Hash::Sha256 => KVM_ARM_RMI_HASH_SHA_256,
            Hash::Sha384 => KVM_ARM_RMI_HASH_SHA_384,
            Hash::Sha512 => KVM_ARM_RMI_HASH_SHA_512,
        };
        let set = set(vm, KVM_ARM_VM_RMI_HASH_ALGO, (&raw const number).addr());
        set.map_err(|e| e.advise("the RMM may not have that algorithm: --hash"))?;
    }
    if let Some(rpv) = &args.rpv {
        set(vm, KVM_ARM_VM_RMI_RPV, rpv.0.as_ptr().addr())?;
    }
    Ok(())
}

/// `at` is where the value is, which KVM reads.
fn set(vm: &Vm, attr: u64, at: usize) -> Result<()> {
    let attribute = kvm_device_attr {
        group: KVM_ARM_VM_RMI_CTRL,
        attr,
        addr: at as u64,
        flags: 0,
    };
    let set = vm.fd.set_device_attr(&attribute);
    set.trying(format!("KVM_SET_DEVICE_ATTR {attr} of a realm"))
}
