// SPDX-License-Identifier: GPL-2.0

//! The user ABI in Rust is the one in C.

use core::mem::{align_of, offset_of, size_of};
use kvm_arm_rmi::uapi::{
    KvmArmRmiPopulate,
    KVM_ARM_RMI_POPULATE,
    KVM_ARM_RMI_POPULATE_FLAGS_MEASURE,
    KVM_CAP_ARM_RMI,
    KVM_VM_TYPE_ARM_REALM, //
};

const HEADER: &str = include_str!("../../uapi/kvm_arm_rmi.h");

/// `KVMIO`, the type of KVM's ioctls.
const KVMIO: u32 = 0xae;

/// What the header defines `name` as.
fn definition(name: &str) -> &'static str {
    let mut found = HEADER.lines().filter_map(|line| {
        let rest = line.strip_prefix("#define ")?.strip_prefix(name)?;
        rest.starts_with(char::is_whitespace).then(|| rest.trim())
    });
    let value = found.next().unwrap_or_else(|| panic!("no {name}"));
    assert_eq!(found.next(), None, "{name} is defined twice");
    value
}

/// A number, or `_BITUL(N)`.
fn number(text: &str) -> u64 {
    let bit = text
        .strip_prefix("_BITUL(")
        .and_then(|rest| rest.strip_suffix(')'));
    match bit {
        Some(bit) => 1 << bit.parse::<u32>().unwrap(),
        None => text.parse().unwrap(),
    }
}

/// The fields of a structure: their names, offsets and sizes.
fn fields(name: &str) -> Vec<(&'static str, usize, usize)> {
    let (_, body) = HEADER.split_once(&format!("struct {name} {{")).unwrap();
    let (body, _) = body.split_once("};").unwrap();
    let mut offset = 0;
    let mut fields = Vec::new();
    for field in body.split(';').map(str::trim).filter(|f| !f.is_empty()) {
        let (kind, name) = field.split_once(' ').unwrap();
        let size = match kind {
            "__u64" => 8,
            "__u32" => 4,
            _ => panic!("{kind} {name}"),
        };
        assert_eq!(offset % size, 0, "{name} has a hole before it");
        fields.push((name, offset, size));
        offset += size;
    }
    fields
}

#[test]
fn numbers_are_those_of_the_header() {
    assert_eq!(
        number(definition("KVM_CAP_ARM_RMI")),
        u64::from(KVM_CAP_ARM_RMI)
    );
    assert_eq!(
        number(definition("KVM_VM_TYPE_ARM_REALM")),
        KVM_VM_TYPE_ARM_REALM
    );
    assert_eq!(
        number(definition("KVM_ARM_RMI_POPULATE_FLAGS_MEASURE")),
        u64::from(KVM_ARM_RMI_POPULATE_FLAGS_MEASURE)
    );
}

#[test]
fn populate_is_laid_out_as_in_the_header() {
    macro_rules! field {
        ($name:ident) => {{
            let value = KvmArmRmiPopulate::default().$name;
            let offset = offset_of!(KvmArmRmiPopulate, $name);
            (stringify!($name), offset, size_of_val(&value))
        }};
    }
    let ours = [
        field!(base),
        field!(size),
        field!(source_uaddr),
        field!(flags),
        field!(reserved),
    ];
    assert_eq!(fields("kvm_arm_rmi_populate"), ours);
    assert_eq!(size_of::<KvmArmRmiPopulate>(), 32);
    assert_eq!(align_of::<KvmArmRmiPopulate>(), 8);
}

#[test]
fn populate_has_the_number_that_the_header_makes_of_it() {
    let arguments = definition("KVM_ARM_RMI_POPULATE")
        .strip_prefix("_IOWR(KVMIO, ")
        .and_then(|rest| rest.strip_suffix(", struct kvm_arm_rmi_populate)"))
        .unwrap();
    let number = u32::from_str_radix(arguments.strip_prefix("0x").unwrap(), 16).unwrap();
    // _IOC: direction (read and write), size, type, number.
    let size = u32::try_from(size_of::<KvmArmRmiPopulate>()).unwrap();
    assert_eq!(
        3 << 30 | size << 16 | KVMIO << 8 | number,
        KVM_ARM_RMI_POPULATE
    );
}
