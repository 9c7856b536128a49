// SPDX-License-Identifier: GPL-2.0

//! The CPUs of the machine in memory: a realm that does what a test tells it to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;

use rmm::platform::LIST_REGISTERS;
use rmm::rec::{Context, Trap};

use super::lock;

/// One stay in the realm: sees and changes its registers, and says why it ends.
type Step = Box<dyn FnOnce(&mut Context) -> Trap + Send>;

/// What the realm will do, and what the host has left in registers.
#[derive(Default)]
pub(crate) struct Cpu {
    script: Mutex<VecDeque<Step>>,
    list_registers: Mutex<[u64; LIST_REGISTERS]>,
    id_registers: Mutex<BTreeMap<(u8, u8), u64>>,
    counter: AtomicU64,
    extended_range: AtomicBool,
    entered: AtomicU64,
    left: AtomicU64,
}

impl Cpu {
    /// Appends a stay in the realm. Without any, an interrupt ends each at once.
    pub(crate) fn then(&self, step: impl FnOnce(&mut Context) -> Trap + Send + 'static) {
        lock(&self.script).push_back(Box::new(step));
    }

    /// Stays in the realm that have not happened.
    pub(crate) fn unplayed(&self) -> usize {
        lock(&self.script).len()
    }

    /// Gives up the stays in the realm that have not happened.
    pub(crate) fn forget(&self) {
        lock(&self.script).clear();
    }

    /// How often the realm was entered, and how often it was left for the host.
    pub(crate) fn entries(&self) -> (u64, u64) {
        let entered = self.entered.load(Ordering::Relaxed);
        (entered, self.left.load(Ordering::Relaxed))
    }

    /// Programs list register `n` as the host.
    pub(crate) fn set_list_register(&self, n: usize, value: u64) {
        lock(&self.list_registers)[n] = value;
    }

    /// Gives the CPU an identification register.
    pub(crate) fn set_id_register(&self, crm: u8, op2: u8, value: u64) {
        lock(&self.id_registers).insert((crm, op2), value);
    }

    /// Gives the interrupt controller interrupts of the extended ranges.
    pub(crate) fn set_extended_range(&self) {
        self.extended_range.store(true, Ordering::Relaxed);
    }

    /// Lets time pass until `count`.
    pub(crate) fn set_counter(&self, count: u64) {
        self.counter.store(count, Ordering::Relaxed);
    }

    pub(crate) fn run(&self, ctx: &mut Context) -> Trap {
        self.entered.fetch_add(1, Ordering::Relaxed);
        let step = lock(&self.script).pop_front();
        step.map_or(Trap::Irq, |step| step(ctx))
    }

    pub(crate) fn leave(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn list_registers(&self) -> [u64; LIST_REGISTERS] {
        *lock(&self.list_registers)
    }

    pub(crate) fn has_extended_range(&self) -> bool {
        self.extended_range.load(Ordering::Relaxed)
    }

    pub(crate) fn counter(&self) -> u64 {
        self.counter.load(Ordering::Relaxed)
    }

    pub(crate) fn id_register(&self, crm: u8, op2: u8) -> u64 {
        let registers = lock(&self.id_registers);
        registers.get(&(crm, op2)).copied().unwrap_or(0)
    }
}
