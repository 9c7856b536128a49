// SPDX-License-Identifier: GPL-2.0

//! What it costs: the SMCs of each phase of a realm's life, one line each.
//!
//! ```text
//! bench: phase=NAME units=N smcs=N rec_enter=N failed=N interrupts=N us=N COMMAND=N[:FAILED]...
//! ```
//!
//! `units` are pages or accesses or calls, `failed` how many SMCs did, `interrupts` those that the
//! host had meanwhile, `us` the time that went by.
//! The phases and their sizes are those of `tests/bench/c-series.tsv`. An order costs an entry of
//! the REC by itself, after its read, and another after the write of a result that is not 0.

mod hold;
pub(super) mod parallel;
mod phase;
mod ways;

use phase::Phases;

use std::process::{Command, Stdio};

use kvm_arm_rmi::uapi::KvmArmRmiPopulate;
use kvm_bindings::KVM_SYSTEM_EVENT_SHUTDOWN;
use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::brief::{on_cpu, with_two_ready};
use super::cpu::{Cpu, End};
use super::debugfs;
use super::memory::{Huge, Mapping};
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
    pinned: false,
};

/// What is populated, with the guest at its beginning.
const POPULATED: u64 = 4 * MIB;
/// What is populated of a realm that begins with much.
const LARGE: u64 = 64 * MIB;
/// Memory that is touched in order, and right after it what is touched out of order.
const SEQUENTIAL: u64 = BASE + POPULATED;
const SEQUENTIAL_SIZE: u64 = 64 * MIB;
const SCATTERED: u64 = SEQUENTIAL + SEQUENTIAL_SIZE;
const SCATTERED_SIZE: u64 = 16 * MIB;

/// Pieces of their own: touched, converted and touched again; shared by pages; shared by huge pages;
/// left as it is; shared by pages that the VMM has; shared for its zero pages. All but the first are untouched while they are
/// private.
const PIECE: u64 = 8 * MIB;
const CONVERTED: u64 = SCATTERED + SCATTERED_SIZE;
const BY_PAGES: u64 = CONVERTED + PIECE;
const BY_HUGE_PAGES: u64 = BY_PAGES + PIECE;
const SAME: u64 = BY_HUGE_PAGES + PIECE;
const THERE: u64 = SAME + PIECE;
const ZEROES: u64 = THERE + PIECE;
const ZEROES_SIZE: u64 = 2 * MIB;
const _: () = assert!(ZEROES + ZEROES_SIZE <= BASE + SHAPE.memory);

const CALLS: u64 = 1000;

/// `realm bench [COMMAND...]`: all phases, and last what `command` does, which boots Linux in a realm.
pub(super) fn main(command: &[&str]) -> Result<()> {
    let mut phases = Phases::default();
    let result = all(&mut phases).and_then(|()| match command {
        [] => Ok(()),
        command => {
            // Each fault maps 64 KiB and more; without any all is counted.
            let maps = linux_boot(&mut phases, "linux_boot", command)?;
            ensure!(maps >= 40, "a boot takes {maps} private faults");
            let prefault = [command, &["--prefault"]].concat();
            let maps = linux_boot(&mut phases, "linux_boot_prefault", &prefault)?;
            ensure!(
                maps < 20,
                "a boot takes {maps} private faults with --prefault"
            );
            Ok(())
        }
    });
    print!("{phases}");
    result
}

/// A whole life, from the VMM's start to its end. What it says is not shown. Returns how often private
/// memory was mapped while the guest ran.
fn linux_boot(phases: &mut Phases, phase: &'static str, command: &[&str]) -> Result<u64> {
    const STATS: &str = "/tmp/bench-linux.stats";
    let (program, arguments) = command.split_first().ok_or("no program")?;
    let output = phases.run(phase, 0, || {
        let mut command = Command::new(program);
        command.args(arguments).args(["--stats", STATS]);
        Ok(command.stdin(Stdio::null()).output()?)
    })?;
    ensure!(
        output.status.success(),
        "{program}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let stats = std::fs::read_to_string(STATS)?;
    let maps = stats
        .lines()
        .find_map(|line| line.strip_prefix("private_maps "));
    Ok(maps.ok_or("the VMM does not count faults")?.parse()?)
}

fn all(phases: &mut Phases) -> Result<()> {
    let before = debugfs::delegated()?;
    whole_life(phases)?;
    second_cpu(phases)?;
    never_active(phases)?;
    prefault(phases)?;
    ways::ways(phases)?;
    hold::holds(phases)?;
    large_populate(phases)?;
    debugfs::expect_delegated(before)
}

/// Makes the RD and fills the first pages.
fn populate(phases: &mut Phases, vm: &Vm) -> Result<()> {
    phases.run("rd_create", 0, || {
        Ok(vm.populate_once(&mut KvmArmRmiPopulate::default())?)
    })?;
    let mut image = super::vm::guest_image()?;
    // No page of it is zero.
    image.resize(POPULATED as usize, 0xa5);
    let source = Mapping::with_contents(&image, POPULATED)?;
    phases.run("populate", POPULATED / PAGE_SIZE, || {
        vm.populate(BASE, &source, true)
    })
}

/// Has the first KVM_RUN do what it does once, and nothing else.
fn activate(phases: &mut Phases, cpu: &mut Cpu<'_>) -> Result<()> {
    phases.run("activate", 0, || {
        cpu.fd.set_kvm_immediate_exit(1);
        let end = cpu.fd.run().map(|_| ());
        cpu.fd.set_kvm_immediate_exit(0);
        match end {
            Err(error) if error.errno() == libc::EINTR => Ok(()),
            other => Err(format!("instead of EINTR: {other:?}").into()),
        }
    })
}

fn whole_life(phases: &mut Phases) -> Result<()> {
    let mut vm = Vm::new(SHAPE)?;
    vm.keeps_both = true;
    populate(phases, &vm)?;
    let kick = Kick::default();
    let mut cpu = Cpu::new(&vm, &kick, 0)?;
    let gic = vm.add_gic()?;
    cpu.set_entry(0)?;
    activate(phases, &mut cpu)?;
    cpu.start()?;

    calls(phases, &mut cpu)?;
    private(phases, &mut cpu)?;
    shared(phases, &mut cpu)?;
    phases.run("system_off", 1, || {
        let end = cpu.give(Order::new(Op::SystemOff, 0), &[])?;
        ensure!(end == End::Event(KVM_SYSTEM_EVENT_SHUTDOWN), "{end:?}");
        Ok(())
    })?;
    let granules = debugfs::delegated()?;
    drop((cpu, gic));
    phases.run("teardown", granules, move || {
        drop(vm);
        Ok(())
    })
}

fn calls(phases: &mut Phases, cpu: &mut Cpu<'_>) -> Result<()> {
    phases.run("mmio_write", CALLS, || {
        cpu.expect(Order::new(Op::MmioWrite, CALLS), &[], 0)
    })?;
    let sum = CALLS * (CALLS + 1) / 2;
    phases.run("mmio_read", CALLS, || {
        cpu.expect(Order::new(Op::MmioRead, CALLS), &[], sum)
    })?;
    phases.run("host_call", CALLS, || {
        cpu.expect(Order::new(Op::AskVersion, CALLS), &[], 0)
    })
}

/// A phase that is one order on pages, whose result is 0.
fn pages(phases: &mut Phases, cpu: &mut Cpu<'_>, name: &'static str, order: Order) -> Result<()> {
    phases.run(name, order.count, || cpu.expect(order, &[], 0))
}

fn private(phases: &mut Phases, cpu: &mut Cpu<'_>) -> Result<()> {
    let order = Order::pages;
    let sequential = order(Op::Touch, SEQUENTIAL, SEQUENTIAL_SIZE);
    pages(phases, cpu, "touch_sequential", sequential)?;
    let scattered = order(Op::TouchScattered, SCATTERED, SCATTERED_SIZE);
    pages(phases, cpu, "touch_scattered", scattered)?;

    let touch = order(Op::Touch, CONVERTED, PIECE);
    cpu.expect(touch, &[], 0)?;
    let empty = order(Op::GiveUp, CONVERTED, PIECE);
    pages(phases, cpu, "convert_empty", empty)?;
    let ram = order(Op::TakeBack, CONVERTED, PIECE);
    pages(phases, cpu, "convert_ram", ram)?;
    pages(phases, cpu, "touch_again", touch)
}

fn shared(phases: &mut Phases, cpu: &mut Cpu<'_>) -> Result<()> {
    let order = Order::pages;
    cpu.expect(order(Op::GiveUp, BY_PAGES, PIECE), &[], 0)?;
    let touch = order(Op::Touch, BY_PAGES, PIECE).shared();
    pages(phases, cpu, "shared_touch_4k", touch)?;

    cpu.expect(order(Op::GiveUp, THERE, PIECE), &[], 0)?;
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    for page in (THERE..THERE + PIECE).step_by(PAGE_SIZE as usize) {
        slot.shared.write(page - slot.base, page);
    }
    let touch = order(Op::Touch, THERE, PIECE).shared();
    pages(phases, cpu, "shared_touch_there", touch)?;

    cpu.expect(order(Op::GiveUp, BY_HUGE_PAGES, PIECE), &[], 0)?;
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    let offset = BY_HUGE_PAGES - slot.base;
    slot.shared.set_huge(offset, PIECE, Huge::Always)?;
    let touch = order(Op::Touch, BY_HUGE_PAGES, PIECE).shared();
    pages(phases, cpu, "shared_touch_thp", touch)?;

    let alias = order(Op::TakeBack, BY_PAGES, PIECE);
    pages(phases, cpu, "convert_ram_alias", alias)?;
    // What is as the realm wants it is not the VMM's business.
    let before = cpu.tally.faults;
    let same = order(Op::TakeBack, SAME, PIECE);
    pages(phases, cpu, "convert_ram_same", same)?;
    let faults = cpu.tally.faults - before;
    ensure!(faults == 0, "{faults} exits for RAM that is RAM already");

    cpu.expect(order(Op::GiveUp, ZEROES, ZEROES_SIZE), &[], 0)?;
    let read = order(Op::CheckZero, ZEROES, ZEROES_SIZE).shared();
    pages(phases, cpu, "shared_read", read)?;
    let write = order(Op::Touch, ZEROES, ZEROES_SIZE).shared();
    pages(phases, cpu, "shared_write", write)
}

/// A second CPU comes on.
fn second_cpu(phases: &mut Phases) -> Result<()> {
    let vm = Vm::new(Shape { cpus: 2, ..SHAPE })?;
    with_two_ready(&vm, |first, mut other| {
        first.start()?;
        phases.run("cpu_on", 1, || {
            first.expect(Order::new(Op::CpuOn, 1), &[], 0)?;
            other.start()
        })
    })
}

/// Memory that is there before a realm touches it, by as few calls as the host wants.
fn prefault(phases: &mut Phases) -> Result<()> {
    on_cpu(&Vm::new(SHAPE)?, |cpu| {
        phases.run("prefault_64m", SEQUENTIAL_SIZE / PAGE_SIZE, || {
            let mut left = (SEQUENTIAL, SEQUENTIAL_SIZE);
            while left.1 != 0 {
                let result;
                (result, left) = cpu.pre_fault(left.0, left.1, 0);
                result?;
            }
            Ok(())
        })
    })
}

/// A realm that ends before it has begun.
fn never_active(phases: &mut Phases) -> Result<()> {
    let vm = Vm::new(SHAPE)?;
    let source = Mapping::new(POPULATED, Huge::Never)?;
    vm.populate(BASE, &source, true)?;
    let granules = debugfs::delegated()?;
    phases.run("teardown_not_activated", granules, move || {
        drop(vm);
        Ok(())
    })
}

/// A realm that begins with much. Every page of what it is filled from is there.
fn large_populate(phases: &mut Phases) -> Result<()> {
    let vm = Vm::new(SHAPE)?;
    vm.populate_once(&mut KvmArmRmiPopulate::default())?;
    let source = Mapping::new(LARGE, Huge::Never)?;
    for page in (0..LARGE).step_by(PAGE_SIZE as usize) {
        source.write(page, page + 1);
    }
    phases.run("populate_64m", LARGE / PAGE_SIZE, || {
        vm.populate(BASE, &source, true)
    })
}
