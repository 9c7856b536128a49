// SPDX-License-Identifier: GPL-2.0

//! Accesses that wait for the VMM, and what it may do about them when. The kernel must have nothing to
//! complain of, which the scenario sees to.

use std::sync::atomic::Ordering;

use kvm_bindings::{
    kvm_device_attr,
    kvm_vcpu_events,
    KVM_ARM_VCPU_TIMER_CTRL,
    KVM_ARM_VCPU_TIMER_IRQ_PTIMER,
    KVM_ARM_VCPU_TIMER_IRQ_VTIMER, //
};
use kvm_ioctls::VcpuFd;
use realm_guest::{Op, Order};

use super::Cases;
use crate::realm::brief::with_cpu;
use crate::realm::cpu::{external_abort, Cpu, End};
use crate::realm::signal::Kick;
use crate::realm::vm::{Shape, Vm};
use crate::realm::Result;

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    timers(cases)?;
    with_cpu(Shape::REALM, |cpu| done_already(cases, cpu))
}

fn serror() -> kvm_vcpu_events {
    let mut events = kvm_vcpu_events::default();
    events.exception.serror_pending = 1;
    events
}

/// A first KVM_RUN that fails because of the timers' interrupts: there is no realm yet, so the VMM may
/// go on with what it was doing, mend it, and run again.
fn timers(cases: &mut Cases) -> Result<()> {
    let vm = Vm::new(Shape::REALM)?;
    let kick = Kick::default();
    let mut cpu = Cpu::new(&vm, &kick, 0)?;
    let _gic = vm.add_gic()?;
    let early = cpu.fd.set_vcpu_events(&external_abort());
    cases.errno("an abort before there was anything", early, libc::EINVAL);
    let interrupt = |cpu: &VcpuFd, timer: u32, interrupt: i32| {
        cpu.set_device_attr(&kvm_device_attr {
            group: KVM_ARM_VCPU_TIMER_CTRL,
            attr: timer.into(),
            addr: (&raw const interrupt).addr() as u64,
            flags: 0,
        })
    };
    interrupt(&cpu.fd, KVM_ARM_VCPU_TIMER_IRQ_VTIMER, 27)?;
    interrupt(&cpu.fd, KVM_ARM_VCPU_TIMER_IRQ_PTIMER, 27)?;
    let what = "run: two timers with one interrupt";
    cases.errno(what, cpu.fd.run(), libc::EINVAL);
    // This works as long as the realm is not active.
    cases.holds("run: populated after that", vm.load_guest().is_ok());
    cpu.set_entry(0)?;
    // KVM leaves the interrupt to the timer that it looks at first: the other one moves.
    interrupt(&cpu.fd, KVM_ARM_VCPU_TIMER_IRQ_VTIMER, 28)?;
    let start = cpu.start().map_err(|error| error.to_string());
    cases.equal("run: mended timers", start, Ok(()));
    Ok(())
}

/// KVM_RUN has taken the value of a read without entering the REC: the access has been emulated, so
/// that it cannot end in an abort any more.
fn done_already(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    cpu.vm.stop.store(true, Ordering::Release);
    cpu.fd.set_kvm_immediate_exit(1);
    let stopped = cpu.give(Order::new(Op::MmioRead, 3), &[])?;
    cases.equal("an exit before the entry", stopped, End::Stopped);
    for _ in 0..2 {
        let late = cpu.fd.set_vcpu_events(&external_abort());
        cases.errno("an abort of what has been emulated", late, libc::EINVAL);
    }
    cases.errno("an SError", cpu.fd.set_vcpu_events(&serror()), libc::EINVAL);
    let again = cpu.run()?;
    cases.equal("another exit before the entry", again, End::Stopped);
    cpu.vm.stop.store(false, Ordering::Release);
    cpu.fd.set_kvm_immediate_exit(0);
    // 1, 2 and 3: none was lost, and none came twice.
    let end = cpu.run()?;
    let sum = match end {
        End::Done([sum, ..]) => sum,
        _ => 0,
    };
    cases.equal("what was emulated", sum, 6);
    Ok(())
}
