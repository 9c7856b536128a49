// SPDX-License-Identifier: GPL-2.0

//! Random numbers.

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::arch::mrs;
use crate::cpu::Features;

/// How often the CPU is asked for a number before it counts as having none.
const TRIES: usize = 1000;

/// The state of the makeshift generator.
static STATE: AtomicU64 = AtomicU64::new(0);

/// 64 random bits: from the CPU if it has a generator (FEAT_RNG), which QEMU's `max` has.
pub(crate) fn random() -> u64 {
    if Features::read().rng {
        if let Some(value) = (0..TRIES).find_map(|_| rndrrs()) {
            return value;
        }
    }
    makeshift()
}

/// RNDRRS. `None` if the generator was not ready.
fn rndrrs() -> Option<u64> {
    let (value, failed): (u64, u64);
    // SAFETY: the register exists, since there is FEAT_RNG. Reading it changes the flags.
    unsafe {
        asm!(
            "mrs {}, s3_3_c2_c4_1",
            "cset {}, eq",
            out(reg) value,
            out(reg) failed,
            options(nomem, nostack),
        );
    }
    (failed == 0).then_some(value)
}

/// A CPU without a generator cannot keep secrets, but what only has to differ can still differ: this
/// mixes the time (the finaliser of SplitMix64).
fn makeshift() -> u64 {
    let step = mrs!("cntpct_el0") | 1;
    let mut z = STATE
        .fetch_add(step.wrapping_mul(0x9e37_79b9_7f4a_7c15), Ordering::Relaxed)
        .wrapping_add(step);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}
