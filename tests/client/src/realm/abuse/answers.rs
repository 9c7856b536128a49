// SPDX-License-Identifier: GPL-2.0

//! What a VMM is told of a memory fault beside the range, and what it can answer.

use std::sync::atomic::Ordering;

use kvm_arm_rmi::uapi::{
    KVM_ARM_RMI_FAULT_ACCESS, KVM_ARM_RMI_FAULT_MEMORY, KVM_ARM_RMI_FAULT_REJECT,
    KVM_ARM_RMI_FAULT_RIPAS,
};
use realm_guest::{rsi, Op, Order, PAGE_SIZE};

use super::inside::set;
use super::{Cases, MIB};
use crate::realm::brief::with_cpu;
use crate::realm::cpu::Cpu;
use crate::realm::memory::punch_hole;
use crate::realm::run::{chunk, memory::set_ripas};
use crate::realm::vm::{Mode, Shape};
use crate::realm::Result;

/// True if this host tells the cause of a fault.
pub(in crate::realm) fn is_offered() -> Result<bool> {
    with_cpu(Shape::REALM, |cpu| {
        set_ripas(cpu, Op::SetEmpty, chunk(0), PAGE_SIZE)?;
        Ok(cpu.causes.last() == Some(&KVM_ARM_RMI_FAULT_RIPAS))
    })
}

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    with_cpu(Shape::REALM, |cpu| refused(cases, cpu))?;
    with_cpu(Shape::REALM, |cpu| no_answer(cases, cpu))?;
    with_cpu(Shape::REALM, |cpu| causes(cases, cpu))
}

/// The realm is told of a refusal, and may ask again.
fn refused(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    let (base, top) = (chunk(0), chunk(0) + MIB);
    set_ripas(cpu, Op::SetEmpty, base, MIB)?;
    let conversions = cpu.vm.conversions[1].load(Ordering::Relaxed);
    cpu.fault_answer = KVM_ARM_RMI_FAULT_REJECT;
    let told = set(cpu, base, top, rsi::RAM)?;
    cases.equal("RAM, refused", told, [rsi::SUCCESS, base, rsi::REJECT]);
    let now = cpu.vm.conversions[1].load(Ordering::Relaxed);
    cases.equal("conversions after a refusal", now, conversions);
    let told = set(cpu, base, top, rsi::RAM)?;
    cases.equal("RAM, agreed to", told, [rsi::SUCCESS, top, rsi::ACCEPT]);
    cpu.expect(Order::pages(Op::Touch, base, MIB), &[], 0)?;
    // The host cannot refuse this; the realm sees that nothing was done.
    cpu.fault_answer = KVM_ARM_RMI_FAULT_REJECT;
    let told = set(cpu, base, top, rsi::EMPTY)?;
    cases.equal("EMPTY, refused", told, [rsi::SUCCESS, base, rsi::ACCEPT]);
    cpu.expect(Order::pages(Op::Check, base, MIB), &[], 0)
}

/// What is no answer is an error, and can be mended.
fn no_answer(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    let (base, top) = (chunk(0), chunk(0) + PAGE_SIZE);
    cpu.fault_answer = 2;
    let result = set(cpu, base, top, rsi::EMPTY);
    let told = result.err().map(|error| error.to_string());
    let is_invalid = told
        .as_ref()
        .is_some_and(|told| told.contains("os error 22"));
    cases.case("what is no answer", is_invalid, || format!("{told:?}"));
    cases.errno("again", cpu.fd.run(), libc::EINVAL);
    cpu.long_fault().answer = 0;
    // The VMM has not converted anything, so that it is asked once more, or has agreed.
    cpu.run()?;
    cpu.expect(
        Order::pages(Op::CheckZero, base, PAGE_SIZE).shared(),
        &[],
        0,
    )
}

/// Each exit has the cause that is its own.
fn causes(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    let base = chunk(0);
    cpu.expect(Order::pages(Op::Touch, base, PAGE_SIZE), &[], 0)?;
    cpu.causes.clear();
    set_ripas(cpu, Op::SetEmpty, base, PAGE_SIZE)?;
    cpu.expect(Order::pages(Op::Touch, base, PAGE_SIZE).shared(), &[], 0)?;
    set_ripas(cpu, Op::SetRam, base, PAGE_SIZE)?;
    let asked = vec![KVM_ARM_RMI_FAULT_RIPAS; 2];
    cases.equal("what was asked for", cpu.causes.clone(), asked);
    if Mode::get() == Mode::V14 {
        cpu.causes.clear();
        // Both halves are touched, of which the attributes allow one.
        cpu.expect(
            Order::pages(Op::CheckZero, base, PAGE_SIZE).shared(),
            &[],
            0,
        )?;
        cpu.expect(Order::pages(Op::CheckZero, base, PAGE_SIZE), &[], 0)?;
        let touched = vec![KVM_ARM_RMI_FAULT_ACCESS; 2];
        cases.equal("what was touched", cpu.causes.clone(), touched);
    }
    // What was taken away is not there: the VMM is not asked to convert it.
    let lost = base + MIB;
    cpu.expect(Order::pages(Op::Touch, lost, PAGE_SIZE), &[], 0)?;
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    let file = slot.memfd.as_ref().ok_or("no guest_memfd")?;
    punch_hole(file, lost - slot.base, PAGE_SIZE)?;
    let end = cpu.give(Order::pages(Op::Check, lost, PAGE_SIZE), &[]);
    cases.holds("memory that was lost ends a run", end.is_err());
    let cause = cpu.long_fault().cause;
    cases.equal("its cause", cause, KVM_ARM_RMI_FAULT_MEMORY);
    Ok(())
}
