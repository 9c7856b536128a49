// SPDX-License-Identifier: GPL-2.0

//! Carries out orders.

use core::arch::asm;

use realm_guest::{affinity, fid, mailbox, rsi, Op, Order, Renewal, BASE, PAGE_SIZE, WORDS};

use crate::{call, interrupts, memory, provoke, read, write};

/// What becomes of an order.
pub(crate) struct Answer {
    /// The results.
    pub(crate) values: [u64; WORDS],
    /// How many of them there are, at least 1.
    pub(crate) count: usize,
}

/// Results, the first few of them given.
impl<const N: usize> From<[u64; N]> for Answer {
    fn from(given: [u64; N]) -> Self {
        let mut values = [0; WORDS];
        values[..N].copy_from_slice(&given);
        Self { values, count: N }
    }
}

fn argument(n: usize) -> u64 {
    read(mailbox::ARGUMENTS + n as u64 * 8)
}

/// Carries an order out. `x0` is what this CPU was started with, and `ipa_bits` what the RMM has
/// told of the IPA space.
pub(crate) fn perform(order: Order, x0: u64, ipa_bits: u64) -> Answer {
    match order.op {
        Op::Describe => describe(x0, ipa_bits),
        Op::Smc => smc(order.count as usize),
        Op::Load => {
            let (syndrome, value) = provoke::load(argument(0), argument(1));
            [syndrome, value].into()
        }
        Op::Store => [provoke::store(argument(0), argument(1), argument(2))].into(),
        Op::LoadPair => {
            let (syndrome, value) = provoke::load_pair(argument(0));
            [syndrome, value].into()
        }
        Op::MmioWrite => {
            (1..=order.count).for_each(|n| write(mailbox::SINK, n));
            [0].into()
        }
        Op::MmioRead => {
            let sum = (0..order.count).fold(0u64, |sum, _| sum.wrapping_add(read(mailbox::SOURCE)));
            [sum].into()
        }
        Op::HostCall => host_calls(order.count),
        Op::Touch => {
            memory::touch(order);
            [0].into()
        }
        Op::TouchScattered => {
            memory::touch_scattered(order);
            [0].into()
        }
        Op::TouchEvery => {
            memory::touch_every(order, argument(0));
            [0].into()
        }
        Op::Check => [memory::check(order)].into(),
        Op::CheckZero => [memory::check_zero(order)].into(),
        Op::Scribble => memory::scribble(order),
        Op::Renew => {
            let renewal = Renewal::from_arguments([argument(0), argument(1), argument(2)]);
            memory::renew(order, renewal).into()
        }
        Op::SetEmpty => set_ripas(order, rsi::EMPTY),
        Op::SetRam => set_ripas(order, rsi::RAM),
        Op::GiveUp => [left(order, rsi::EMPTY)].into(),
        Op::TakeBack => [left(order, rsi::RAM)].into(),
        Op::AskVersion => [unanswered(order.count)].into(),
        Op::CpuOn => psci([fid::CPU_ON, affinity(order.count), BASE, 0]),
        Op::InitGic => {
            interrupts::init();
            [0].into()
        }
        Op::Timer => [interrupts::timer(order.count)].into(),
        Op::Suspend => suspend(order.count),
        Op::SendSgi => {
            interrupts::send_sgi(order.count);
            [0].into()
        }
        Op::AwaitSgi => [interrupts::await_sgi(order.count)].into(),
        Op::Spin => [interrupts::spin(order.count)].into(),
        Op::CpuOff => psci([fid::CPU_OFF]),
        Op::SystemOff => psci([fid::SYSTEM_OFF]),
        Op::SystemReset => psci([fid::SYSTEM_RESET]),
    }
}

fn describe(x0: u64, ipa_bits: u64) -> Answer {
    let (mpidr, dfr0, frequency): (u64, u64, u64);
    // SAFETY: reads registers that EL1 may read.
    unsafe {
        asm!(
            "mrs {}, mpidr_el1",
            "mrs {}, id_aa64dfr0_el1",
            "mrs {}, cntfrq_el0",
            out(reg) mpidr,
            out(reg) dfr0,
            out(reg) frequency,
            options(nomem, nostack),
        );
    }
    [0, ipa_bits, x0, mpidr, dfr0, frequency].into()
}

fn smc(count: usize) -> Answer {
    let mut regs = [0; WORDS];
    for (n, register) in regs.iter_mut().enumerate().take(count) {
        *register = argument(n);
    }
    // SAFETY: the VMM answers for what it asks for; this guest is there for that.
    let results = unsafe { call::call(regs) };
    let mut values = [0; WORDS];
    values.copy_from_slice(&results[..WORDS]);
    values.into()
}

/// A call about CPUs, or about the machine. If it comes back, the result says how.
fn psci<const N: usize>(arguments: [u64; N]) -> Answer {
    // SAFETY: it touches no memory.
    let [result, ..] = unsafe { call::call(arguments) };
    [result].into()
}

fn host_calls(count: u64) -> Answer {
    let gprs = [argument(0), argument(1), argument(2), argument(3)];
    let first = call::host(gprs);
    let mut last = first;
    let mut different = 0;
    for _ in 1..count {
        last = call::host(gprs);
        if last != first {
            different += 1;
        }
    }
    let (status, [a, b, c, d]) = last;
    [different, status, a, b, c, d].into()
}

/// Host calls for SMCCC_VERSION that the host has not answered.
fn unanswered(count: u64) -> u64 {
    const SMCCC_VERSION: u64 = 0x8000_0000;
    const NOT_SUPPORTED: u64 = u64::MAX;
    let answered = |_: &u64| {
        let (status, [version, ..]) = call::host([SMCCC_VERSION, 0, 0, 0]);
        status == rsi::SUCCESS && ![SMCCC_VERSION, NOT_SUPPORTED].contains(&version)
    };
    count - (0..count).filter(answered).count() as u64
}

/// Changes the RIPAS of pages; returns how many are left as they were.
fn left(order: Order, ripas: u64) -> u64 {
    let [status, next, _, response, ..] = set_ripas(order, ripas).values;
    let top = order.base + order.count * PAGE_SIZE;
    match [status, response] {
        [rsi::SUCCESS, rsi::ACCEPT] => top.saturating_sub(next) / PAGE_SIZE,
        _ => order.count,
    }
}

/// RSI_IPA_STATE_SET until all is done, the host refuses, or it leads nowhere.
fn set_ripas(order: Order, ripas: u64) -> Answer {
    let mut base = order.base;
    let top = base + order.count * PAGE_SIZE;
    let mut calls = 0;
    loop {
        let arguments = [fid::IPA_STATE_SET, base, top, ripas, rsi::CHANGE_DESTROYED];
        // SAFETY: the VMM has the guest give up memory beyond its image only.
        let [status, next, response, ..] = unsafe { call::call(arguments) };
        calls += 1;
        let on = status == rsi::SUCCESS && response == rsi::ACCEPT && next > base;
        if !on || next >= top {
            return [status, next, calls, response].into();
        }
        base = next;
    }
}

fn suspend(ticks: u64) -> Answer {
    let mut result = 0;
    let interrupts = interrupts::timer_in(ticks, || {
        // SAFETY: it touches no memory: the CPU keeps its state.
        let results = unsafe { call::call([fid::CPU_SUSPEND]) };
        [result, ..] = results;
    });
    [interrupts, result].into()
}
