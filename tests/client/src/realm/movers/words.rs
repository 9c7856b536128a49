// SPDX-License-Identifier: GPL-2.0

//! The words, as the VMM and as the realm see them.

use super::*;
use crate::realm::cpu::End;
use crate::realm::{faults, Error};
use realm_guest::word;

/// Makes all words what they are to be at first.
pub(super) fn fill(ground: &Ground<'_>, words: &Renewal) {
    for offset in (0..ground.memory().size()).step_by(8) {
        let value = word(ground.base() + offset, words.generation, words.alike);
        ground.memory().write(offset, value);
    }
}

/// This process looks at all words and renews its own.
pub(super) fn by_us(ground: &Ground<'_>, words: &Renewal) -> Result<()> {
    let memory = ground.memory();
    for round in 1..=words.rounds.max(1) {
        for page in (0..memory.size()).step_by(PAGE_SIZE as usize) {
            let _open = ground.gate.read().map_err(|_| "a mover panicked")?;
            for offset in (page..page + PAGE_SIZE).step_by(8) {
                let ipa = ground.base() + offset;
                let value = memory.read(offset);
                if let Some(least) = words.is_wrong(ipa, value, round) {
                    return Err(wrong("the VMM", 1, ipa, value, least));
                }
                if words.rounds != 0 && words.is_own(ipa) {
                    memory.write(offset, words.renewed(ipa, round));
                }
            }
        }
    }
    Ok(())
}

/// A CPU of the realm does so. What it may not touch for a moment it tries again.
pub(super) fn by_realm(ground: &Ground<'_>, cpu: &mut Cpu<'_>, words: Renewal) -> Result<()> {
    let order = Order::pages(Op::Renew, ground.base(), ground.memory().size()).shared();
    let start = Instant::now();
    let mut end = cpu.give(order, &words.to_arguments());
    let [count, ipa, value, least, ..] = loop {
        match end {
            Ok(End::Done(results)) => break results,
            Ok(end) => return Err(format!("instead of looking: {end:?}").into()),
            Err(error) if is_fault(&error) && start.elapsed() < PATIENCE => {
                ground.faults.fetch_add(1, Ordering::Relaxed);
                thread::yield_now();
            }
            Err(error) => return Err(error),
        }
        end = cpu.run();
    };
    match count {
        0 => Ok(()),
        _ => {
            let who = format!("CPU {} of the realm", words.class);
            Err(wrong(&who, count, ipa, value, least as u32))
        }
    }
}

/// True if there is nothing to touch for a moment.
fn is_fault(error: &Error) -> bool {
    let forever = error.to_string().contains("the same fault for ever");
    forever || faults::errno(error) == Some(libc::EFAULT)
}

fn wrong(who: &str, count: u64, ipa: u64, value: u64, least: u32) -> Error {
    format!("{who} finds {count} words wrong, the first at {ipa:#x}: {value:#x}, where generation {least} was").into()
}
