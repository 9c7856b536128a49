// SPDX-License-Identifier: GPL-2.0

//! `realm widths`: realms with IPA spaces of all widths, and memory and registers at the end of either half.

use std::io;
use std::ops::Range;

use kvm_ioctls::{Cap, Kvm};
use realm_guest::{fid, mailbox, rsi, Op, Order, PAGE_SIZE};

use super::brief::on_cpu;
use super::cpu::{Access, Cpu, Treat};
use super::memory::Mapping;
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, signal, Result};

/// Those whose tables differ in where they start, or how many there are; the default; the most that there
/// can be.
const WIDTHS: [u64; 6] = [32, 36, 39, 40, 48, 52];
/// Bytes of the slot at the end of the lower half.
const SIZE: u64 = 2 << 20;
/// What is populated there.
const CONTENT: [u8; 8] = *b"the end!";
/// What is stored.
const VALUE: u64 = 0x0123_4567_89ab_cdef;
/// Where registers are in their page.
const OFFSET: u64 = 0x10;

pub(super) fn main() -> Result<()> {
    signal::init()?;
    let before = debugfs::delegated()?;
    let host = Kvm::new()?.check_extension_int(Cap::ArmVmIPASize);
    let limit = Vm::empty(Shape::REALM)?
        .fd
        .check_extension_int(Cap::ArmVmIPASize);
    ensure!(
        (40..=host).contains(&limit),
        "realms have {limit} bits, the host {host}"
    );
    println!("realms have {limit} bits, the host {host}");
    for bits in WIDTHS {
        let shape = Shape {
            ipa_bits: bits,
            ..Shape::REALM
        };
        if bits <= u64::try_from(limit)? {
            life(shape).map_err(|e| format!("{bits} bits: {e}"))?;
            println!("{bits} bits: ok");
        } else {
            let errno = Vm::empty(shape)
                .err()
                .and_then(|e: io::Error| e.raw_os_error());
            ensure!(errno == Some(libc::EINVAL), "{bits} bits: {errno:?}");
            println!("{bits} bits: refused");
        }
        debugfs::expect_delegated(before)?;
    }
    Ok(())
}

fn life(shape: Shape) -> Result<()> {
    let half = 1 << (shape.ipa_bits - 1);
    let mut vm = Vm::new(shape)?;
    vm.add_memory(half - SIZE, SIZE)?;
    vm.set_private(half - SIZE, SIZE, true)?;
    let content = Mapping::with_contents(&CONTENT, PAGE_SIZE)?;
    vm.populate(half - PAGE_SIZE, &content, true)?;
    on_cpu(&vm, |cpu| {
        private(cpu, half)?;
        shared(cpu, half)?;
        registers(cpu, half)
    })
}

/// Loads a word.
pub(super) fn load(cpu: &mut Cpu<'_>, address: u64) -> Result<u64> {
    let [syndrome, value, ..] = cpu.order(Order::new(Op::Load, 0), &[address, 8])?;
    ensure!(syndrome == 0, "a load at {address:#x}: {syndrome:#x}");
    Ok(value)
}

/// Stores a word.
pub(super) fn store(cpu: &mut Cpu<'_>, address: u64, value: u64) -> Result<()> {
    cpu.expect(Order::new(Op::Store, 0), &[address, 8, value], 0)
}

/// What was populated in the last page of the lower half, and pages beside it.
fn private(cpu: &mut Cpu<'_>, half: u64) -> Result<()> {
    let found = load(cpu, half - PAGE_SIZE)?;
    ensure!(
        found.to_le_bytes() == CONTENT,
        "what was populated is {found:#x}"
    );
    for address in [half - 8, half - PAGE_SIZE - 8, half - SIZE] {
        let found = load(cpu, address)?;
        ensure!(found == 0, "at {address:#x} there is {found:#x}");
        store(cpu, address, VALUE)?;
        let found = load(cpu, address)?;
        ensure!(found == VALUE, "at {address:#x} there is {found:#x}");
    }
    Ok(())
}

/// RSI_IPA_STATE_SET of a range, which is done at once.
pub(super) fn set_ripas(cpu: &mut Cpu<'_>, range: Range<u64>, ripas: u64) -> Result<()> {
    let Range { start, end } = range;
    let call = [fid::IPA_STATE_SET, start, end, ripas, rsi::CHANGE_DESTROYED];
    let [status, top, response, ..] = cpu.order(Order::new(Op::Smc, call.len() as u64), &call)?;
    ensure!(
        [status, top, response] == [rsi::SUCCESS, end, rsi::ACCEPT],
        "RIPAS {ripas}: status {status}, top {top:#x}, response {response}"
    );
    Ok(())
}

/// The last page becomes shared, is seen by both, and becomes private again.
fn shared(cpu: &mut Cpu<'_>, half: u64) -> Result<()> {
    let page = || half - PAGE_SIZE..half;
    set_ripas(cpu, page(), rsi::EMPTY)?;
    let vm = cpu.vm;
    let last = half - 8;
    store(cpu, half | last, VALUE)?;
    let seen = vm.read_shared(last)?;
    ensure!(seen == VALUE, "the guest stored {seen:#x}");
    vm.write_shared(last, !VALUE)?;
    let seen = load(cpu, half | last)?;
    ensure!(seen == !VALUE, "the guest sees {seen:#x}");
    set_ripas(cpu, page(), rsi::RAM)?;
    let found = load(cpu, last)?;
    ensure!(found == 0, "memory that was shared has {found:#x}");
    set_ripas(cpu, page(), rsi::EMPTY)
}

/// Registers in the last page of the upper half, when there is no memory any more.
fn registers(cpu: &mut Cpu<'_>, half: u64) -> Result<()> {
    let vm = cpu.vm;
    let slot = vm.slots.last().ok_or("no slot")?;
    let mut region = vm.region(slot);
    region.memory_size = 0;
    vm.set_slot(&region)?;

    let page = half - PAGE_SIZE;
    cpu.device = Some(page);
    cpu.treat = Treat::Value(!VALUE);
    cpu.accesses.clear();
    store(cpu, half | page | OFFSET, VALUE)?;
    let read = load(cpu, half | page | OFFSET)?;
    ensure!(read == !VALUE, "the guest read {read:#x}");
    let access = |written| Access {
        offset: PAGE_SIZE - mailbox::FREE + OFFSET,
        size: 8,
        written,
    };
    let wanted = [access(Some(VALUE)), access(None)];
    ensure!(
        cpu.accesses == wanted,
        "{:x?} instead of {wanted:x?}",
        cpu.accesses
    );
    Ok(())
}
