// SPDX-License-Identifier: GPL-2.0

//! The worker: a programme of everything that a realm lives from, run on several RECs at once.

use core::arch::asm;
use core::hint::{black_box, spin_loop};
use core::sync::atomic::{AtomicU64, Ordering};

use realm_payload::work::{self, step};
use realm_payload::{fid, role, BASE, PAGE_SIZE, RECS};

use crate::host::{self, GPRS};
use crate::provoke;

/// The interrupt of the EL1 virtual timer.
pub(crate) const TIMER_INTID: u64 = 27;

/// PSCI and the RSI call this success.
const SUCCESS: u64 = 0;

/// RSI_IPA_STATE_SET and _GET: nothing there, and memory there.
const EMPTY: u64 = 0;
const RAM: u64 = 1;
/// RSI_IPA_STATE_SET: also where the host has destroyed the memory.
const CHANGE_DESTROYED: u64 = 1;

/// RECs that are through with the programme.
static FINISHED: AtomicU64 = AtomicU64::new(0);

/// Goes through the programme on REC `rec`.
pub(crate) fn run(rec: usize) -> ! {
    let number = rec as u64;
    let round = ask(rec, work::START, [number, 0]);
    let mut worked = 0;
    let mut note = |step, ok| worked |= if ok { step } else { 0 };
    note(step::ON, rec != 0 || start_others());
    note(step::COMPUTE, compute());
    note(step::IDENTIFY, identify(rec));
    note(step::MEASURE, measure(number, round));
    note(step::CALL, ask(rec, work::ECHO, [round, 0]) == !round);
    note(step::RIPAS, give_and_take(number));
    note(step::EMULATE, emulate(number));
    note(step::TIMER, timer());
    ask(rec, work::REPORT, [number, worked]);

    FINISHED.fetch_add(1, Ordering::AcqRel);
    if rec != 0 {
        rsi([fid::CPU_OFF, 0, 0, 0, 0]);
    }
    while FINISHED.load(Ordering::Acquire) != RECS as u64 {
        spin_loop();
    }
    rsi([fid::SYSTEM_OFF, 0, 0, 0, 0]);
    // A REC that goes on after it was turned off has gone wrong.
    panic!();
}

/// Makes a host call with two values and returns the host's answer.
fn ask(rec: usize, imm: u64, values: [u64; 2]) -> u64 {
    let mut gprs = [0; GPRS];
    gprs[..2].copy_from_slice(&values);
    host::call(rec, imm, &mut gprs);
    gprs[0]
}

fn rsi(args: [u64; 5]) -> [u64; 18] {
    // SAFETY: the calls here touch no memory that Rust knows of, but for RSI_REALM_CONFIG, whose
    // page is one of the worker's spare pages.
    unsafe { host::rsi(args) }
}

/// Has the first REC turn on the others.
fn start_others() -> bool {
    (1..RECS as u64).all(|rec| rsi([fid::CPU_ON, rec, BASE, role::WORKER | rec, 0])[0] == SUCCESS)
}

/// A long computation, which the compiler has done once.
fn compute() -> bool {
    const fn mix(mut value: u64, rounds: u32) -> u64 {
        let mut n = 0;
        while n < rounds {
            value ^= value << 13;
            value ^= value >> 7;
            value ^= value << 17;
            n += 1;
        }
        value
    }
    const SEED: u64 = 0x0123_4567_89ab_cdef;
    const ROUNDS: u32 = 20_000;
    const RESULT: u64 = mix(SEED, ROUNDS);
    mix(black_box(SEED), black_box(ROUNDS)) == RESULT
}

/// Asks the RMM what it and the realm are.
fn identify(rec: usize) -> bool {
    const RSI_1_0: u64 = 1 << 16;
    let page = spare(rec as u64);
    let [status, lower, ..] = rsi([fid::VERSION, RSI_1_0, 0, 0, 0]);
    let [features, ..] = rsi([fid::FEATURES, 0, 0, 0, 0]);
    let [config, ..] = rsi([fid::REALM_CONFIG, page, 0, 0, 0]);
    let (ipa_bits, _) = provoke::load(page, 8);
    [status, lower, features, config] == [SUCCESS, RSI_1_0, SUCCESS, SUCCESS]
        && ipa_bits == u64::from(work::IPA_BITS)
}

/// Extends a measurement; each REC has its own.
fn measure(rec: u64, round: u64) -> bool {
    let slot = rec + 1;
    let before = rsi([fid::MEASUREMENT_READ, slot, 0, 0, 0]);
    let extend = rsi([fid::MEASUREMENT_EXTEND, slot, 16, round, rec]);
    let after = rsi([fid::MEASUREMENT_READ, slot, 0, 0, 0]);
    before[0] == SUCCESS
        && extend[0] == SUCCESS
        && after[0] == SUCCESS
        && before[1..5] == [0; 4]
        && after[1..5] != [0; 4]
}

/// The page that REC `rec` can spare.
fn spare(rec: u64) -> u64 {
    work::SPARE + rec * PAGE_SIZE
}

/// Gives a page to the host, takes it back, and finds it empty.
fn give_and_take(rec: u64) -> bool {
    const MARK: u64 = 0x5ec2_e700_5ec2_e700;
    let base = spare(rec);
    let top = base + PAGE_SIZE;
    let set = |ripas| rsi([fid::IPA_STATE_SET, base, top, ripas, CHANGE_DESTROYED]);
    let get = || rsi([fid::IPA_STATE_GET, base, top, 0, 0]);

    let stored = provoke::store(base, 8, MARK) == 0 && provoke::load(base, 8) == (MARK, 0);
    let given = set(EMPTY)[..3] == [SUCCESS, top, 0] && get()[..3] == [SUCCESS, top, EMPTY];
    let gone = provoke::load(base, 8).1 != 0;
    let taken = set(RAM)[..3] == [SUCCESS, top, 0] && get()[..3] == [SUCCESS, top, RAM];
    stored && given && gone && taken && provoke::load(base, 8) == (0, 0)
}

/// Writes to an emulated register and reads it back.
fn emulate(rec: u64) -> bool {
    let register = (1 << (work::IPA_BITS - 1)) + work::DEVICE + rec * 8;
    let value = 0xfeed_0000 + rec;
    provoke::store(register, 4, value) == 0 && provoke::load(register, 4) == (value + 1, 0)
}

/// Waits for a timer interrupt.
fn timer() -> bool {
    const TICKS: u64 = 20_000;
    let mut arrived: u64;
    // SAFETY: the vectors in entry.S take the interrupt, and save what they use. The registers
    // are those of this REC's virtual GIC interface and timer.
    unsafe {
        asm!(
            "msr s3_0_c4_c6_0, {pmr}",    // ICC_PMR_EL1
            "msr s3_0_c12_c12_7, {on}",   // ICC_IGRPEN1_EL1
            "msr cntv_tval_el0, {ticks}",
            "msr cntv_ctl_el0, {on}",
            "isb",
            pmr = in(reg) 0xff_u64,
            on = in(reg) 1_u64,
            ticks = in(reg) TICKS,
        );
        loop {
            asm!("wfi", "msr daifclr, #2", "isb", "msr daifset, #2", "mrs {}, tpidr_el0",
                out(reg) arrived);
            if arrived != 0 {
                return arrived == 1;
            }
        }
    }
}
