// SPDX-License-Identifier: GPL-2.0

//! Private memory in blocks of 2 MiB: one fault brings one in, and it gives up parts of any size, by a hole
//! in its file, by attributes, by what the realm takes it for, and by the end of the VM.

use std::fs::{self, File};

use realm_guest::{Op, Order, BASE, PAGE_SIZE};

use super::brief::on_cpu;
use super::cpu::Cpu;
use super::memory::punch_hole;
use super::parameters::Setting;
use super::run::memory::{set_ripas, share_and_take_back};
use super::run::{chunk, life};
use super::vm::{Shape, Vm};
use super::{debugfs, ensure, signal, Result};

/// Bytes of a block.
const BLOCK: u64 = 2 << 20;
/// Pages of one.
const PAGES: u64 = BLOCK / PAGE_SIZE;
/// Blocks that nobody has touched.
const FIRST: u64 = chunk(0);
const SECOND: u64 = FIRST + BLOCK;
const THIRD: u64 = SECOND + BLOCK;
const _: () = assert!(FIRST % BLOCK == 0);

/// `realm blocks`.
pub(super) fn main() -> Result<()> {
    signal::init()?;
    let before = debugfs::delegated()?;
    {
        let _always = Setting::always(BLOCK)?;
        in_parts(&Vm::new(Shape::REALM)?)?;
        debugfs::expect_delegated(before)?;
        let shape = Shape {
            cpus: 2,
            memory: 64 << 20,
            ..Shape::REALM
        };
        life(shape)?;
        debugfs::expect_delegated(before)?;
        println!("blocks at the first touch: ok");
    }
    // That is what a host does that nobody has told anything.
    on_cpu(&Vm::new(Shape::REALM)?, in_order)?;
    debugfs::expect_delegated(before)?;
    println!("blocks where memory is used: ok");
    Ok(())
}

/// Blocks that are there, and private pages in all, against what was before.
fn expect(what: &str, before: [u64; 2], blocks: i64, pages: i64) -> Result<()> {
    let now = there()?;
    let wanted = [blocks, pages];
    let came = [0, 1].map(|n| now[n] as i64 - before[n] as i64);
    ensure!(
        came == wanted,
        "{what}: {came:?} blocks and pages came, not {wanted:?}"
    );
    println!("{what}: ok");
    Ok(())
}

fn there() -> Result<[u64; 2]> {
    let [private, _] = debugfs::mapped()?;
    Ok([debugfs::tables_set_aside()?, private])
}

/// What a block gives up, in each way.
fn in_parts(vm: &Vm) -> Result<()> {
    let slot = vm.slots.first().ok_or("no slot")?;
    let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
    on_cpu(vm, |cpu| {
        holes(cpu, memfd)?;
        conversions(cpu)
    })
}

/// Pages that the host's files have. Nobody else is at work. `None` in a kernel without sysctls.
fn file_pages() -> Result<Option<i64>> {
    // What each CPU has counted by itself is added up by this.
    if fs::read("/proc/sys/vm/stat_refresh").is_err() {
        return Ok(None);
    }
    let all = fs::read_to_string("/proc/vmstat")?;
    let mut lines = all.lines();
    let count = lines.find_map(|line| line.strip_prefix("nr_file_pages "));
    Ok(Some(count.ok_or("no nr_file_pages")?.parse()?))
}

/// What the file has more than `before`: what is punched out is the host's again at once.
fn expect_file(what: &str, before: Option<i64>, pages: i64) -> Result<()> {
    if let Some((now, before)) = file_pages()?.zip(before) {
        let more = now - before;
        ensure!(more == pages, "{what}: {more} pages in files, not {pages}");
    }
    Ok(())
}

fn holes(cpu: &mut Cpu<'_>, memfd: &File) -> Result<()> {
    let before = there()?;
    let files = file_pages()?;
    let touch = |base: u64, pages: u64| Order::pages(Op::Touch, base, pages * PAGE_SIZE);
    cpu.expect(touch(FIRST + 77 * PAGE_SIZE, 1), &[], 0)?;
    expect("one fault", before, 1, PAGES as i64)?;
    expect_file("one fault", files, PAGES as i64)?;
    cpu.expect(touch(FIRST, PAGES), &[], 0)?;
    expect("all of a block", before, 1, PAGES as i64)?;

    let hole = FIRST + 100 * PAGE_SIZE;
    punch_hole(memfd, hole - BASE, 3 * PAGE_SIZE)?;
    expect("a hole in a block", before, 0, PAGES as i64 - 3)?;
    expect_file("a hole in a block", files, PAGES as i64 - 3)?;
    let check = |base: u64, top: u64| Order::pages(Op::Check, base, top - base);
    cpu.expect(check(FIRST, hole), &[], 0)?;
    cpu.expect(check(hole + 3 * PAGE_SIZE, SECOND), &[], 0)?;
    set_ripas(cpu, Op::SetRam, hole, 3 * PAGE_SIZE)?;
    let zeroes = Order::pages(Op::CheckZero, hole, 3 * PAGE_SIZE);
    cpu.expect(zeroes, &[], 0)?;
    expect("what fills the hole", before, 0, PAGES as i64)?;

    cpu.expect(touch(SECOND, 1), &[], 0)?;
    expect("another block", before, 1, 2 * PAGES as i64)?;
    punch_hole(memfd, FIRST - BASE, 2 * BLOCK)?;
    expect("a hole of two blocks", before, 0, 0)?;
    expect_file("a hole of two blocks", files, 0)?;
    set_ripas(cpu, Op::SetRam, FIRST, 2 * BLOCK)
}

fn conversions(cpu: &mut Cpu<'_>) -> Result<()> {
    let before = there()?;
    cpu.expect(Order::pages(Op::Touch, THIRD, BLOCK), &[], 0)?;
    expect("a block to convert", before, 1, PAGES as i64)?;
    for (first, pages) in [(0, 1), (511, 1), (200, 16)] {
        let base = THIRD + first * PAGE_SIZE;
        share_and_take_back(cpu, base, pages * PAGE_SIZE)?;
    }
    expect("parts that are converted", before, 0, PAGES as i64)?;
    let rest = THIRD + 300 * PAGE_SIZE;
    let check = Order::pages(Op::Check, rest, 200 * PAGE_SIZE);
    cpu.expect(check, &[], 0)?;
    share_and_take_back(cpu, THIRD, BLOCK)
}

/// What comes after what is used is a block.
fn in_order(cpu: &mut Cpu<'_>) -> Result<()> {
    let before = there()?;
    let page = |base: u64| Order::pages(Op::Touch, base, PAGE_SIZE);
    cpu.expect(page(FIRST), &[], 0)?;
    expect("the first touch", before, 0, 16)?;
    cpu.expect(Order::pages(Op::Touch, FIRST, BLOCK), &[], 0)?;
    expect("all that there is", before, 0, PAGES as i64)?;
    cpu.expect(page(SECOND), &[], 0)?;
    expect("what comes next", before, 1, 2 * PAGES as i64)
}
