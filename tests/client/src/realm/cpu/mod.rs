// SPDX-License-Identifier: GPL-2.0

//! A virtual CPU, and giving orders to the guest that runs on it.

mod exits;

use std::os::fd::AsRawFd;

use kvm_bindings::{
    kvm_pre_fault_memory,
    kvm_vcpu_events,
    kvm_vcpu_init,
    KVM_ARM_VCPU_POWER_OFF,
    KVM_ARM_VCPU_PSCI_0_2, //
};
use kvm_ioctls::VcpuFd;
use realm_guest::{Order, BASE, MAILBOXES, PAGE_SIZE, WORDS};

use super::memory::check;
use super::signal::Kick;
use super::vm::Vm;
use super::{ensure, Result};

/// KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE; core registers are numbered by words.
const CORE: u64 = 0x6030_0000_0010_0000;
/// The program counter.
pub(crate) const PC: u64 = CORE | (0x100 / 4);
/// x0 to x30.
pub(crate) const fn x(number: u64) -> u64 {
    CORE | (number * 2)
}

/// ID_AA64DFR0_EL1.
pub(crate) const DFR0: u64 = 0x6030_0000_0013_0000 | (3 << 14) | (5 << 3);

/// _IOWR(KVMIO, 0xd5, struct kvm_pre_fault_memory)
const KVM_PRE_FAULT_MEMORY: libc::c_ulong = 0xc040_aed5;

/// How an order ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End {
    /// It was carried out.
    Done([u64; WORDS]),
    /// The CPU was turned off and on again meanwhile.
    Restarted,
    /// The guest turned the machine off or asked for a reset: the type of the system event.
    Event(u32),
    /// The VM does not run any more.
    Shutdown,
    /// The CPU was interrupted, and is to stop.
    Stopped,
}

/// An access to one of the registers from [`realm_guest::mailbox::FREE`] on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Access {
    /// From `FREE`.
    pub(crate) offset: u64,
    /// Bytes.
    pub(crate) size: usize,
    /// What is written, or `None` for a read.
    pub(crate) written: Option<u64>,
}

/// What a test does about such an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Treat {
    /// A write is done; a read gives this.
    Value(u64),
    /// The guest gets an external abort.
    Abort,
}

/// What happened to a CPU, for people.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) mmio: u64,
    pub(crate) faults: u64,
    pub(crate) hypercalls: u64,
    pub(crate) interrupted: u64,
    pub(crate) again: u64,
}

/// A virtual CPU.
#[derive(Debug)]
pub(crate) struct Cpu<'v> {
    pub(crate) fd: VcpuFd,
    pub(crate) vm: &'v Vm,
    pub(crate) kick: &'v Kick,
    pub(crate) tally: Tally,
    /// Accesses to the free registers, in order; emptied by the test.
    pub(crate) accesses: Vec<Access>,
    /// What is done about them.
    pub(crate) treat: Treat,
    /// Values that arrived at the sink, added up.
    pub(crate) sunk: u64,
    /// Calls that came to user space, with what x0 and up are answered.
    pub(crate) hypercalls: Vec<u64>,
    pub(crate) hypercall_answer: [u64; 4],
    /// Why memory faults came to user space, in order (`KVM_ARM_RMI_FAULT_*`, or 0 on hosts that do not
    /// say).
    pub(crate) causes: Vec<u64>,
    /// What the next one is answered, rather than to convert anything; 0 to convert.
    pub(crate) fault_answer: u64,
    /// A page whose registers are treated as the free ones.
    pub(crate) device: Option<u64>,
    mailbox: u64,
    source: u64,
    arguments: [u64; WORDS],
    results: [u64; WORDS],
    done: bool,
    fault: (u64, u64, u64, u32),
}

impl<'v> Cpu<'v> {
    /// Makes CPU `number` of `vm`. All but the first are off.
    pub(crate) fn new(vm: &'v Vm, kick: &'v Kick, number: u64) -> Result<Self> {
        let fd = vm.fd.create_vcpu(number)?;
        fd.vcpu_init(&init(vm, number)?)?;
        Ok(Self::of_fd(vm, kick, number, fd))
    }

    /// CPU `number` of `vm`, which the caller has made.
    pub(crate) fn of_fd(vm: &'v Vm, kick: &'v Kick, number: u64, fd: VcpuFd) -> Self {
        Self {
            fd,
            vm,
            kick,
            tally: Tally::default(),
            accesses: Vec::new(),
            treat: Treat::Value(0),
            sunk: 0,
            hypercalls: Vec::new(),
            hypercall_answer: [0; 4],
            causes: Vec::new(),
            fault_answer: 0,
            device: None,
            mailbox: MAILBOXES + number * PAGE_SIZE,
            source: 0,
            arguments: [0; WORDS],
            results: [0; WORDS],
            done: false,
            fault: (0, 0, 0, 0),
        }
    }

    /// Has the first CPU start in the guest.
    pub(crate) fn set_entry(&self, x0: u64) -> Result<()> {
        self.set(PC, BASE)?;
        self.set(x(0), x0)
    }

    /// Changes a register of 64 bits.
    pub(crate) fn set(&self, register: u64, value: u64) -> Result<()> {
        let set = self.fd.set_one_reg(register, &value.to_le_bytes());
        set.map_err(|e| format!("setting register {register:#x}: {e}"))?;
        Ok(())
    }

    /// The value of a register of 64 bits.
    pub(crate) fn get(&self, register: u64) -> Result<u64> {
        let mut value = [0; 8];
        let get = self.fd.get_one_reg(register, &mut value);
        get.map_err(|e| format!("reading register {register:#x}: {e}"))?;
        Ok(u64::from_le_bytes(value))
    }

    /// Has the host bring in memory that the guest has not touched. Returns the call's result, and the base
    /// and the size of what is left.
    pub(crate) fn pre_fault(
        &self,
        gpa: u64,
        size: u64,
        flags: u64,
    ) -> (std::io::Result<()>, (u64, u64)) {
        let mut arguments = kvm_pre_fault_memory {
            gpa,
            size,
            flags,
            ..Default::default()
        };
        let request = KVM_PRE_FAULT_MEMORY;
        // SAFETY: The ioctl reads and writes one such structure.
        let result = unsafe { libc::ioctl(self.fd.as_raw_fd(), request, &raw mut arguments) };
        (check(result), (arguments.gpa, arguments.size))
    }

    /// Runs the CPU until it asks for its first order. A CPU that is off waits here.
    pub(crate) fn start(&mut self) -> Result<()> {
        match self.run()? {
            End::Restarted => Ok(()),
            other => Err(format!("no first order: {other:?}").into()),
        }
    }

    /// Has the guest carry out an order, and runs the CPU until it asks for the next.
    pub(crate) fn give(&mut self, order: Order, arguments: &[u64]) -> Result<End> {
        self.arguments = [0; WORDS];
        self.arguments[..arguments.len()].copy_from_slice(arguments);
        self.results = [0; WORDS];
        self.done = false;
        self.source = 0;
        self.answer(order.raw());
        self.run().map_err(|e| format!("{order:x?}: {e}").into())
    }

    /// The same for an order that is to be carried out; returns its results.
    pub(crate) fn order(&mut self, order: Order, arguments: &[u64]) -> Result<[u64; WORDS]> {
        match self.give(order, arguments)? {
            End::Done(results) => Ok(results),
            other => Err(format!("{order:x?}: {other:?}").into()),
        }
    }

    /// The same for an order that has one result, which has to be `wanted`.
    pub(crate) fn expect(&mut self, order: Order, arguments: &[u64], wanted: u64) -> Result<()> {
        let [result, ..] = self.order(order, arguments)?;
        ensure!(
            result == wanted,
            "{order:x?}: {result:#x} instead of {wanted:#x}"
        );
        Ok(())
    }

    /// Runs until the guest asks for an order, or will not do so.
    pub(crate) fn run(&mut self) -> Result<End> {
        self.kick.me();
        let end = loop {
            if let Some(end) = self.step()? {
                break end;
            }
        };
        Ok(end)
    }
}

/// What KVM_ARM_VCPU_INIT takes for a CPU of ours.
pub(crate) fn init(vm: &Vm, number: u64) -> Result<kvm_vcpu_init> {
    let mut init = kvm_vcpu_init::default();
    vm.fd.get_preferred_target(&mut init)?;
    init.features[0] |= 1 << KVM_ARM_VCPU_PSCI_0_2;
    if number != 0 {
        init.features[0] |= 1 << KVM_ARM_VCPU_POWER_OFF;
    }
    Ok(init)
}

/// What KVM_SET_VCPU_EVENTS takes to make an access end in an external abort.
pub(crate) fn external_abort() -> kvm_vcpu_events {
    let mut events = kvm_vcpu_events::default();
    events.exception.ext_dabt_pending = 1;
    events
}
