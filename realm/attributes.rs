// SPDX-License-Identifier: GPL-2.0

//! What a VMM chooses for its realm before that is made: attributes of the VM.

use super::{
    shape::{hashes, Choice},
    vm::Vm,
    State, //
};
use crate::{
    rmi::cmd::realm::HashAlgorithm,
    sys::{ops::AttrOp, prelude::*, user::VmAttr},
    uapi::{
        KVM_ARM_RMI_HASH_SHA_256,
        KVM_ARM_RMI_HASH_SHA_384,
        KVM_ARM_RMI_HASH_SHA_512,
        KVM_ARM_VM_RMI_HASH_ALGO,
        KVM_ARM_VM_RMI_HASH_ALGOS,
        KVM_ARM_VM_RMI_RPV, //
    }, //
};

// User space has the RMM's numbers for them.
const _: () = {
    assert!(HashAlgorithm::Sha256.raw() == KVM_ARM_RMI_HASH_SHA_256);
    assert!(HashAlgorithm::Sha512.raw() == KVM_ARM_RMI_HASH_SHA_512);
    assert!(HashAlgorithm::Sha384.raw() == KVM_ARM_RMI_HASH_SHA_384);
};

/// `KVM_HAS_DEVICE_ATTR`, `KVM_GET_DEVICE_ATTR` and `KVM_SET_DEVICE_ATTR` of the group
/// `KVM_ARM_VM_RMI_CTRL`.
///
/// # Errors
///
/// `ENXIO` if there is no such attribute, or it cannot be set; `EINVAL` for a hash algorithm that the RMM
/// has not, or flags; `EBUSY` to set one when the RMM knows the realm; `EFAULT`.
pub fn attribute(vm: &Vm, op: AttrOp, attr: &VmAttr) -> Result {
    if attr.flags != 0 {
        return Err(EINVAL);
    }
    match (attr.id, op) {
        (
            KVM_ARM_VM_RMI_HASH_ALGO | KVM_ARM_VM_RMI_RPV | KVM_ARM_VM_RMI_HASH_ALGOS,
            AttrOp::Has, //
        ) => Ok(()),
        (KVM_ARM_VM_RMI_HASH_ALGO, AttrOp::Get) => {
            let hash = vm.lifecycle.lock().choice.hash.ok_or(ENXIO)?;
            attr.give(&[hash.raw()])
        }
        (KVM_ARM_VM_RMI_HASH_ALGO, AttrOp::Set) => {
            let [number] = attr.value()?;
            let hash = hashes(&vm.host.negotiated.features).find(|hash| hash.raw() == number);
            choose(vm, |choice| choice.hash = hash, hash.is_some())
        }
        (KVM_ARM_VM_RMI_HASH_ALGOS, AttrOp::Get) => {
            let there = hashes(&vm.host.negotiated.features);
            attr.give(&[there.fold(0, |bits, hash| bits | 1 << hash.raw())])
        }
        (KVM_ARM_VM_RMI_RPV, AttrOp::Get) => {
            let rpv = vm.lifecycle.lock().choice.rpv;
            attr.give(&rpv)
        }
        (KVM_ARM_VM_RMI_RPV, AttrOp::Set) => {
            let rpv = attr.value()?;
            choose(vm, |choice| choice.rpv = rpv, true)
        }
        _ => Err(ENXIO),
    }
}

/// Changes the choice, unless the realm was made with it, or it `is` none.
///
/// # Errors
///
/// `EBUSY` and `EINVAL`, in this order.
fn choose(vm: &Vm, change: impl FnOnce(&mut Choice), is: bool) -> Result {
    let mut lifecycle = vm.lifecycle.lock();
    match (lifecycle.realm.state(), is) {
        (State::None, true) => {
            change(&mut lifecycle.choice);
            Ok(())
        }
        (State::None, false) => Err(EINVAL),
        _ => Err(EBUSY),
    }
}
