// SPDX-License-Identifier: GPL-2.0

//! The puppet: does what the probe tells it to.

use core::cell::UnsafeCell;

use realm_payload::{puppet, smc, PAGE_SIZE};

use crate::host::{self, GPRS};
use crate::provoke;

/// A page for the RMM to write to.
#[repr(C, align(4096))]
struct Page(UnsafeCell<[u8; PAGE_SIZE as usize]>);

// SAFETY: nothing here reads or writes it, except for the operations that the probe asks for.
unsafe impl Sync for Page {}

static PAGE: Page = Page(UnsafeCell::new([0; PAGE_SIZE as usize]));

/// Serves the probe on REC `rec`.
pub(crate) fn run(rec: usize, context: u64) -> ! {
    let mut gprs = [0; GPRS];
    gprs[..2].copy_from_slice(&[context, PAGE.0.get() as u64]);
    let mut imm = puppet::READY;
    loop {
        host::call(rec, imm, &mut gprs);
        gprs = perform(&gprs);
        imm = puppet::DONE;
    }
}

/// Carries out one operation and returns its results.
fn perform(gprs: &[u64; GPRS]) -> [u64; GPRS] {
    let [operation, a, b, c, ..] = *gprs;
    let mut results = [0; GPRS];
    let (value, syndrome) = match operation {
        puppet::SMC => {
            let mut regs = [0; 18];
            regs.copy_from_slice(&gprs[1..19]);
            // SAFETY: the probe answers for what it asks for; this realm is there for that.
            results[..18].copy_from_slice(&unsafe { smc(regs) });
            return results;
        }
        puppet::LOAD => provoke::load(a, b),
        puppet::STORE => (0, provoke::store(a, b, c)),
        puppet::LOAD_SIGNED => provoke::load_signed(a),
        puppet::LOAD_PAIR => provoke::load_pair(a),
        puppet::HVC => (0, provoke::hvc()),
        puppet::WFI => (0, provoke::wfi()),
        puppet::JUMP => (0, provoke::jump(a)),
        puppet::SGI => (0, provoke::sgi(a)),
        puppet::WAIT => (wait(a), 0),
        _ => (u64::MAX, 0),
    };
    results[..2].copy_from_slice(&[value, syndrome]);
    results
}

/// Tells the host that the realm is here, and waits for its answer.
fn wait(address: u64) -> u64 {
    const HERE: u64 = 1;
    provoke::store(address, 8, HERE);
    loop {
        match provoke::load(address, 8) {
            (HERE, _) => core::hint::spin_loop(),
            (answer, _) => return answer,
        }
    }
}
