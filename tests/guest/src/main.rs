// SPDX-License-Identifier: GPL-2.0

//! The program in the test client's VMs: EL1, MMU off, no help from anybody.
//!
//! It is the same in a realm and in an ordinary VM, which has no RMM that answers and no upper half
//! of its IPA space.

#![no_std]
#![no_main]

mod call;
mod interrupts;
mod memory;
mod perform;
mod provoke;

use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};

use realm_guest::{
    fid,
    mailbox,
    number,
    Order,
    AFF0_BITS,
    CPUS,
    MAILBOXES,
    PAGE_SIZE,
    STACK_SHIFT, //
};

global_asm!(
    include_str!("entry.S"),
    AFF0_BITS = const AFF0_BITS,
    CPUS = const CPUS,
    STACK_SHIFT = const STACK_SHIFT,
    SYSTEM_RESET = const fid::SYSTEM_RESET,
    EC_INSTRUCTION_ABORT = const 0x21,
    main = sym main,
    interrupt = sym interrupts::taken,
    unexpected = sym unexpected,
);

/// The bit for the upper half of the IPA space, where devices and shared memory are; 0 in an
/// ordinary VM.
static UPPER: AtomicU64 = AtomicU64::new(0);

/// `address` as it is seen in the upper half.
fn upper(address: u64) -> u64 {
    address | UPPER.load(Ordering::Relaxed)
}

/// This CPU's number.
fn cpu() -> usize {
    let mpidr: u64;
    // SAFETY: reads a register that always can be.
    unsafe { asm!("mrs {}, mpidr_el1", out(reg) mpidr, options(nomem, nostack)) };
    number(mpidr) as usize
}

/// The address of a register of this CPU's mailbox.
fn register(offset: u64) -> u64 {
    upper(MAILBOXES + cpu() as u64 * PAGE_SIZE + offset)
}

/// Reads a register of this CPU's mailbox.
fn read(offset: u64) -> u64 {
    // SAFETY: the VMM answers; there is no memory.
    unsafe { memory::load(register(offset)) }
}

/// Writes a register of this CPU's mailbox.
fn write(offset: u64, value: u64) {
    // SAFETY: as in `read`.
    unsafe { memory::store(register(offset), value) }
}

/// Runs a CPU, on its own stack. `x0` is what it was started with.
extern "C" fn main(x0: u64) -> ! {
    let ipa_bits = call::ipa_bits();
    if let Some(bits) = ipa_bits {
        UPPER.store(1 << (bits - 1), Ordering::Relaxed);
    }
    let mut next = mailbox::ORDER;
    loop {
        let Some(order) = Order::from_raw(read(next)) else {
            panic!();
        };
        let answer = perform::perform(order, x0, ipa_bits.unwrap_or(0));
        let [first, rest @ ..] = answer.values;
        let offsets = (1..).map(|n| mailbox::RESULTS + n * 8);
        for (offset, value) in offsets.zip(rest).take(answer.count - 1) {
            write(offset, value);
        }
        next = match first {
            0 => mailbox::ORDER_DONE,
            _ => {
                write(mailbox::RESULTS, first);
                mailbox::ORDER
            }
        };
    }
}

/// An exception that nothing here has provoked.
extern "C" fn unexpected(esr: u64, elr: u64, far: u64) {
    write(mailbox::RESULTS + 8, esr);
    write(mailbox::RESULTS + 16, elr);
    write(mailbox::RESULTS + 24, far);
    write(mailbox::FAILED, 1);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    // An ESR that no exception has, and the line instead of an address.
    let line = info.location().map_or(0, |location| location.line());
    unexpected(0, u64::from(line), 0);
    extern "C" {
        fn give_up() -> !;
    }
    // SAFETY: `give_up` in entry.S ends the machine; it needs nothing and returns never.
    unsafe { give_up() }
}
