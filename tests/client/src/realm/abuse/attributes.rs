// SPDX-License-Identifier: GPL-2.0

//! What a VMM chooses for its realm: how it is measured, and its personalisation value.

use std::os::fd::AsRawFd;

use kvm_arm_rmi::uapi::{
    KVM_ARM_VM_RMI_CTRL,
    KVM_ARM_VM_RMI_HASH_ALGO,
    KVM_ARM_VM_RMI_HASH_ALGOS,
    KVM_ARM_VM_RMI_RPV, //
};
use kvm_bindings::kvm_device_attr;
use realm_attest::hash::Hash;
use realm_guest::{rsi, Op, Order};

use super::Cases;
use crate::realm::brief::on_cpu;
use crate::realm::memory::check;
use crate::realm::run::chunk;
use crate::realm::run::measurement::check_rim;
use crate::realm::vm::{Shape, Vm};
use crate::realm::Result;

/// _IOW(KVMIO, 0xe1, 0xe2 and 0xe3, struct kvm_device_attr)
const SET: libc::c_ulong = 0x4018_aee1;
const GET: libc::c_ulong = 0x4018_aee2;
const HAS: libc::c_ulong = 0x4018_aee3;

/// No attribute is larger.
pub(crate) type Value = [u64; 8];

fn attribute(
    vm: &Vm,
    ioctl: libc::c_ulong,
    attr: u64,
    flags: u32,
    value: &mut Value,
) -> std::io::Result<()> {
    at(vm, ioctl, attr, flags, (&raw mut *value).addr() as u64)
}

fn at(vm: &Vm, ioctl: libc::c_ulong, attr: u64, flags: u32, addr: u64) -> std::io::Result<()> {
    let attribute = kvm_device_attr {
        flags,
        group: KVM_ARM_VM_RMI_CTRL,
        attr,
        addr,
    };
    // SAFETY: The ioctl reads one such structure, and writes what fits where it points to.
    check(unsafe { libc::ioctl(vm.fd.as_raw_fd(), ioctl, &raw const attribute) })
}

/// An attribute's value; a number is in the first word.
pub(crate) fn get(vm: &Vm, attr: u64) -> std::io::Result<Value> {
    let mut value = [0; 8];
    attribute(vm, GET, attr, 0, &mut value)?;
    Ok(value)
}

/// Sets an attribute, likewise.
pub(crate) fn set(vm: &Vm, attr: u64, mut value: Value) -> std::io::Result<()> {
    attribute(vm, SET, attr, 0, &mut value)
}

pub(crate) const fn number(number: u64) -> Value {
    [number, 0, 0, 0, 0, 0, 0, 0]
}

/// Where RSI_REALM_CONFIG tells of it.
const RPV_AT: u64 = 0x200;

const RPV: Value = [0x1111, 0x2222, 3, 4, 5, 6, 7, u64::MAX];

/// True if this host has the attributes.
pub(in crate::realm) fn is_offered() -> Result<bool> {
    let vm = Vm::empty(Shape::REALM)?;
    let has = attribute(&vm, HAS, KVM_ARM_VM_RMI_HASH_ALGO, 0, &mut number(0));
    Ok(has.is_ok())
}

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    let vm = Vm::empty(Shape::REALM)?;
    refused(cases, &vm);
    let there = get(&vm, KVM_ARM_VM_RMI_HASH_ALGOS)?[0];
    cases.holds("there is a hash algorithm, and we know all", there - 1 < 7);
    for hash in Hash::ALL {
        if there >> hash as u64 & 1 != 0 {
            measured(cases, hash)?;
        } else {
            let unknown = set(&vm, KVM_ARM_VM_RMI_HASH_ALGO, number(hash as u64));
            cases.errno("a hash algorithm that is not there", unknown, libc::EINVAL);
        }
    }
    let ordinary = Vm::empty(Shape {
        realm: false,
        ..Shape::REALM
    })?;
    let has = attribute(&ordinary, HAS, KVM_ARM_VM_RMI_RPV, 0, &mut [0; 8]);
    cases.errno("of an ordinary VM", has, libc::ENXIO);
    let set = set(&ordinary, KVM_ARM_VM_RMI_RPV, RPV);
    cases.errno("set, of an ordinary VM", set, libc::ENXIO);
    Ok(())
}

fn refused(cases: &mut Cases, vm: &Vm) {
    for attr in [
        KVM_ARM_VM_RMI_HASH_ALGO,
        KVM_ARM_VM_RMI_RPV,
        KVM_ARM_VM_RMI_HASH_ALGOS,
    ] {
        let mut value = [0; 8];
        let mut has = |flags| attribute(vm, HAS, attr, flags, &mut value);
        cases.errno("an attribute", has(0), 0);
        cases.errno("one with flags", has(1), libc::EINVAL);
        cases.errno("to nowhere", at(vm, GET, attr, 0, 0), libc::EFAULT);
    }
    cases.errno("an unknown one", get(vm, 3), libc::ENXIO);
    let result = set(vm, KVM_ARM_VM_RMI_HASH_ALGOS, number(1));
    cases.errno("what the RMM has", result, libc::ENXIO);
    for unknown in [3, 64, u64::MAX] {
        let result = set(vm, KVM_ARM_VM_RMI_HASH_ALGO, number(unknown));
        cases.errno("an unknown hash algorithm", result, libc::EINVAL);
    }
    let nowhere = at(vm, SET, KVM_ARM_VM_RMI_RPV, 0, 0);
    cases.errno("a value from nowhere", nowhere, libc::EFAULT);
    let rpv = get(vm, KVM_ARM_VM_RMI_RPV).ok();
    cases.equal("the value at first", rpv, Some([0; 8]));
}

/// A realm that is measured so, and knows it and its personalisation value.
fn measured(cases: &mut Cases, hash: Hash) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let number = number(hash as u64);
    cases.errno(
        "a hash algorithm",
        set(&vm, KVM_ARM_VM_RMI_HASH_ALGO, number),
        0,
    );
    cases.errno("a value", set(&vm, KVM_ARM_VM_RMI_RPV, RPV), 0);
    on_cpu(&vm, |cpu| {
        let rim = check_rim(cpu, hash, &[], 0);
        cases.holds(&format!("measured by {hash:?}: {rim:?}"), rim.is_ok());
        let late = set(&vm, KVM_ARM_VM_RMI_RPV, [0; 8]);
        cases.errno("a value that comes too late", late, libc::EBUSY);
        let late = set(&vm, KVM_ARM_VM_RMI_HASH_ALGO, number);
        cases.errno("a hash algorithm that comes too late", late, libc::EBUSY);
        let is = get(&vm, KVM_ARM_VM_RMI_HASH_ALGO).ok();
        cases.equal("the hash algorithm", is, Some(number));
        let page = chunk(0);
        let call = [realm_guest::fid::REALM_CONFIG, page];
        let [status, ..] = cpu.order(Order::new(Op::Smc, 2), &call)?;
        cases.equal("RSI_REALM_CONFIG", status, rsi::SUCCESS);
        for (offset, wanted) in [(0x8, hash as u64)]
            .into_iter()
            .chain((RPV_AT..).step_by(8).zip(RPV))
        {
            let load = [page + offset, 8];
            let [_, word, ..] = cpu.order(Order::new(Op::Load, 0), &load)?;
            let what = format!("what the realm is told at {offset:#x}");
            cases.equal(&what, word, wanted);
        }
        Ok(())
    })
}
