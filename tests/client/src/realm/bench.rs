// SPDX-License-Identifier: GPL-2.0

//! What it costs: the SMCs of each phase of a realm's life, one line each.
//!
//! ```text
//! bench: phase=NAME units=N smcs=N rec_enter=N failed=N us=N COMMAND=N...
//! ```
//!
//! `units` are pages or accesses or calls, `failed` how many SMCs did, `us` the time that went by.
//! An order costs two entries of the REC by itself: after its read, and after the write of its
//! result.

use std::time::Instant;

use kvm_arm_rmi::uapi::KvmArmRmiPopulate;
use kvm_bindings::KVM_SYSTEM_EVENT_SHUTDOWN;
use realm_guest::{fid, Op, Order, BASE, PAGE_SIZE};

use super::cpu::{Cpu, End};
use super::debugfs::{self, Smcs};
use super::memory::{Huge, Mapping};
use super::run::memory::set_ripas;
use super::signal::Kick;
use super::vm::{Shape, Vm};
use super::{ensure, Result};

const MIB: u64 = 1 << 20;
const SHAPE: Shape = Shape {
    realm: true,
    ipa_bits: 39,
    cpus: 1,
    memory: 192 * MIB,
    huge: Huge::Never,
};

/// What is populated, with the guest at its beginning.
const POPULATED: u64 = 4 * MIB;
/// Memory that is touched in order, and right after it what is touched out of order.
const SEQUENTIAL: u64 = BASE + POPULATED;
const SEQUENTIAL_SIZE: u64 = 64 * MIB;
const SCATTERED: u64 = SEQUENTIAL + SEQUENTIAL_SIZE;
const SCATTERED_SIZE: u64 = 16 * MIB;

/// Pieces of what was touched in order: converted and touched again; shared by pages; shared by
/// huge pages; left as it is; shared for its zero pages.
const PIECE: u64 = 8 * MIB;
const CONVERTED: u64 = SEQUENTIAL;
const BY_PAGES: u64 = CONVERTED + PIECE;
const BY_HUGE_PAGES: u64 = BY_PAGES + PIECE;
const SAME: u64 = BY_HUGE_PAGES + PIECE;
const ZEROES: u64 = SAME + PIECE;
const ZEROES_SIZE: u64 = 2 * MIB;
const _: () = assert!(ZEROES + ZEROES_SIZE <= SCATTERED);

const CALLS: u64 = 1000;
const SMCCC_VERSION: u64 = 0x8000_0000;

/// Runs a phase of so many units and prints its line.
fn phase<R>(name: &str, units: u64, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let before = debugfs::smcs()?;
    let start = Instant::now();
    let result = f().map_err(|e| format!("{name}: {e}"))?;
    let us = start.elapsed().as_micros();
    let after = debugfs::smcs()?;
    print(name, units, us, &since(&after, &before));
    Ok(result)
}

/// What came to `before` to make `after`.
fn since(after: &Smcs, before: &Smcs) -> Smcs {
    let mut difference = after.clone();
    for (name, (calls, failed)) in before {
        let now = difference.entry(name.clone()).or_default();
        *now = (now.0 - calls, now.1 - failed);
    }
    difference.retain(|_, (calls, _)| *calls != 0);
    difference
}

fn print(name: &str, units: u64, us: u128, smcs: &Smcs) {
    const ENTER: &str = "REC_ENTER";
    let calls: u64 = smcs.values().map(|(calls, _)| calls).sum();
    let failed: u64 = smcs.values().map(|(_, failed)| failed).sum();
    let enter = smcs.get(ENTER).map_or(0, |(calls, _)| *calls);
    print!(
        "bench: phase={name} units={units} smcs={calls} rec_enter={enter} failed={failed} us={us}"
    );
    for (command, (calls, failed)) in smcs {
        if command != ENTER {
            print!(" {command}={calls}");
            if *failed != 0 {
                print!(":{failed}");
            }
        }
    }
    println!();
}

/// `realm bench`.
pub(super) fn main() -> Result<()> {
    let before = debugfs::delegated()?;
    whole_life()?;
    second_cpu()?;
    never_active()?;
    debugfs::expect_delegated(before)
}

/// Makes the RD and fills the first pages.
fn populate(vm: &Vm) -> Result<()> {
    phase("rd_create", 0, || {
        Ok(vm.populate_once(&mut KvmArmRmiPopulate::default())?)
    })?;
    let mut image = super::vm::guest_image()?;
    // No page of it is zero.
    image.resize(POPULATED as usize, 0xa5);
    let source = Mapping::with_contents(&image, POPULATED)?;
    phase("populate", POPULATED / PAGE_SIZE, || {
        vm.populate(BASE, &source, true)
    })
}

/// Has the first KVM_RUN do what it does once, and nothing else.
fn activate(cpu: &mut Cpu<'_>) -> Result<()> {
    phase("activate", 0, || {
        cpu.fd.set_kvm_immediate_exit(1);
        let end = cpu.fd.run().map(|_| ());
        cpu.fd.set_kvm_immediate_exit(0);
        match end {
            Err(error) if error.errno() == libc::EINTR => Ok(()),
            other => Err(format!("instead of EINTR: {other:?}").into()),
        }
    })?;
    phase("start", 0, || cpu.start())
}

fn whole_life() -> Result<()> {
    let vm = Vm::new(SHAPE)?;
    populate(&vm)?;
    let kick = Kick::default();
    let mut cpu = Cpu::new(&vm, &kick, 0)?;
    let gic = vm.add_gic()?;
    cpu.set_entry(0)?;
    activate(&mut cpu)?;

    calls(&mut cpu)?;
    memory(&mut cpu)?;
    phase("system_off", 1, || {
        let end = cpu.give(Order::new(Op::SystemOff, 0), &[])?;
        ensure!(end == End::Event(KVM_SYSTEM_EVENT_SHUTDOWN), "{end:?}");
        Ok(())
    })?;
    let granules = debugfs::delegated()?;
    drop((cpu, gic));
    phase("teardown", granules, move || {
        drop(vm);
        Ok(())
    })
}

fn calls(cpu: &mut Cpu<'_>) -> Result<()> {
    phase("mmio_write", CALLS, || {
        cpu.expect(Order::new(Op::MmioWrite, CALLS), &[], 0)
    })?;
    let sum = CALLS * (CALLS + 1) / 2;
    phase("mmio_read", CALLS, || {
        cpu.expect(Order::new(Op::MmioRead, CALLS), &[], sum)
    })?;
    phase("host_call", CALLS, || {
        cpu.expect(Order::new(Op::HostCall, CALLS), &[SMCCC_VERSION], 0)
    })
}

/// A phase that is one order on pages, whose result is 0.
fn pages(cpu: &mut Cpu<'_>, name: &str, order: Order) -> Result<()> {
    phase(name, order.count, || cpu.expect(order, &[], 0))
}

/// A phase that changes the RIPAS of pages.
fn convert(cpu: &mut Cpu<'_>, name: &str, op: Op, base: u64) -> Result<()> {
    phase(name, PIECE / PAGE_SIZE, || set_ripas(cpu, op, base, PIECE))
}

fn memory(cpu: &mut Cpu<'_>) -> Result<()> {
    let order = Order::pages;
    let sequential = order(Op::Touch, SEQUENTIAL, SEQUENTIAL_SIZE);
    pages(cpu, "touch_sequential", sequential)?;
    let scattered = order(Op::TouchScattered, SCATTERED, SCATTERED_SIZE);
    pages(cpu, "touch_scattered", scattered)?;

    convert(cpu, "convert_empty", Op::SetEmpty, CONVERTED)?;
    convert(cpu, "convert_ram", Op::SetRam, CONVERTED)?;
    pages(cpu, "touch_again", order(Op::Touch, CONVERTED, PIECE))?;

    set_ripas(cpu, Op::SetEmpty, BY_PAGES, PIECE)?;
    let touch = order(Op::Touch, BY_PAGES, PIECE).shared();
    pages(cpu, "shared_touch_4k", touch)?;

    set_ripas(cpu, Op::SetEmpty, BY_HUGE_PAGES, PIECE)?;
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    let offset = BY_HUGE_PAGES - slot.base;
    slot.shared.set_huge(offset, PIECE, Huge::Always)?;
    let touch = order(Op::Touch, BY_HUGE_PAGES, PIECE).shared();
    pages(cpu, "shared_touch_thp", touch)?;

    convert(cpu, "convert_ram_alias", Op::SetRam, BY_PAGES)?;
    convert(cpu, "convert_ram_same", Op::SetRam, SAME)?;

    set_ripas(cpu, Op::SetEmpty, ZEROES, ZEROES_SIZE)?;
    let read = order(Op::CheckZero, ZEROES, ZEROES_SIZE).shared();
    pages(cpu, "shared_read", read)?;
    let write = order(Op::Touch, ZEROES, ZEROES_SIZE).shared();
    pages(cpu, "shared_write", write)
}

/// A second CPU comes on.
fn second_cpu() -> Result<()> {
    let vm = Vm::new(Shape { cpus: 2, ..SHAPE })?;
    let kicks = [Kick::default(), Kick::default()];
    let mut first = Cpu::new(&vm, &kicks[0], 0)?;
    let mut other = Cpu::new(&vm, &kicks[1], 1)?;
    let _gic = vm.add_gic()?;
    vm.load_guest()?;
    first.set_entry(0)?;
    first.start()?;
    phase("cpu_on", 1, || {
        let call = [fid::CPU_ON, 1, BASE, 0];
        let [result, ..] = first.order(Order::new(Op::Smc, 4), &call)?;
        ensure!(result == 0, "CPU_ON: {result:#x}");
        other.start()
    })
}

/// A realm that ends before it has begun.
fn never_active() -> Result<()> {
    let vm = Vm::new(SHAPE)?;
    let source = Mapping::new(POPULATED, Huge::Never)?;
    vm.populate(BASE, &source, true)?;
    let granules = debugfs::delegated()?;
    phase("teardown_not_activated", granules, move || {
        drop(vm);
        Ok(())
    })
}
