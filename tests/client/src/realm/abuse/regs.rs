// SPDX-License-Identifier: GPL-2.0

//! Registers and events of a realm's CPU.

use kvm_bindings::{kvm_vcpu_events, RegList, KVM_ARM_VCPU_SVE};
use kvm_ioctls::Cap;
use realm_guest::{Op, Order, BASE};

use super::first_run::cpu_with_sve;
use super::Cases;
use crate::realm::brief::with_cpu;
use crate::realm::cpu::{external_abort, x, Cpu, DFR0, PC};
use crate::realm::signal::Kick;
use crate::realm::vm::{Shape, Vm};
use crate::realm::{ensure, Result};

/// The SVE vector lengths.
pub(super) const SVE_VLS: u64 = 0x6060_0000_0015_ffff;

/// KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM64_SYSREG.
const fn sysreg(op0: u64, op1: u64, crn: u64, crm: u64, op2: u64) -> u64 {
    0x6030_0000_0013_0000 | (op0 << 14) | (op1 << 11) | (crn << 7) | (crm << 3) | op2
}

/// KVM_REG_ARM_TIMER_CNT and KVM_REG_ARM_PTIMER_CNT, which are not the numbers of such registers.
const CNTVCT: u64 = sysreg(3, 3, 14, 3, 2);
const CNTPCT: u64 = sysreg(3, 3, 14, 0, 1);

/// What KVM has for other VMs.
const REFUSED: [(u64, &str); 8] = [
    (0x6030_0000_0010_003e, "SP_EL0"),
    (0x6030_0000_0010_0042, "PSTATE"),
    (0x6030_0000_0010_0044, "SP_EL1"),
    (0x6030_0000_0010_0046, "ELR_EL1"),
    (sysreg(3, 0, 1, 0, 0), "SCTLR_EL1"),
    (sysreg(3, 0, 12, 0, 0), "VBAR_EL1"),
    (sysreg(3, 0, 0, 4, 0), "ID_AA64PFR0_EL1"),
    (0x6030_0000_0014_0000, "the PSCI version"),
];

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    before(cases)?;
    sve(cases)?;
    for sve in [false, true] {
        written_back(cases, sve)?;
    }
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
    // VMMs stop a VM's time with it. The realm's is the host's, and goes on.
    for (counter, name) in [(CNTVCT, "the counter"), (CNTPCT, "the physical counter")] {
        let before = cpu.get(counter).unwrap_or_default();
        let what = format!("setting {name}");
        cases.errno(&what, set(cpu, counter, before / 2), 0);
        let after = cpu.get(counter).ok();
        cases.holds(
            &format!("{name} goes on"),
            before != 0 && after >= Some(before),
        );
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
    for (kind, field) in [("breakpoints", BRPS), ("watchpoints", WRPS)] {
        let most = set(&cpu, DFR0, dfr0 | field);
        if dfr0 & field != field {
            cases.errno(&format!("too many {kind}"), most, libc::EINVAL);
        }
        // The RMM makes no realm with a single one.
        let least = set(&cpu, DFR0, dfr0 & !field);
        cases.errno(&format!("too few {kind}"), least, libc::EINVAL);
    }
    serror(cases, &cpu);
    let abort = cpu.fd.set_vcpu_events(&external_abort());
    cases.errno("an external abort before anything ran", abort, libc::EINVAL);
    let nothing = cpu.fd.set_vcpu_events(&kvm_vcpu_events::default());
    cases.errno("no event", nothing, 0);
    fewer_debug_registers(cases)
}

/// ID_AA64DFR0_EL1: breakpoints and watchpoints, less 1.
const BRPS: u64 = 0xf << 12;
const WRPS: u64 = 0xf << 20;

/// A realm may be made with fewer breakpoints and watchpoints than there are. That is part of what it
/// is measured by; the RMM shows it the CPU's registers all the same.
fn fewer_debug_registers(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let mut cpu = Cpu::new(&vm, &kick, 0)?;
    let _gic = vm.add_gic()?;
    let most = cpu.get(DFR0)?;
    let dfr0 = (most & !(BRPS | WRPS)) | (1 << 12) | (1 << 20);
    cases.errno("setting both to the least", set(&cpu, DFR0, dfr0), 0);
    cases.equal("what was set", cpu.get(DFR0)?, dfr0);
    vm.load_guest()?;
    cpu.set_entry(0)?;
    cpu.start()?;
    let [_, _, _, _, seen, ..] = cpu.order(Order::new(Op::Describe, 0), &[])?;
    cases.equal(
        "what the realm sees",
        seen & (BRPS | WRPS),
        most & (BRPS | WRPS),
    );
    Ok(())
}

/// With SVE the list has its vector lengths, which may be changed until it is finalised.
fn sve(cases: &mut Cases) -> Result<()> {
    let vm = Vm::empty(Shape::REALM)?;
    if !vm.fd.check_extension(Cap::ArmSve) {
        println!("no SVE in realms: not tried");
        return Ok(());
    }
    let cpu = cpu_with_sve(&vm, 0)?;
    let mut list = RegList::new(500)?;
    let listed = cpu.get_reg_list(&mut list);
    cases.errno("the list before SVE is finalised", listed, 0);
    let has = list.as_slice().contains(&SVE_VLS);
    cases.holds("the list has the vector lengths", has);
    let mut lengths = [0; 64];
    let get = cpu.get_one_reg(SVE_VLS, &mut lengths);
    cases.errno("the vector lengths", get, 0);
    cases.errno("setting them", cpu.set_one_reg(SVE_VLS, &lengths), 0);
    Ok(())
}

/// A VMM may write back whatever it has read, at any time. Another value is refused from when it is too
/// late for it.
fn written_back(cases: &mut Cases, sve: bool) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let mut cpu = match sve {
        true if !vm.fd.check_extension(Cap::ArmSve) => return Ok(()),
        true => Cpu::of_fd(&vm, &kick, 0, cpu_with_sve(&vm, 0)?),
        false => Cpu::new(&vm, &kick, 0)?,
    };
    same_values(cases, &cpu, "at first")?;
    if sve {
        cpu.fd.vcpu_finalize(&(KVM_ARM_VCPU_SVE as i32))?;
    }
    let _gic = vm.add_gic()?;
    cpu.set_entry(0)?;
    same_values(cases, &cpu, "before there is a realm")?;
    vm.load_guest()?;
    same_values(cases, &cpu, "when there is a realm")?;
    other_values(cases, &cpu, 0)?;
    cpu.set_entry(0)?;
    cpu.fd.set_kvm_immediate_exit(1);
    let interrupted = cpu.fd.run().is_err_and(|e| e.errno() == libc::EINTR);
    cases.holds("a run makes the realm active", interrupted);
    cpu.fd.set_kvm_immediate_exit(0);
    same_values(cases, &cpu, "before it runs")?;
    other_values(cases, &cpu, libc::EBUSY)?;
    cpu.start()?;
    same_values(cases, &cpu, "when it has run")?;
    other_values(cases, &cpu, libc::EBUSY)?;
    let [sum, ..] = cpu.order(Order::new(Op::MmioRead, 3), &[])?;
    cases.equal("it runs on", sum, 6);
    same_values(cases, &cpu, "when it has run on")
}

/// Reads all registers that are listed, and writes them back.
fn same_values(cases: &mut Cases, cpu: &Cpu<'_>, when: &str) -> Result<()> {
    let mut list = RegList::new(500)?;
    cpu.fd.get_reg_list(&mut list)?;
    for &register in list.as_slice() {
        // KVM_REG_SIZE_MASK
        let mut value = vec![0; 1 << ((register >> 52) & 0xf)];
        cpu.fd.get_one_reg(register, &mut value)?;
        let what = format!("register {register:#x} set to what it is, {when}");
        cases.errno(&what, cpu.fd.set_one_reg(register, &value), 0);
    }
    Ok(())
}

/// Other values, when there is a realm: `pc` is what setting that comes to.
fn other_values(cases: &mut Cases, cpu: &Cpu<'_>, pc: i32) -> Result<()> {
    let other = set(cpu, PC, cpu.get(PC)? + 4);
    cases.errno("another PC", other, pc);
    let dfr0 = cpu.get(DFR0)?;
    let other = set(cpu, DFR0, dfr0 ^ (1 << 12));
    cases.errno("another ID_AA64DFR0_EL1", other, libc::EBUSY);
    cases.equal("what it is", cpu.get(DFR0)?, dfr0);

    let mut lengths = [0; 64];
    if cpu.fd.get_one_reg(SVE_VLS, &mut lengths).is_ok() {
        let before = lengths;
        // 256 bits, or not.
        lengths[0] ^= 2;
        let other = cpu.fd.set_one_reg(SVE_VLS, &lengths);
        cases.errno("other vector lengths", other, libc::EPERM);
        cpu.fd.get_one_reg(SVE_VLS, &mut lengths)?;
        cases.equal("what they are", lengths, before);
    }
    Ok(())
}

/// While the realm runs. Its CPU waits for an answer to a read.
fn running(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    refused(cases, cpu);
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
