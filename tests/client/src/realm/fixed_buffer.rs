// SPDX-License-Identifier: GPL-2.0

//! Memory that a realm shares is a fixed buffer of io_uring: the kernel keeps the page for I/O, whatever becomes
//! of it. The realm sees what comes in. When it has taken that memory back, I/O goes on in the page that was
//! shared, and what the realm has there now is neither changed nor seen.

use std::os::fd::AsRawFd;

use io_uring::{opcode, squeue, types, IoUring};
use realm_guest::{pattern, Op, Order, PAGE_SIZE};

use super::brief::with_cpu;
use super::cpu::Cpu;
use super::memory::Mapping;
use super::run::chunk;
use super::run::memory::set_ripas;
use super::vm::Shape;
use super::{debugfs, ensure, Result};

/// The memory, and where in its page the guest has its pattern.
const IPA: u64 = chunk(0);
const PLACES: [u64; 2] = [0, PAGE_SIZE - 8];

/// What is in these places.
type Words = [u64; 2];

/// `realm fixed-buffer`.
pub(super) fn main() -> Result<()> {
    let before = debugfs::delegated()?;
    with_cpu(Shape::REALM, shared_and_taken_back)?;
    debugfs::expect_delegated(before)
}

fn shared_and_taken_back(cpu: &mut Cpu<'_>) -> Result<()> {
    let page = |op| Order::pages(op, IPA, PAGE_SIZE);
    let touched = PLACES.map(|place| pattern(IPA + place, true));
    let slot = cpu.vm.slots.first().ok_or("no slot")?;
    let offset = IPA - slot.base;
    let frame = || -> Result<u64> { Ok(slot.shared.frames()?[(offset / PAGE_SIZE) as usize]) };

    set_ripas(cpu, Op::SetEmpty, IPA, PAGE_SIZE)?;
    cpu.expect(page(Op::Touch).shared(), &[], 0)?;
    let first = frame()?;
    let mut buffer = Buffer::new(slot.shared.address() + offset)?;
    buffer.goes_out(touched)?;
    buffer.comes_in([0; 2])?;
    cpu.expect(page(Op::CheckZero).shared(), &[], 0)?;
    buffer.comes_in(touched)?;
    cpu.expect(page(Op::Check).shared(), &[], 0)?;
    println!("a fixed buffer that a realm shares: ok");

    // The VMM lets go of what was shared.
    set_ripas(cpu, Op::SetRam, IPA, PAGE_SIZE)?;
    ensure!(frame()? == 0, "what was shared is mapped still");
    cpu.expect(page(Op::Touch), &[], 0)?;
    buffer.goes_out(touched)?;
    buffer.comes_in([1; 2])?;
    buffer.goes_out([1; 2])?;
    cpu.expect(page(Op::Check), &[], 0)?;
    println!("the same when the realm has taken that memory back: ok");

    // What it shares next is another page.
    set_ripas(cpu, Op::SetEmpty, IPA, PAGE_SIZE)?;
    cpu.expect(page(Op::CheckZero).shared(), &[], 0)?;
    cpu.expect(page(Op::Touch).shared(), &[], 0)?;
    let second = frame()?;
    ensure!(
        ![0, first].contains(&second),
        "page frame {first:#x} is shared again as {second:#x}"
    );
    buffer.goes_out([1; 2])
}

/// A page that is a fixed buffer, and a file that it comes from and goes to.
struct Buffer {
    ring: IoUring,
    address: u64,
    file: Mapping,
}

impl Buffer {
    fn new(address: u64) -> Result<Self> {
        let buffer = libc::iovec {
            iov_base: std::ptr::without_provenance_mut(address as usize),
            iov_len: PAGE_SIZE as usize,
        };
        let ring = IoUring::new(1)?;
        // SAFETY: The kernel keeps the page, and what comes in there the tests read as atomic words.
        unsafe { ring.submitter().register_buffers(&[buffer])? };
        Ok(Self {
            ring,
            address,
            file: Mapping::of_file(PAGE_SIZE, false)?,
        })
    }

    /// The file has these words.
    fn fill(&self, words: Words) {
        for (place, word) in PLACES.into_iter().zip(words) {
            self.file.write(place, word);
        }
    }

    /// These words come in.
    fn comes_in(&mut self, words: Words) -> Result<()> {
        self.fill(words);
        let file = types::Fd(self.file.file()?.as_raw_fd());
        let at = std::ptr::without_provenance_mut(self.address as usize);
        self.transfer(opcode::ReadFixed::new(file, at, PAGE_SIZE as u32, 0).build())
    }

    /// These words are what goes out.
    fn goes_out(&mut self, words: Words) -> Result<()> {
        self.fill([u64::MAX; 2]);
        let file = types::Fd(self.file.file()?.as_raw_fd());
        let at = std::ptr::without_provenance(self.address as usize);
        self.transfer(opcode::WriteFixed::new(file, at, PAGE_SIZE as u32, 0).build())?;
        let out = PLACES.map(|place| self.file.read(place));
        ensure!(out == words, "{out:#x?} go out instead of {words:#x?}");
        Ok(())
    }

    /// The whole page goes one way or the other.
    fn transfer(&mut self, entry: squeue::Entry) -> Result<()> {
        // SAFETY: The file and the page are there until it is done.
        unsafe { self.ring.submission().push(&entry)? };
        self.ring.submit_and_wait(1)?;
        let done = self.ring.completion().next().ok_or("nothing is done")?;
        let result = done.result();
        ensure!(result == PAGE_SIZE as i32, "I/O: {result}");
        Ok(())
    }
}
