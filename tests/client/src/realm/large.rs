// SPDX-License-Identifier: GPL-2.0

//! `realm large`: more private memory than the host has, at the top of the widest IPA space, in slots that
//! have one file in another order, for CPUs that do not all have one Aff1.
//!
//! What the host does is not to grow with memory that nobody touches, least of all what it does under a
//! lock. So a realm with a small part of that memory, in as many slots, of which as much is touched, costs
//! as many calls of the RMM in each phase of its life: but for the tables that say of the rest that it is
//! there, one for each GiB.

use std::fs::File;
use std::ops::Range;

use kvm_ioctls::Cap;
use realm_guest::{affinity, fid, pattern, rsi, Op, Order, PAGE_SIZE};

use super::cpu::Cpu;
use super::debugfs::{self, Smcs};
use super::memory::{punch_hole, Huge, Mapping};
use super::signal::{self, Kick};
use super::vm::{Mode, Shape, Vm};
use super::widths::{load, set_ripas, store};
use super::{ensure, Result};

/// More than have an Aff1 of 0.
const CPUS: u64 = 20;
const SLOTS: u64 = 200;
/// Bytes of each slot: 64 GiB in all. Either way its ends are not in one table.
const LARGE: u64 = 328 << 20;
const SMALL: u64 = 4 << 20;
/// What a table maps.
const TABLE: u64 = 1 << 30;
/// Calls that a table may cost in each phase.
const PER_TABLE: u64 = 3;
/// Commands that tell nothing: how often these are called depends on where pages of the host happen to be, and on
/// its interrupts.
const NOT_COUNTED: [&str; 3] = [
    "GRANULE_RANGE_DELEGATE",
    "GRANULE_RANGE_UNDELEGATE",
    "REC_ENTER",
];

/// What phases have cost, in order: calls by command, and granules that were delegated at its end.
type Costs = Vec<(&'static str, Smcs, u64)>;

/// `realm large`.
pub(super) fn main() -> Result<()> {
    signal::init()?;
    Mode::set("v15")?;
    let before = debugfs::delegated()?;
    let bits = Vm::empty(Shape::REALM)?
        .fd
        .check_extension_int(Cap::ArmVmIPASize);
    let shape = Shape {
        ipa_bits: bits.try_into()?,
        cpus: CPUS,
        memory: 2 << 20,
        ..Shape::REALM
    };
    let mut costs = Vec::new();
    for size in [SMALL, LARGE] {
        let of_size = life(shape, size).map_err(|e| format!("slots of {} MiB: {e}", size >> 20))?;
        debugfs::expect_delegated(before)?;
        costs.push(of_size);
    }
    let tables = (LARGE - SMALL) * SLOTS / TABLE + 1;
    let mut wrong = 0;
    for ((phase, small, few), (_, large, many)) in costs[0].iter().zip(&costs[1]) {
        let more = total(large).saturating_sub(total(small));
        println!(
            "{phase}: {} and {} calls, {few} and {many} granules",
            total(small),
            total(large)
        );
        if more > tables * PER_TABLE || many.saturating_sub(*few) > 2 * tables {
            println!("  small: {small:?}\n  large: {large:?}");
            wrong += 1;
        }
    }
    ensure!(
        wrong == 0,
        "{wrong} phases cost more for {tables} tables more"
    );
    Ok(())
}

fn total(smcs: &Smcs) -> u64 {
    smcs.values().map(|(calls, _)| calls).sum()
}

/// Does something, and notes what it costs.
fn phase<R>(costs: &mut Costs, name: &'static str, f: impl FnOnce() -> Result<R>) -> Result<R> {
    let before = debugfs::smcs()?;
    let result = f().map_err(|e| format!("{name}: {e}"))?;
    let mut smcs = debugfs::smcs()?;
    for (command, (calls, failed)) in before {
        if let Some(now) = smcs.get_mut(&command) {
            *now = (now.0 - calls, now.1 - failed);
        }
    }
    smcs.retain(|command, now| now.0 != 0 && !NOT_COUNTED.contains(&command.as_str()));
    costs.push((name, smcs, debugfs::delegated()?));
    Ok(result)
}

/// The slots, which follow each other up to where the lower half ends.
#[derive(Clone, Copy)]
struct Layout {
    half: u64,
    size: u64,
}

impl Layout {
    fn base(self, slot: u64) -> u64 {
        self.half - (SLOTS - slot) * self.size
    }

    /// Where the private memory of a slot is in the file: the last slot's comes first.
    fn offset(self, slot: u64) -> u64 {
        (SLOTS - 1 - slot) * self.size
    }

    /// The first page of a slot, and the last.
    fn ends(self, slot: u64) -> [u64; 2] {
        let base = self.base(slot);
        [base, base + self.size - PAGE_SIZE]
    }
}

fn life(shape: Shape, size: u64) -> Result<Costs> {
    let layout = Layout {
        half: 1 << (shape.ipa_bits - 1),
        size,
    };
    let mut costs = Vec::new();
    let (vm, file) = phase(&mut costs, "slots", || slots(shape, layout))?;
    let kicks: Vec<Kick> = (0..CPUS).map(|_| Kick::default()).collect();
    let cpus = (0..).zip(&kicks).map(|(n, kick)| Cpu::new(&vm, kick, n));
    let mut cpus = cpus.collect::<Result<Vec<_>>>()?;
    let gic = vm.add_gic()?;
    phase(&mut costs, "first run", || {
        vm.load_guest()?;
        let first = cpus.first_mut().ok_or("no CPU")?;
        first.set_entry(0)?;
        first.start()
    })?;
    phase(&mut costs, "CPUs", || all_on(&mut cpus))?;
    phase(&mut costs, "touch", || touch(&mut cpus, layout))?;
    phase(&mut costs, "convert", || convert(&mut cpus, layout))?;
    phase(&mut costs, "give up", || give_up(&mut cpus, layout))?;
    phase(&mut costs, "hole", || hole(&mut cpus, layout, &file))?;
    phase(&mut costs, "delete", || {
        // Every other one; the rest goes with the VM.
        for slot in vm.slots.iter().step_by(2).skip(1) {
            let mut region = vm.region(slot);
            region.memory_size = 0;
            vm.set_slot(&region)?;
        }
        Ok(())
    })?;
    drop((cpus, gic));
    phase(&mut costs, "teardown", move || {
        drop((vm, file));
        Ok(())
    })?;
    Ok(costs)
}

/// A VM with the slots, and the file that all of them have.
fn slots(shape: Shape, layout: Layout) -> Result<(Vm, File)> {
    let mut vm = Vm::new(shape)?;
    let file = vm.guest_memfd(SLOTS * layout.size)?;
    for slot in 0..SLOTS {
        let shared = Mapping::new(layout.size, Huge::Never)?;
        let (base, offset) = (layout.base(slot), layout.offset(slot));
        vm.add_part(base, shared, Some(file.try_clone()?), offset)?;
    }
    Ok((vm, file))
}

/// All CPUs come on, with the MPIDR that they ought to have, and each gets an interrupt from the one before it.
fn all_on(cpus: &mut [Cpu<'_>]) -> Result<()> {
    for n in 0..cpus.len() {
        let number = n as u64;
        if number != 0 {
            cpus[0].expect(Order::new(Op::CpuOn, number), &[], 0)?;
            cpus[n].start()?;
        }
        let [_, _, _, mpidr, ..] = cpus[n].order(Order::new(Op::Describe, 0), &[])?;
        ensure!(
            mpidr & 0xff_00ff_ffff == affinity(number),
            "CPU {number} has MPIDR {mpidr:#x}"
        );
        cpus[n].expect(Order::new(Op::InitGic, 0), &[], 0)?;
    }
    for n in 0..cpus.len() {
        let next = (n + 1) % cpus.len();
        cpus[n].expect(Order::new(Op::SendSgi, next as u64), &[], 0)?;
        cpus[next].expect(Order::new(Op::AwaitSgi, 1), &[], 1)?;
    }
    Ok(())
}

/// The CPU that deals with a slot.
fn cpu<'a, 'v>(cpus: &'a mut [Cpu<'v>], slot: u64) -> &'a mut Cpu<'v> {
    let n = slot as usize % cpus.len();
    &mut cpus[n]
}

/// The ends of each slot are written.
fn touch(cpus: &mut [Cpu<'_>], layout: Layout) -> Result<()> {
    for slot in 0..SLOTS {
        for page in layout.ends(slot) {
            let cpu = cpu(cpus, slot);
            let found = load(cpu, page)?;
            ensure!(found == 0, "new memory at {page:#x} has {found:#x}");
            store(cpu, page, pattern(page, false))?;
        }
    }
    check(cpus, layout, 0..SLOTS)
}

/// The ends of these slots are what they were.
fn check(cpus: &mut [Cpu<'_>], layout: Layout, slots: impl Iterator<Item = u64>) -> Result<()> {
    for slot in slots {
        for page in layout.ends(slot) {
            // By another than who has written it.
            let found = load(cpu(cpus, slot + 1), page)?;
            ensure!(
                found == pattern(page, false),
                "slot {slot}, {page:#x}: {found:#x}"
            );
        }
    }
    Ok(())
}

/// The first page of one slot in ten becomes shared, and private again.
fn convert(cpus: &mut [Cpu<'_>], layout: Layout) -> Result<()> {
    for slot in (0..SLOTS).step_by(10) {
        let cpu = cpu(cpus, slot);
        let vm = cpu.vm;
        let page = layout.base(slot);
        set_ripas(cpu, page..page + PAGE_SIZE, rsi::EMPTY)?;
        store(cpu, layout.half | page, pattern(page, true))?;
        let seen = vm.read_shared(page)?;
        ensure!(
            seen == pattern(page, true),
            "at {page:#x} the guest wrote {seen:#x}"
        );
        set_ripas(cpu, page..page + PAGE_SIZE, rsi::RAM)?;
        let found = load(cpu, page)?;
        ensure!(found == 0, "what was shared at {page:#x} has {found:#x}");
        store(cpu, page, pattern(page, false))?;
    }
    check(cpus, layout, 0..SLOTS)
}

/// One slot in ten is given up as a whole, and taken back.
fn give_up(cpus: &mut [Cpu<'_>], layout: Layout) -> Result<()> {
    for slot in (5..SLOTS).step_by(10) {
        let cpu = cpu(cpus, slot);
        let base = layout.base(slot);
        for ripas in [rsi::EMPTY, rsi::RAM] {
            change(cpu, base..base + layout.size, ripas)?;
        }
        renew(cpu, layout, slot)?;
    }
    check(cpus, layout, 0..SLOTS)
}

/// RSI_IPA_STATE_SET, as often as it takes.
fn change(cpu: &mut Cpu<'_>, range: Range<u64>, ripas: u64) -> Result<()> {
    let Range { mut start, end } = range;
    while start < end {
        let call = [fid::IPA_STATE_SET, start, end, ripas, rsi::CHANGE_DESTROYED];
        let [status, next, response, ..] =
            cpu.order(Order::new(Op::Smc, call.len() as u64), &call)?;
        ensure!(
            [status, response] == [rsi::SUCCESS, rsi::ACCEPT] && next > start,
            "RIPAS {ripas} from {start:#x}: status {status}, next {next:#x}, response {response}"
        );
        start = next;
    }
    Ok(())
}

/// The ends of a slot are new, and get the pattern.
fn renew(cpu: &mut Cpu<'_>, layout: Layout, slot: u64) -> Result<()> {
    for page in layout.ends(slot) {
        let found = load(cpu, page)?;
        ensure!(found == 0, "what was given up at {page:#x} has {found:#x}");
        store(cpu, page, pattern(page, false))?;
    }
    Ok(())
}

/// The first half of the file loses what it has, all at once: that is the second half of the slots.
fn hole(cpus: &mut [Cpu<'_>], layout: Layout, file: &File) -> Result<()> {
    punch_hole(file, 0, SLOTS / 2 * layout.size)?;
    check(cpus, layout, 0..SLOTS / 2)?;
    for slot in SLOTS / 2..SLOTS {
        let cpu = cpu(cpus, slot);
        for page in layout.ends(slot) {
            set_ripas(cpu, page..page + PAGE_SIZE, rsi::RAM)?;
        }
        renew(cpu, layout, slot)?;
    }
    check(cpus, layout, 0..SLOTS)
}
