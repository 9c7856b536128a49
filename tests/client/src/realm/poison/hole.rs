// SPDX-License-Identifier: GPL-2.0

//! Memory goes bad while its file loses it: neither of the two may wait for the other.

use std::thread;

use realm_guest::{Op, Order, PAGE_SIZE};

use super::super::cpu::Cpu;
use super::super::memory::punch_hole;
use super::super::trace::Trace;
use super::super::vm::Vm;
use super::super::{debugfs, ensure, Result};
use super::{poison_private, touch_private, GOOD};

/// The hole: what is in it was mapped page by page, so that it takes a while.
const SIZE: u64 = 8 << 20;

/// A private page that is in a hole is bad when the RMM has given back a part of the hole. Both end, and the page
/// is nobody's.
pub(super) fn private(
    vm: &Vm,
    trace: &Trace,
    cpu: &mut Cpu<'_>,
    _other: &mut Cpu<'_>,
) -> Result<u64> {
    let frame = touch_private(trace, cpu)?;
    cpu.expect(Order::pages(Op::Touch, GOOD, SIZE), &[], 0)?;
    let slot = vm.slots.first().ok_or("no slot")?;
    let memfd = slot.memfd.as_ref().ok_or("no guest_memfd")?;
    let before = debugfs::delegated()?;
    thread::scope(|scope| -> Result<()> {
        let hole = scope.spawn(|| punch_hole(memfd, GOOD - slot.base, SIZE).is_ok());
        while debugfs::delegated()? == before {
            ensure!(!hole.is_finished(), "a hole in which nothing was");
        }
        ensure!(!hole.is_finished(), "the hole is there already");
        poison_private(frame)?;
        ensure!(hole.join().ok() == Some(true), "there is no hole");
        Ok(())
    })?;
    let left = debugfs::delegated()?;
    ensure!(
        left + SIZE / PAGE_SIZE <= before,
        "{left} granules are left of {before}"
    );
    Ok(frame)
}
