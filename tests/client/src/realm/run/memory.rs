// SPDX-License-Identifier: GPL-2.0

//! Memory: filled by the guest, shared and taken back.

use realm_guest::{pattern, rsi, Op, Order, PAGE_SIZE};

use super::{chunk, CHUNK};
use crate::realm::cpu::Cpu;
use crate::realm::vm::Mode;
use crate::realm::{ensure, Result};

/// What the first CPU does with its memory.
pub(super) fn check(cpu: &mut Cpu<'_>) -> Result<()> {
    let base = chunk(0);
    fill(cpu, base, CHUNK)?;
    println!("first touch: ok");
    if !cpu.vm.shape.realm {
        return Ok(());
    }
    // What already is as the realm wants it does not come to us, unless we agree by going on.
    let before = cpu.tally.faults;
    set_ripas(cpu, Op::SetRam, base, CHUNK)?;
    let faults = cpu.tally.faults - before;
    let wanted = u64::from(Mode::get() == Mode::V15);
    ensure!(
        faults == wanted,
        "{faults} exits for RAM that is RAM already"
    );
    cpu.expect(Order::pages(Op::Check, base, CHUNK), &[], 0)?;

    share_and_take_back(cpu, base, CHUNK)?;
    // Odd pieces, so that what is large has to be taken apart.
    share_and_take_back(cpu, base + PAGE_SIZE, PAGE_SIZE)?;
    share_and_take_back(cpu, base + CHUNK / 2 - PAGE_SIZE, 2 * PAGE_SIZE)?;
    zero_pages(cpu, base, 8 * PAGE_SIZE)?;
    println!("conversions both ways: ok");
    Ok(())
}

/// Fills memory that nobody has used, and checks it.
pub(in crate::realm) fn fill(cpu: &mut Cpu<'_>, base: u64, size: u64) -> Result<()> {
    cpu.expect(Order::pages(Op::CheckZero, base, size / 4), &[], 0)?;
    let half = size / 2;
    cpu.expect(Order::pages(Op::Touch, base, half), &[], 0)?;
    cpu.expect(Order::pages(Op::TouchScattered, base + half, half), &[], 0)?;
    cpu.expect(Order::pages(Op::Check, base, size), &[], 0)
}

/// Changes the RIPAS of a range.
pub(in crate::realm) fn set_ripas(cpu: &mut Cpu<'_>, op: Op, base: u64, size: u64) -> Result<()> {
    let [status, top, _, response, ..] = cpu.order(Order::pages(op, base, size), &[])?;
    ensure!(
        [status, top, response] == [rsi::SUCCESS, base + size, rsi::ACCEPT],
        "{op:?} {base:#x}, {size:#x} bytes: status {status}, top {top:#x}, response {response}"
    );
    Ok(())
}

/// Shares memory that is the guest's own and has the pattern, and takes it back.
pub(in crate::realm) fn share_and_take_back(cpu: &mut Cpu<'_>, base: u64, size: u64) -> Result<()> {
    set_ripas(cpu, Op::SetEmpty, base, size)?;
    // The guest's half of what is shared now is new, and we see what it writes.
    cpu.expect(Order::pages(Op::CheckZero, base, size).shared(), &[], 0)?;
    cpu.expect(Order::pages(Op::Touch, base, size).shared(), &[], 0)?;
    for ipa in (base..base + size).step_by(PAGE_SIZE as usize) {
        let seen = cpu.vm.read_shared(ipa)?;
        ensure!(
            seen == pattern(ipa, true),
            "at {ipa:#x} the guest wrote {seen:#x}"
        );
    }
    // It sees what we write.
    cpu.vm.write_shared(base, 0)?;
    cpu.expect(Order::pages(Op::Check, base, size).shared(), &[], 1)?;
    cpu.vm.write_shared(base, pattern(base, true))?;
    cpu.expect(Order::pages(Op::Check, base, size).shared(), &[], 0)?;

    set_ripas(cpu, Op::SetRam, base, size)?;
    cpu.expect(Order::pages(Op::CheckZero, base, size), &[], 0)?;
    cpu.expect(Order::pages(Op::Touch, base, size), &[], 0)?;
    cpu.expect(Order::pages(Op::Check, base, size), &[], 0)
}

/// Shared pages that are read first, and so are all the same page of zeroes, do not become one when
/// they are written.
fn zero_pages(cpu: &mut Cpu<'_>, base: u64, size: u64) -> Result<()> {
    set_ripas(cpu, Op::SetEmpty, base, size)?;
    cpu.expect(Order::pages(Op::CheckZero, base, size).shared(), &[], 0)?;
    cpu.expect(Order::pages(Op::Touch, base, PAGE_SIZE).shared(), &[], 0)?;
    let next = base + PAGE_SIZE;
    let rest = Order::pages(Op::CheckZero, next, size - PAGE_SIZE).shared();
    cpu.expect(rest, &[], 0)?;
    let seen = [cpu.vm.read_shared(base)?, cpu.vm.read_shared(next)?];
    ensure!(
        seen == [pattern(base, true), 0],
        "after one of two zero pages was written: {seen:x?}"
    );
    // And the other way round: read by the guest, then written by us.
    cpu.vm.write_shared(next, 1)?;
    cpu.expect(rest, &[], 1)?;
    cpu.vm.write_shared(next, 0)?;
    set_ripas(cpu, Op::SetRam, base, size)
}
