// SPDX-License-Identifier: GPL-2.0

//! Why a CPU comes back from KVM_RUN, and what is done about it.

use std::io;

use kvm_arm_rmi::uapi::{KvmArmRmiMemoryFault, KVM_ARM_RMI_FAULT_REJECT};
use kvm_bindings::{
    KVM_MEMORY_EXIT_FLAG_PRIVATE,
    KVM_SYSTEM_EVENT_CRASH,
    KVM_SYSTEM_EVENT_RESET,
    KVM_SYSTEM_EVENT_SHUTDOWN, //
};
use kvm_ioctls::{VcpuExit, VcpuFd};

use super::convert::{convert, refuses};
use super::vm::Vm;
use crate::bus::Bus;
use crate::end::End;
use crate::error::{Error, Result};
use crate::stats::Stats;

/// How often the same fault may come before something else happens on this CPU.
const FAULT_LIMIT: u32 = 100;

/// What comes of entering a CPU once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Enter it again.
    Again,
    /// A signal came: enter it again, unless there is a reason to stop.
    Interrupted,
    /// The realm is off; another CPU knows why.
    Gone,
    /// The guest ended.
    End(End),
}

/// A fault that was dealt with, and how often in a row.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Faults {
    last: (u64, u64, u64),
    times: u32,
}

/// Enters a CPU and deals with why it came back.
///
/// # Errors
///
/// KVM_RUN fails, or something that this VMM does not know.
pub fn step(
    cpu: &mut VcpuFd,
    vm: &Vm,
    bus: &Bus,
    faults: &mut Faults,
    stats: &Stats,
) -> Result<Next> {
    let exit = match cpu.run() {
        Ok(VcpuExit::MemoryFault { flags, gpa, size }) => {
            // kvm-ioctls does not say which error came with it; there was no call since.
            let errno = io::Error::last_os_error().raw_os_error();
            stats.exit_memory_fault.add(1);
            let fault = (flags, gpa, size);
            return memory_fault(cpu, vm, faults, fault, errno, stats);
        }
        Ok(exit) => exit,
        Err(error) => return failed(error.errno(), stats),
    };
    *faults = Faults::default();
    match exit {
        VcpuExit::MmioRead(address, data) => {
            stats.exit_mmio_read.add(1);
            if !bus.read(address, data) {
                stats.mmio_nobody.add(1);
            }
            Ok(Next::Again)
        }
        VcpuExit::MmioWrite(address, data) => {
            stats.exit_mmio_write.add(1);
            if !bus.write(address, data) {
                stats.mmio_nobody.add(1);
            }
            Ok(Next::Again)
        }
        VcpuExit::Hypercall(_) => {
            // Without a filter nothing is forwarded: KVM answers all calls.
            stats.exit_hypercall.add(1);
            Ok(Next::Again)
        }
        VcpuExit::SystemEvent(kind, _) => {
            stats.exit_system_event.add(1);
            Ok(Next::End(match kind {
                KVM_SYSTEM_EVENT_SHUTDOWN => End::Off,
                KVM_SYSTEM_EVENT_RESET => End::Reset,
                KVM_SYSTEM_EVENT_CRASH => End::Crash("KVM_SYSTEM_EVENT_CRASH".into()),
                other => End::Crash(format!("system event {other}")),
            }))
        }
        VcpuExit::Shutdown => {
            stats.exit_shutdown.add(1);
            Ok(Next::Gone)
        }
        VcpuExit::InternalError => Ok(Next::End(End::Crash(
            "KVM_EXIT_INTERNAL_ERROR (see dmesg)".into(),
        ))),
        other => Err(Error::plain(format!("KVM_RUN ended with {other:?}"))
            .advise("this VMM does not know what to do about that")),
    }
}

/// What else `kvm_run` has of a KVM_EXIT_MEMORY_FAULT.
fn long_fault(cpu: &mut VcpuFd) -> &mut KvmArmRmiMemoryFault {
    let exits = &raw mut cpu.get_kvm_run().__bindgen_anon_1;
    const _: () = assert!(size_of::<KvmArmRmiMemoryFault>() <= 256);
    // SAFETY: The union has 256 bytes, aligned to 8, any of which may have any value; it stays as long as
    // the CPU.
    unsafe { &mut *exits.cast() }
}

fn memory_fault(
    cpu: &mut VcpuFd,
    vm: &Vm,
    faults: &mut Faults,
    fault: (u64, u64, u64),
    errno: Option<i32>,
    stats: &Stats,
) -> Result<Next> {
    let (flags, base, size) = fault;
    if errno == Some(libc::EHWPOISON) {
        return Err(Error::plain(format!(
            "KVM_RUN: EHWPOISON: what the guest had at {base:#x} is lost"
        ))
        .advise("the host's memory is broken there (see dmesg), or this VMM took it away"));
    }
    let again = std::mem::replace(&mut faults.last, fault) == fault;
    faults.times = if again { faults.times + 1 } else { 1 };
    let private = flags & u64::from(KVM_MEMORY_EXIT_FLAG_PRIVATE) != 0;
    if faults.times > FAULT_LIMIT {
        return Err(Error::plain(format!(
            "KVM_RUN: the same KVM_EXIT_MEMORY_FAULT over and over: {size:#x} bytes at {base:#x}, \
             private: {private}"
        )));
    }
    let fault = long_fault(cpu);
    if refuses(vm, private, fault.cause) {
        fault.answer = KVM_ARM_RMI_FAULT_REJECT;
        stats.rejected.add(1);
        return Ok(Next::Again);
    }
    convert(vm, base, size, private, stats)?;
    Ok(Next::Again)
}

fn failed(errno: i32, stats: &Stats) -> Result<Next> {
    let advice = match errno {
        libc::EINTR => {
            stats.interrupted.add(1);
            return Ok(Next::Interrupted);
        }
        // The RMM does not let this CPU run yet, because of what another one does.
        libc::EAGAIN => {
            stats.again.add(1);
            std::thread::yield_now();
            return Ok(Next::Again);
        }
        libc::ENOMEM => "the host has no memory for the guest's: stop something else, or --memory",
        libc::EIO => "the realm is dead: the RMM refused something (see dmesg)",
        _ => "see `The first KVM_RUN` in uapi/README.md",
    };
    Err(Error::new("KVM_RUN", io::Error::from_raw_os_error(errno)).advise(advice))
}
