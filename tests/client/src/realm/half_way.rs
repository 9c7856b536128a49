// SPDX-License-Identifier: GPL-2.0

//! First KVM_RUNs that fail half way, because the RMM does: what it has been told stays, and is not
//! taken for what the VMM sets afterwards.

use std::io;

use kvm_arm_rmi::rmi::Fid;
use kvm_arm_rmi::uapi::KvmArmRmiPopulate;
use kvm_bindings::{kvm_mp_state, KVM_MP_STATE_RUNNABLE, KVM_MP_STATE_STOPPED};
use realm_guest::{BASE, PAGE_SIZE};

use super::brief::with_two_ready;
use super::cpu::{x, Cpu, PC};
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, Result};

/// `realm half-way`.
pub(super) fn main() -> Result<()> {
    let before = debugfs::delegated()?;
    changed()?;
    debugfs::expect_delegated(before)?;
    not_activated()?;
    debugfs::expect_delegated(before)
}

/// A VM with two CPUs that is ready to run, on an RMM that answers ERROR_INPUT to the first call of
/// `fid`.
fn ready<R>(fid: Fid, test: impl FnOnce(&Vm, &mut Cpu<'_>, &Cpu<'_>) -> Result<R>) -> Result<R> {
    let vm = Vm::new(Shape {
        cpus: 2,
        ..Shape::REALM
    })?;
    with_two_ready(&vm, |first, other| {
        debugfs::fault(&[fid.raw().into(), 0, 0, 1, 1])?;
        expect("the first KVM_RUN", run(first), libc::EIO)?;
        debugfs::fault(&[0])?;
        test(&vm, first, &other)
    })
}

fn run(cpu: &mut Cpu<'_>) -> std::result::Result<(), kvm_ioctls::Error> {
    cpu.fd.run().map(|_| ())
}

fn expect<T, E: Into<io::Error>>(
    what: &str,
    result: std::result::Result<T, E>,
    errno: i32,
) -> Result<()> {
    let got = result.err().map_or(0, |error| {
        let error: io::Error = error.into();
        error.raw_os_error().unwrap_or(-1)
    });
    ensure!(got == errno, "{what}: errno {got} instead of {errno}");
    Ok(())
}

/// The RECs are there when the RMM fails. What they begin with is settled.
fn changed() -> Result<()> {
    ready(Fid::RTT_INIT_RIPAS, |_, first, other| {
        let set = |cpu: &Cpu<'_>, register, value: u64| {
            cpu.fd.set_one_reg(register, &value.to_le_bytes()).map(drop)
        };
        let state = |mp_state| other.fd.set_mp_state(kvm_mp_state { mp_state });
        expect("another pc", set(first, PC, BASE + 4), libc::EBUSY)?;

        expect("another x0", set(first, x(0), 1), 0)?;
        expect("KVM_RUN with it", run(first), libc::EBUSY)?;
        expect("the x0 from before", set(first, x(0), 0), 0)?;

        expect("turning the other on", state(KVM_MP_STATE_RUNNABLE), 0)?;
        expect("KVM_RUN with that", run(first), libc::EBUSY)?;
        expect("turning it off", state(KVM_MP_STATE_STOPPED), 0)?;
        first.start()
    })
}

/// A realm that cannot be activated is dead.
fn not_activated() -> Result<()> {
    ready(Fid::REALM_ACTIVATE, |vm, first, _| {
        expect("KVM_RUN again", run(first), libc::EIO)?;
        let source = &vm.slots.first().ok_or("no slot")?.shared;
        let mut page = KvmArmRmiPopulate {
            base: BASE + vm.shape.memory - PAGE_SIZE,
            size: PAGE_SIZE,
            source_uaddr: source.address(),
            flags: 0,
            reserved: 0,
        };
        expect("populating it", vm.populate_once(&mut page), libc::ENXIO)?;
        page.size = 0;
        expect("a size of 0", vm.populate_once(&mut page), libc::ENXIO)
    })
}
