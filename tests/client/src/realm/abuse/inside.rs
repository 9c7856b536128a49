// SPDX-License-Identifier: GPL-2.0

//! What a realm may do wrong.

use std::ops::Range;

use kvm_bindings::KVM_SYSTEM_EVENT_RESET;
use realm_guest::{fid, rsi, Op, Order, BASE, PAGE_SIZE};

use super::{Cases, MIB};
use crate::realm::brief::with_cpu;
use crate::realm::cpu::{Cpu, End};
use crate::realm::debugfs;
use crate::realm::memory::Huge;
use crate::realm::run::{chunk, memory::set_ripas};
use crate::realm::vm::{Mode, Shape};
use crate::realm::Result;

const GIB: u64 = 1 << 30;
const PROTECTED: u64 = 1 << 39;

pub(in crate::realm) fn cases(cases: &mut Cases) -> Result<()> {
    with_cpu(Shape::REALM, |cpu| {
        ripas(cases, cpu)?;
        host_calls(cases, cpu)
    })?;
    with_cpu(Shape::REALM, |cpu| beyond(cases, cpu))?;
    with_cpu(Shape::REALM, |cpu| destroyed(cases, cpu))?;
    let huge = Shape {
        huge: Huge::Always,
        ..Shape::REALM
    };
    if Mode::get() == Mode::V14 {
        with_cpu(huge, |cpu| private_in_a_block(cases, cpu))?;
    }
    with_cpu(Shape::REALM, |cpu| {
        let end = cpu.give(Order::new(Op::SystemReset, 0), &[])?;
        let reset = End::Event(KVM_SYSTEM_EVENT_RESET);
        cases.equal("SYSTEM_RESET", end, reset);
        Ok(())
    })
}

/// Asks for a change of RIPAS as it is; returns status, next IPA and response.
pub(super) fn set(cpu: &mut Cpu<'_>, base: u64, top: u64, ripas: u64) -> Result<[u64; 3]> {
    set_with(cpu, base..top, ripas, rsi::CHANGE_DESTROYED)
}

/// The same, with flags.
fn set_with(cpu: &mut Cpu<'_>, ipas: Range<u64>, ripas: u64, flags: u64) -> Result<[u64; 3]> {
    let arguments = [fid::IPA_STATE_SET, ipas.start, ipas.end, ripas, flags];
    let [status, next, response, ..] = cpu.order(Order::new(Op::Smc, 5), &arguments)?;
    Ok([status, next, response])
}

/// Changes of RIPAS that make no sense, and large ones that do.
fn ripas(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    for (what, base, top, value) in [
        ("nothing", BASE, BASE, rsi::RAM),
        ("turned over", BASE + MIB, BASE, rsi::RAM),
        ("unaligned", BASE + 1, BASE + MIB, rsi::RAM),
        ("in the shared half", PROTECTED, PROTECTED + MIB, rsi::RAM),
        (
            "across the halves",
            PROTECTED - MIB,
            PROTECTED + MIB,
            rsi::RAM,
        ),
        ("to DESTROYED", BASE, BASE + MIB, 2),
        ("to something unknown", BASE, BASE + MIB, 99),
    ] {
        let [status, ..] = set(cpu, base, top, value)?;
        let what = format!("RIPAS change: {what}");
        cases.equal(&what, status, rsi::ERROR_INPUT);
    }
    // Everything above the slot is EMPTY already, and stays so.
    let base = BASE + cpu.vm.shape.memory;
    let before = cpu.tally.faults;
    let done = cpu.order(Order::pages(Op::SetEmpty, base, PROTECTED - base), &[])?;
    cases.equal(
        "a large range to EMPTY",
        done[..2].to_vec(),
        vec![rsi::SUCCESS, PROTECTED],
    );
    cases.equal("exits for it", cpu.tally.faults - before, 0);
    // A part of a block takes a table, which the host does not make for memory that nobody has.
    let delegated = debugfs::delegated()?;
    for n in 0..32 {
        let base = 64 * GIB + n * GIB;
        let told = set(cpu, base, base + PAGE_SIZE, rsi::EMPTY)?;
        let unmoved = [rsi::SUCCESS, base, rsi::ACCEPT];
        cases.equal("a page to EMPTY where no slot is", told, unmoved);
    }
    let tables = debugfs::delegated()? - delegated;
    cases.equal("tables where no slot is", tables, 0);
    Ok(())
}

/// A private page whose neighbours are shared, in a huge page of ours: that the neighbours are mapped must
/// not make the other half of the private page the realm's.
fn private_in_a_block(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    const BLOCK: u64 = 2 * MIB;
    let base = chunk(0);
    set_ripas(cpu, Op::SetEmpty, base, BLOCK)?;
    cpu.expect(Order::pages(Op::Touch, base, BLOCK).shared(), &[], 0)?;
    cpu.vm.set_private(base, PAGE_SIZE, true)?;
    let before = cpu.tally.faults;
    let rest = Order::pages(Op::Check, base + PAGE_SIZE, BLOCK - PAGE_SIZE).shared();
    cpu.expect(rest, &[], 0)?;
    cases.equal(
        "exits for the neighbours of a private page",
        cpu.tally.faults - before,
        0,
    );
    // The VMM shares it once more.
    cpu.expect(Order::pages(Op::Check, base, PAGE_SIZE).shared(), &[], 0)?;
    cases.equal(
        "exits for the shared half of a private page",
        cpu.tally.faults - before,
        1,
    );
    Ok(())
}

/// Host calls with anything in them.
fn host_calls(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    let functions = [
        0,
        u64::MAX,
        0x8400_0000,
        0xc400_0003,
        0x8600_ff01,
        0xc500_0020,
        0xc400_0199,
    ];
    for function in functions {
        let call = Order::new(Op::HostCall, 1);
        let [_, status, ..] = cpu.order(call, &[function, u64::MAX, 1, u64::MAX])?;
        cases.equal("an odd host call", status, rsi::SUCCESS);
    }
    cpu.expect(Order::new(Op::MmioRead, 3), &[], 6)
}

/// Memory that the realm declares where the VMM has none.
fn beyond(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    // Half of the range is in the slot. The VMM agrees to the other half, but has nothing there.
    let end = BASE + cpu.vm.shape.memory;
    let before = cpu.tally.faults;
    let told = set(cpu, end - MIB, end + MIB, rsi::RAM)?;
    cases.equal("RAM beyond a slot", told, [rsi::SUCCESS, end, rsi::REJECT]);
    // What is in the slot makes one as well where going on is to agree.
    let wanted = 1 + u64::from(Mode::get() == Mode::V15);
    cases.equal("exits for it", cpu.tally.faults - before, wanted);
    cpu.expect(Order::pages(Op::Touch, end - MIB, MIB), &[], 0)?;
    // The realm can use it no more than before.
    let [syndrome, ..] = cpu.order(Order::new(Op::Store, 0), &[end, 8, 1])?;
    cases.holds("memory that is not there", syndrome != 0);
    Ok(())
}

/// The VMM takes private memory away without asking: its contents are lost, and the realm must not
/// be given other memory in its place.
fn destroyed(cases: &mut Cases, cpu: &mut Cpu<'_>) -> Result<()> {
    let base = chunk(0);
    cpu.expect(Order::pages(Op::Touch, base, MIB), &[], 0)?;
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
    crate::realm::memory::punch_hole(memfd, base - slot.base, MIB)?;
    let arguments = [fid::IPA_STATE_GET, base, base + MIB];
    let [status, _, ripas, ..] = cpu.order(Order::new(Op::Smc, 3), &arguments)?;
    const DESTROYED: u64 = 2;
    cases.equal(
        "what the realm is told",
        [status, ripas],
        [rsi::SUCCESS, DESTROYED],
    );
    // Who does not know gets up to there, however often it asks.
    for start in [base - 2 * PAGE_SIZE, base, base] {
        let told = set_with(cpu, start..base + MIB, rsi::RAM, 0)?;
        let refused = [rsi::SUCCESS, base, rsi::REJECT];
        cases.equal("taking it again, unaware", told, refused);
    }
    // It may take it again, knowing that it is new.
    let done = cpu.order(Order::pages(Op::SetRam, base, MIB), &[])?;
    cases.equal(
        "taking it again",
        done[..2].to_vec(),
        vec![rsi::SUCCESS, base + MIB],
    );
    cpu.expect(Order::pages(Op::CheckZero, base, MIB), &[], 0)?;
    cpu.expect(Order::pages(Op::Touch, base, MIB), &[], 0)?;

    // It may also use it as if nothing had happened: that is the end of it.
    crate::realm::memory::punch_hole(memfd, base - slot.base, MIB)?;
    let end = cpu.give(Order::pages(Op::Check, base, PAGE_SIZE), &[]);
    cases.holds("memory that was taken away is not given back", end.is_err());
    Ok(())
}
