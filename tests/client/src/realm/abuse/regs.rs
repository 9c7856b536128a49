// SPDX-License-Identifier: GPL-2.0

//! Registers and events of a realm's CPU.

use kvm_bindings::{kvm_vcpu_events, RegList, KVM_ARM_VCPU_SVE};
use kvm_ioctls::Cap;
use realm_guest::{Op, Order, BASE};

use super::Cases;
use crate::realm::brief::with_cpu;
use crate::realm::cpu::{external_abort, init, x, Cpu, DFR0, PC};
use crate::realm::signal::Kick;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{ensure, Result};

/// The SVE vector lengths.
pub(super) const SVE_VLS: u64 = 0x6060_0000_0015_ffff;

/// KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM64_SYSREG.
const fn sysreg(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> u64 {
    0x6030_0000_0013_0000 | (op0 << 14) | (op1 << 11) | (crn << 7) | (crm << 3) | op2
}

/// What KVM has for other VMs.
const REFUSED: [(u64, &str); 9] = [
    (0x6030_0000_0010_003e, "SP_EL0"),
    (0x6030_0000_0010_0042, "PSTATE"),
    (0x6030_0000_0010_0044, "SP_EL1"),
    (0x6030_0000_0010_0046, "ELR_EL1"),
    (sysreg(3, 0, 1, 0, 0), "SCTLR_EL1"),
    (sysreg(3, 0, 12, 0, 0), "VBAR_EL1"),
    (sysreg(3, 0, 0, 4, 0), "ID_AA64PFR0_EL1"),
    (
        sysreg(3, 3, 14, 3, 2),
        "CNTV_CVAL_EL0, by the name of KVM's counter",
    ),
    (0x6030_0000_0014_0000, "the PSCI version"),
];

pub(super) fn cases(cases: &mut Cases) -> Result<()> {
    before(cases)?;
    sve(cases)?;
    with_cpu(Shape::REALM, |cpu| running(cases, cpu))
}

fn set(cpu: &Cpu<'_>, register: u64, value: u64) -> std::result::Result<usize, kvm_ioctls::Error> {
    cpu.fd.set_one_reg(register, &value.to_le_bytes())
}

fn refused(cases: &mut Cases, cpu: &Cpu<'_>) {
    for (register, name) in REFUSED {
        let what = format!("setting {name}");
        cases.errno(&what, set(cpu, register, 0), libc::EINVAL);
    }
    // A register of 128 bits: V0.
    let v0 = 0x6040_0000_0010_0054;
    cases.errno("setting V0", cpu.fd.set_one_reg(v0, &[0; 16]), libc::EINVAL);
    for number in 0..=30 {
        let value = 0x1111_0000 + number;
        cases.errno("setting a register", set(cpu, x(number), value), 0);
        cases.equal("a register", cpu.get(x(number)).ok(), Some(value));
    }
}

fn serror(cases: &mut Cases, cpu: &Cpu<'_>) {
    let mut events = kvm_vcpu_events::default();
    events.exception.serror_pending = 1;
    let set = cpu.fd.set_vcpu_events(&events);
    cases.errno("an SError", set, libc::EINVAL);
}

/// Before the realm runs.
fn before(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let cpu = Cpu::new(&vm, &kick, 0)?;
    let mut list = RegList::new(500)?;
    cpu.fd.get_reg_list(&mut list)?;
    let mut got = list.as_slice().to_vec();
    let mut wanted: Vec<u64> = (0..=30).map(x).chain([PC, DFR0]).collect();
    got.sort_unstable();
    wanted.sort_unstable();
    cases.equal("the list of registers", got, wanted);

    refused(cases, &cpu);
    cases.errno("setting PC", set(&cpu, PC, BASE), 0);
    let dfr0 = cpu.get(DFR0)?;
    cases.errno(
        "setting ID_AA64DFR0_EL1 to what it is",
        set(&cpu, DFR0, dfr0),
        0,
    );
    // Breakpoints are the CPU's.
    let most = set(&cpu, DFR0, dfr0 | 0xf << 12);
    if dfr0 >> 12 & 0xf != 0xf {
        cases.errno("too many breakpoints", most, libc::EINVAL);
    }
    serror(cases, &cpu);
    let abort = cpu.fd.set_vcpu_events(&external_abort());
    cases.errno("an external abort before anything ran", abort, libc::EINVAL);
    let nothing = cpu.fd.set_vcpu_events(&kvm_vcpu_events::default());
    cases.errno("no event", nothing, 0);
    fewer_watchpoints(cases)
}

/// A realm may be made with fewer watchpoints than there are. That is part of what it is measured by;
/// the RMM shows it the CPU's registers all the same.
fn fewer_watchpoints(cases: &mut Cases) -> Result<()> {
    const WRPS: u64 = 0xf << 20;
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let mut cpu = Cpu::new(&vm, &kick, 0)?;
    let _gic = vm.add_gic()?;
    let dfr0 = (cpu.get(DFR0)? & !WRPS) | (1 << 20);
    cases.errno("setting the watchpoints", set(&cpu, DFR0, dfr0), 0);
    vm.load_guest()?;
    let late = set(&cpu, DFR0, dfr0);
    cases.errno("setting them when there is a realm", late, libc::EBUSY);
    cpu.set_entry(0)?;
    cpu.start()?;
    cpu.expect(Order::new(Op::MmioRead, 3), &[], 6)
}

/// With SVE the list has its vector lengths, which may be changed until it is finalised.
fn sve(cases: &mut Cases) -> Result<()> {
    let vm = Vm::empty(Shape::REALM)?;
    if !vm.fd.check_extension(Cap::ArmSve) {
        println!("no SVE in realms: not tried");
        return Ok(());
    }
    let cpu = vm.fd.create_vcpu(0)?;
    let mut init = init(&vm, 0)?;
    init.features[0] |= 1 << KVM_ARM_VCPU_SVE;
    cpu.vcpu_init(&init)?;
    let mut list = RegList::new(500)?;
    let listed = cpu.get_reg_list(&mut list);
    cases.errno("the list before SVE is finalised", listed, 0);
    let has = list.as_slice().contains(&SVE_VLS);
    cases.holds("the list has the vector lengths", has);
    let mut lengths = [0; 64];
    let get = cpu.get_one_reg(SVE_VLS, &mut lengths);
    cases.errno("the vector lengths", get, 0);
    cases.errno("setting them", cpu.set_one_reg(SVE_VLS, &lengths), 0);
    cpu.vcpu_finalize(&(KVM_ARM_VCPU_SVE as i32))?;
    let again = cpu.set_one_reg(SVE_VLS, &lengths);
    cases.errno("setting them when it is finalised", again, libc::EPERM);
    Ok(())
}

/// While the realm runs. Its CPU waits for an answer to a read.
fn running(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    refused(cases, cpu);
    let dfr0 = cpu.get(DFR0)?;
    cases.errno("PC of a realm that runs", set(cpu, PC, BASE), libc::EBUSY);
    cases.errno("ID_AA64DFR0_EL1 of one", set(cpu, DFR0, dfr0), libc::EBUSY);
    serror(cases, cpu);

    // What was set above is not what the realm goes on with.
    let sum = Order::new(Op::MmioRead, 3);
    cpu.expect(sum, &[], 6)?;
    let pending = cpu.fd.set_vcpu_events(&external_abort());
    cases.errno("an external abort for a read", pending, 0);
    // It was the read of an order: that it fails is the end of the guest, which writes that.
    let end = cpu.run();
    let told = end.as_ref().err().map(ToString::to_string);
    let told = told.unwrap_or_else(|| format!("{end:?}"));
    ensure!(
        told.contains("exception"),
        "the guest did not get it: {told}"
    );
    let abort = cpu.fd.set_vcpu_events(&external_abort());
    cases.errno("an external abort for a write", abort, 0);
    Ok(())
}
