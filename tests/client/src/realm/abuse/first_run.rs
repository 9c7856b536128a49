// SPDX-License-Identifier: GPL-2.0

//! The first KVM_RUN, when a VM is not ready for it, and what cannot be changed after it.

use kvm_bindings::{
    kvm_create_device,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS,
    kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2,
    KVM_ARM_VCPU_PSCI_0_2,
    KVM_ARM_VCPU_SVE, //
};
use kvm_ioctls::{Cap, VcpuFd};
use realm_guest::{fid, rsi, Op, Order, PAGE_SIZE};

use super::{regs::SVE_VLS, Cases};
use crate::realm::brief::with_cpu;
use crate::realm::cpu::{init, Cpu};
use crate::realm::memory::{punch_hole, Huge, Mapping};
use crate::realm::run::chunk;
use crate::realm::signal::Kick;
use crate::realm::vm::{Mode, Shape, Vm};
use crate::realm::Result;

/// KVM_DEV_TYPE_ARM_VGIC_V5.
const VGIC_V5: u32 = 16;

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    no_gic(cases)?;
    other_gics(cases)?;
    no_psci(cases)?;
    sparse(cases)?;
    sve(cases)?;
    sve_too_late(cases)?;
    taken_away(cases)?;
    late(cases)
}

/// Memory that was populated, and that the VMM has taken away again in one way or another. The realm
/// runs, and finds it destroyed rather than new.
fn taken_away(cases: &mut Cases) -> Result<()> {
    const SIZE: u64 = 4 * PAGE_SIZE;
    const DESTROYED: u64 = 2;
    type Take = fn(&Vm, u64) -> Result<()>;
    let ways: [(&str, Take); 3] = [
        ("punched", |vm, base| {
            let slot = vm.slots.first().ok_or("no slot")?;
            let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
            Ok(punch_hole(memfd, base - slot.base, SIZE)?)
        }),
        ("shared", |vm, base| Ok(vm.set_private(base, SIZE, false)?)),
        ("shared and private again", |vm, base| {
            vm.set_private(base, SIZE, false)?;
            Ok(vm.set_private(base, SIZE, true)?)
        }),
    ];
    let ways = match Mode::get() {
        Mode::V14 => &ways[..],
        // The others set attributes.
        Mode::V15 => &ways[..1],
    };
    for (what, take) in ways {
        let vm = Vm::new(Shape::REALM)?;
        let kick = Kick::default();
        let mut cpu = Cpu::new(&vm, &kick, 0)?;
        let _gic = vm.add_gic()?;
        vm.load_guest()?;
        // In the middle of a table, and up to its end.
        let bases = [chunk(0) + 8 * PAGE_SIZE, chunk(1) - SIZE];
        let source = Mapping::new(SIZE, Huge::Never)?;
        for base in bases {
            vm.populate(base, &source, true)?;
            take(&vm, base)?;
        }
        cpu.set_entry(0)?;
        let started = cpu.start();
        cases.holds(
            &format!("run: populated, then {what}: {started:?}"),
            started.is_ok(),
        );
        for base in bases {
            let ask = [fid::IPA_STATE_GET, base - PAGE_SIZE, base + SIZE];
            let [_, top, ripas, ..] = cpu.order(Order::new(Op::Smc, 3), &ask)?;
            cases.equal("what is before is RAM", [top, ripas], [base, rsi::RAM]);
            let ask = [fid::IPA_STATE_GET, base, base + SIZE];
            let [_, top, ripas, ..] = cpu.order(Order::new(Op::Smc, 3), &ask)?;
            cases.equal(what, [top, ripas], [base + SIZE, DESTROYED]);
        }
        cpu.expect(Order::pages(Op::Touch, chunk(0), SIZE), &[], 0)?;
        cpu.expect(Order::pages(Op::Touch, chunk(1), SIZE), &[], 0)?;
    }
    Ok(())
}

/// Without a GIC, with one that is not ready, and with one.
fn no_gic(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let mut bare = vm.fd.create_vcpu(1)?;
    cases.errno(
        "run: a CPU without KVM_ARM_VCPU_INIT",
        bare.run(),
        libc::ENOEXEC,
    );
    drop(bare);

    let vm2 = Vm::new(Shape::REALM)?;
    let mut cpu = Cpu::new(&vm2, &kick, 0)?;
    vm2.load_guest()?;
    cpu.set_entry(0)?;
    cases.errno("run: no GIC", cpu.fd.run(), libc::EOPNOTSUPP);
    drop(cpu);

    let vm3 = Vm::new(Shape::REALM)?;
    let mut cpu = Cpu::new(&vm3, &kick, 0)?;
    let gic = vm3.create_gic()?;
    vm3.load_guest()?;
    cpu.set_entry(0)?;
    cases.errno("run: a GIC that is not ready", cpu.fd.run(), libc::ENODEV);
    // What failed so can be mended.
    vm3.init_gic(&gic)?;
    cases.holds("run: mended", cpu.start().is_ok());
    Ok(())
}

fn other_gics(cases: &mut Cases) -> Result<()> {
    let vm = Vm::empty(Shape::REALM)?;
    for (kind, name) in [
        (kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_V2, "GICv2"),
        (VGIC_V5, "GICv5"),
    ] {
        let mut device = kvm_create_device {
            type_: kind,
            ..Default::default()
        };
        let result = vm.fd.create_device(&mut device);
        cases.errno(&format!("create: {name}"), result, libc::ENODEV);
    }
    let mut its = kvm_create_device {
        type_: kvm_device_type_KVM_DEV_TYPE_ARM_VGIC_ITS,
        ..Default::default()
    };
    cases.errno("create: an ITS", vm.fd.create_device(&mut its), 0);
    Ok(())
}

fn no_psci(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let mut cpu = vm.fd.create_vcpu(0)?;
    let mut plain = init(&vm, 0)?;
    plain.features[0] &= !(1 << KVM_ARM_VCPU_PSCI_0_2);
    cpu.vcpu_init(&plain)?;
    let _gic = vm.add_gic()?;
    cases.errno("run: a CPU without PSCI_0_2", cpu.run(), libc::EINVAL);
    Ok(())
}

/// CPUs whose numbers have a hole.
fn sparse(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let mut first = Cpu::new(&vm, &kick, 0)?;
    let _other = Cpu::new(&vm, &kick, 2)?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    first.set_entry(0)?;
    cases.errno("run: CPUs 0 and 2", first.fd.run(), libc::EINVAL);
    Ok(())
}

const FINALIZE_SVE: i32 = KVM_ARM_VCPU_SVE as i32;

/// Makes a CPU with SVE, which is not finalised.
pub(super) fn cpu_with_sve(vm: &Vm, number: u64) -> Result<VcpuFd> {
    let cpu = vm.fd.create_vcpu(number)?;
    let mut init = init(vm, 0)?;
    init.features[0] |= 1 << KVM_ARM_VCPU_SVE;
    cpu.vcpu_init(&init)?;
    Ok(cpu)
}

/// KVM itself has all CPUs of a VM alike; what is left is to forget one.
fn sve(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    if !vm.fd.check_extension(Cap::ArmSve) {
        println!("no SVE in realms: not tried");
        return Ok(());
    }
    let mut first = cpu_with_sve(&vm, 0)?;
    let other = cpu_with_sve(&vm, 1)?;
    let _gic = vm.add_gic()?;
    cases.errno("run: SVE not finalised", first.run(), libc::EPERM);
    first.vcpu_finalize(&FINALIZE_SVE)?;
    cases.errno(
        "run: SVE of another not finalised",
        first.run(),
        libc::EPERM,
    );
    drop(other);
    Ok(())
}

/// SVE that a realm has not been made with, or not so much of it.
fn sve_too_late(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    if !vm.fd.check_extension(Cap::ArmSve) {
        println!("no SVE in realms: not tried");
        return Ok(());
    }
    vm.load_guest()?;
    let mut cpu = cpu_with_sve(&vm, 0)?;
    cpu.vcpu_finalize(&FINALIZE_SVE)?;
    let _gic = vm.add_gic()?;
    // Should it start after all it comes back.
    cpu.set_kvm_immediate_exit(1);
    cases.errno("run: SVE after populate", cpu.run(), libc::EINVAL);
    drop(cpu);

    let vm2 = Vm::new(Shape::REALM)?;
    let mut cpu = cpu_with_sve(&vm2, 0)?;
    vm2.load_guest()?;
    // 128 bits only.
    let mut lengths = [0; 64];
    lengths[0] = 1;
    let set = cpu.set_one_reg(SVE_VLS, &lengths);
    cases.errno("vector lengths after populate", set, 0);
    cpu.vcpu_finalize(&FINALIZE_SVE)?;
    let _gic = vm2.add_gic()?;
    cpu.set_kvm_immediate_exit(1);
    cases.errno("run: less SVE than the realm", cpu.run(), libc::EINVAL);
    Ok(())
}

/// CPUs that come when a realm runs already.
fn late(cases: &mut Cases) -> Result<()> {
    with_cpu(Shape::REALM, |cpu| {
        let late = cpu.vm.fd.create_vcpu(1);
        cases.errno("a CPU for a realm that runs", late, libc::EBUSY);
        let same = cpu.fd.vcpu_init(&init(cpu.vm, 0)?);
        cases.errno("KVM_ARM_VCPU_INIT of a CPU that has run", same, libc::EBUSY);
        cases.holds("it runs on", cpu.order(NOTHING, &[]).is_ok());
        Ok(())
    })
}

const NOTHING: realm_guest::Order = realm_guest::Order::new(realm_guest::Op::MmioWrite, 0);
