// SPDX-License-Identifier: GPL-2.0

//! Two at once take memory from a realm that keeps storing to it, each in a way of its own. What becomes
//! of the memory is up to who came last; but afterwards the realm can be given all of it again, runs on,
//! has kept what was beside it, and nothing is noted as mapped that is not.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use kvm_bindings::kvm_userspace_memory_region2;
use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::race::stop;
use super::{Cases, MIB};
use crate::realm::brief::with_two;
use crate::realm::cpu::{Cpu, End};
use crate::realm::memory::punch_hole;
use crate::realm::run::chunk;
use crate::realm::run::memory::set_ripas;
use crate::realm::vm::{Shape, Slot, Vm};
use crate::realm::{debugfs, ensure, faults, Result};

const SHAPE: Shape = Shape {
    cpus: 2,
    ..Shape::REALM
};
/// A slot of its own: memory that is left alone, what is fought for, and more that is left alone.
const SLOT: u64 = BASE + 64 * MIB;
const BESIDE: u64 = MIB;
const FOUGHT: u64 = SLOT + BESIDE;
const FOUGHT_SIZE: u64 = 6 * MIB;
const BESIDES: [u64; 2] = [SLOT, FOUGHT + FOUGHT_SIZE];
const SLOT_SIZE: u64 = BESIDE + FOUGHT_SIZE + BESIDE;
/// Where one of the two begins, and the other ends.
const THIRD: u64 = FOUGHT_SIZE / 3;
const ROUNDS: u32 = 6;
/// The realm gets there in this time, whatever else the machine does.
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes memory. What is in the slot is all there again when it returns, but not whose it is.
type Take = fn(&Vm) -> Result<()>;

/// Who is at work at once, and whether what is beside that is there all the time.
const PAIRS: [(&str, bool, [Take; 2]); 6] = [
    ("a hole and a conversion", true, [punch, convert]),
    ("two holes", true, [punch, punch_rest]),
    ("a hole and the end of the slot", false, [punch, delete]),
    ("conversions both ways", true, [convert, convert_back]),
    ("discarding and a conversion", true, [discard, convert]),
    (
        "discarding and the end of the slot",
        false,
        [discard, delete],
    ),
];

pub(super) fn cases(cases: &mut Cases) -> Result<()> {
    for shared in [false, true] {
        let half = if shared { "shared" } else { "private" };
        for (name, keeps, pair) in PAIRS {
            let what = format!("{name}, {half}");
            let result = two(pair, keeps, shared);
            let told = result.as_ref().err().map(ToString::to_string);
            cases.equal(&what, told, None);
        }
    }
    Ok(())
}

fn slot(vm: &Vm) -> Result<&Slot> {
    let slot = vm.slots.iter().find(|slot| slot.base == SLOT);
    Ok(slot.ok_or("no slot")?)
}

/// Private memory goes, from the beginning up to the last third.
fn punch(vm: &Vm) -> Result<()> {
    let memfd = slot(vm)?.memfd.as_ref().ok_or("no guest_memfd")?;
    Ok(punch_hole(memfd, BESIDE, FOUGHT_SIZE - THIRD)?)
}

/// The same, but for the first third.
fn punch_rest(vm: &Vm) -> Result<()> {
    let memfd = slot(vm)?.memfd.as_ref().ok_or("no guest_memfd")?;
    Ok(punch_hole(memfd, BESIDE + THIRD, FOUGHT_SIZE - THIRD)?)
}

/// Shared memory goes, from the beginning up to the last third.
fn discard(vm: &Vm) -> Result<()> {
    Ok(slot(vm)?.shared.discard(BESIDE, FOUGHT_SIZE - THIRD)?)
}

/// All but the first third becomes the other half's, and again.
fn convert(vm: &Vm) -> Result<()> {
    for private in [false, true] {
        vm.set_private(FOUGHT + THIRD, FOUGHT_SIZE - THIRD, private)?;
    }
    Ok(())
}

/// The same with the last third, the other way round.
fn convert_back(vm: &Vm) -> Result<()> {
    for private in [true, false] {
        vm.set_private(FOUGHT, FOUGHT_SIZE - THIRD, private)?;
    }
    Ok(())
}

/// The slot goes, and comes back.
fn delete(vm: &Vm) -> Result<()> {
    let region = vm.region(slot(vm)?);
    vm.set_slot(&kvm_userspace_memory_region2 {
        memory_size: 0,
        ..region
    })?;
    Ok(vm.set_slot(&region)?)
}

/// A realm of which one CPU stores to what is fought for, while the other asks for it again.
fn two(pair: [Take; 2], keeps: bool, shared: bool) -> Result<()> {
    let mut vm = Vm::new(SHAPE)?;
    vm.keeps_both = true;
    vm.add_memory(SLOT, SLOT_SIZE)?;
    vm.set_private(SLOT, SLOT_SIZE, true)?;
    let vm = vm;
    with_two(&vm, |first, other| fight(first, other, pair, keeps, shared))
}

/// Has both take their share again and again.
fn fight(
    first: &mut Cpu<'_>,
    other: Cpu<'_>,
    pair: [Take; 2],
    keeps: bool,
    shared: bool,
) -> Result<()> {
    let (vm, kick) = (first.vm, other.kick);
    // The realm has said that this is its memory: what it loses there it has to ask for again.
    set_ripas(first, Op::SetRam, SLOT, SLOT_SIZE)?;
    first.expect(Order::pages(Op::Touch, chunk(0), MIB), &[], 0)?;
    for beside in BESIDES {
        first.expect(Order::pages(Op::Touch, beside, BESIDE), &[], 0)?;
    }

    thread::scope(|scope| {
        let mut order = Order::pages(Op::Scribble, FOUGHT, FOUGHT_SIZE);
        order.shared = shared;
        let storing = scope.spawn(move || scribble(other, order));
        let result = (0..ROUNDS).try_for_each(|_| {
            at_once(vm, pair)?;
            again(first, keeps, shared)
        });
        stop(vm, kick, || storing.is_finished());
        // What stopped a CPU says more than that the other waited for it in vain.
        storing.join().map_err(|_| "a thread panicked")??;
        result
    })?;
    first.expect(Order::pages(Op::Check, chunk(0), MIB), &[], 0)?;
    nothing_is_noted(vm)
}

/// Both take what they take at the same time.
fn at_once(vm: &Vm, pair: [Take; 2]) -> Result<()> {
    let both = &Barrier::new(2);
    thread::scope(|scope| {
        let threads = pair.map(|take| {
            scope.spawn(move || {
                both.wait();
                take(vm)
            })
        });
        for thread in threads {
            thread.join().map_err(|_| "a thread panicked")??;
        }
        Ok(())
    })
}

/// The realm gets everything again, and goes on storing to it. What is beside it has been kept, or is new
/// if the slot is.
fn again(first: &mut Cpu<'_>, keeps: bool, shared: bool) -> Result<()> {
    let vm = first.vm;
    vm.set_private(FOUGHT, FOUGHT_SIZE, !shared)?;
    for beside in BESIDES {
        let pages = |op| Order::pages(op, beside, BESIDE);
        if keeps {
            first.expect(pages(Op::Check), &[], 0)?;
            continue;
        }
        set_ripas(first, Op::SetRam, beside, BESIDE)?;
        first.expect(pages(Op::CheckZero), &[], 0)?;
        first.expect(pages(Op::Touch), &[], 0)?;
    }
    if !shared {
        set_ripas(first, Op::SetRam, FOUGHT, FOUGHT_SIZE)?;
    }
    for page in [0, FOUGHT_SIZE / 2, FOUGHT_SIZE - PAGE_SIZE] {
        let start = Instant::now();
        let mut read = || -> Result<u64> {
            if shared {
                return vm.read_shared(FOUGHT + page);
            }
            let arguments = [FOUGHT + page, 8];
            let [syndrome, value, ..] = first.order(Order::new(Op::Load, 0), &arguments)?;
            ensure!(syndrome == 0, "at {page:#x}: syndrome {syndrome:#x}");
            Ok(value)
        };
        let before = read()?;
        while read()? == before {
            let patient = start.elapsed() < PATIENCE;
            ensure!(patient, "the realm does not store at {page:#x} any more");
            thread::yield_now();
        }
    }
    Ok(())
}

/// Runs a CPU that stores for ever, whatever becomes of its memory.
fn scribble(mut cpu: Cpu<'_>, order: Order) -> Result<()> {
    let mut end = cpu.give(order, &[]);
    let result = loop {
        match end {
            Ok(End::Stopped) => break Ok(()),
            Ok(end) => break Err(format!("instead of storing: {end:?}").into()),
            Err(error) => {
                let errno = faults::errno(&error);
                let lost = [libc::EFAULT, libc::EHWPOISON].map(Some).contains(&errno);
                let no_slot = error.to_string().contains("a write of 8 bytes")
                    || error.to_string().contains("the same fault for ever");
                if !lost && !no_slot {
                    break Err(error);
                }
                thread::yield_now();
            }
        }
        // A CPU whose memory is lost comes back at once.
        if cpu.vm.stop.load(std::sync::atomic::Ordering::Acquire) {
            break Ok(());
        }
        end = cpu.run();
    };
    cpu.kick.nobody();
    result
}

/// When all is taken nothing is noted as mapped. Nobody runs the realm any more.
fn nothing_is_noted(vm: &Vm) -> Result<()> {
    for slot in &vm.slots {
        let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
        punch_hole(memfd, 0, slot.shared.size())?;
        slot.shared.discard(0, slot.shared.size())?;
    }
    let mapped = debugfs::mapped()?;
    ensure!(mapped == [0, 0], "mapped, private and shared: {mapped:?}");
    Ok(())
}
