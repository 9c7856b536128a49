// SPDX-License-Identifier: GPL-2.0

//! Where the interrupt controller of a realm may be: in the lower half of its IPA space, as user space
//! names memory. In the upper half the realm would never reach it.

use std::io;

use kvm_bindings::{
    kvm_create_device,
    kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS,
    KVM_DEV_ARM_VGIC_GRP_ADDR,
    KVM_VGIC_ITS_ADDR_TYPE,
    KVM_VGIC_V3_ADDR_TYPE_DIST,
    KVM_VGIC_V3_ADDR_TYPE_REDIST, //
};
use kvm_ioctls::DeviceFd;

use super::Cases;
use crate::realm::vm::{Shape, Vm};
use crate::realm::Result;

const KIB: u64 = 1 << 10;
/// Half of an IPA space of 40 bits, and all of it.
const HALF: u64 = 1 << 39;
const ALL: u64 = 1 << 40;
/// Sizes of a distributor, of a redistributor and of an ITS.
const GICD: u64 = 64 * KIB;
const GICR: u64 = 128 * KIB;
const ITS: u64 = 128 * KIB;

fn put(device: &DeviceFd, kind: u32, address: u64) -> io::Result<()> {
    Ok(device.set_device_attr(&kvm_device_attr {
        group: KVM_DEV_ARM_VGIC_GRP_ADDR,
        attr: kind.into(),
        addr: (&raw const address).addr() as u64,
        flags: 0,
    })?)
}

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    let ordinary = Shape {
        realm: false,
        ..Shape::REALM
    };
    // Where the space that counts ends.
    for (shape, name, end) in [(Shape::REALM, "realm", HALF), (ordinary, "other VM", ALL)] {
        for (part, kind, size) in [
            ("distributor", KVM_VGIC_V3_ADDR_TYPE_DIST, GICD),
            ("redistributor", KVM_VGIC_V3_ADDR_TYPE_REDIST, GICR),
            ("ITS", KVM_VGIC_ITS_ADDR_TYPE, ITS),
        ] {
            let vm = Vm::empty(shape)?;
            let _cpu = vm.fd.create_vcpu(0)?;
            let gic = vm.create_gic()?;
            let mut its = kvm_create_device {
                type_: kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS,
                ..Default::default()
            };
            let its = vm.fd.create_device(&mut its)?;
            let device = if part == "ITS" { &its } else { &gic };
            for (address, errno) in [
                (ALL, libc::E2BIG),
                (ALL - size + 64 * KIB, libc::E2BIG),
                (end, libc::E2BIG),
                (end - size + 64 * KIB, libc::E2BIG),
                (end - size, 0),
            ] {
                let what = format!("a {name}'s {part} at {address:#x}");
                cases.errno(&what, put(device, kind, address), errno);
            }
            if shape.realm {
                continue;
            }
            cases.errno("and once more", put(device, kind, 0), libc::EEXIST);
        }
        // The end of the whole space is the end of the upper half.
        let vm = Vm::empty(shape)?;
        let _cpu = vm.fd.create_vcpu(0)?;
        let gic = vm.create_gic()?;
        let errno = if shape.realm { libc::E2BIG } else { 0 };
        let last = put(&gic, KVM_VGIC_V3_ADDR_TYPE_REDIST, ALL - GICR);
        cases.errno(&format!("a {name}'s last redistributor"), last, errno);
    }
    Ok(())
}
